"""Flask, without what these endpoints never use: sessions, signals, views that are coroutines."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.sessions import NullSession, SessionInterface

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.routing import MapAdapter

_NO_SESSION = NullSession()


class _NoSessions(SessionInterface):
    """Callers are known by their token alone: no request has a session, and none can be filled."""

    def open_session(self, app: Flask, request: Request) -> NullSession:  # noqa: ARG002 - Flask's signature
        """Return the one session that is always empty."""
        return _NO_SESSION


class WholeResponse(Response):
    """A response of one part, whose headers are complete, and with nothing to be done once it is sent."""

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a WSGI server."""
        if environ["REQUEST_METHOD"] == "HEAD":
            return super().__call__(environ, start_response)
        start_response(self.status, self.headers.to_wsgi_list())
        return [self.data]


class Application(Flask):
    """A Flask application whose views are plain functions, asked once a request, without sessions and signals."""

    session_interface = _NoSessions()

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: no view is a coroutine."""
        return func

    def create_url_adapter(self, request: Request | None) -> "MapAdapter | None":
        """Return what matches a request; None outside requests, where no URL is built."""
        return None if request is None else super().create_url_adapter(request)

    def full_dispatch_request(self) -> Response:
        """Answer the current request by its view, or by the handler of what it raises."""
        try:
            answer = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
        except Exception as error:  # noqa: BLE001 - as Flask does: every error has a handler
            answer = self.handle_user_exception(error)
        return self.process_response(self.make_response(answer))
