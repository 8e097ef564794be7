"""Flask, without what these endpoints never use: sessions, signals, views that are coroutines."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, Response
from flask.ctx import RequestContext
from flask.sessions import NullSession, SessionInterface

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from werkzeug.routing import MapAdapter, Rule

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


@dataclass(frozen=True, slots=True)
class Shown:
    """What a view has shown, as JSON. It becomes a WholeResponse where one is needed."""

    body: bytes
    status: int


Answer = tuple[str, list[tuple[str, str]], bytes]
"""Status line, headers and body."""


class Application(Flask):
    """A Flask application whose views are plain functions, asked once a request, without sessions and signals.

    `answer_lean`, if it is set, is asked first. It answers hot endpoints, and returns None for all else, which goes
    Flask's way as if it had not been asked. `read_ahead` may be given several requests first: what can be read for them
    together is kept in their environments.
    """

    session_interface = _NoSessions()
    answer_lean: Callable[["WSGIEnvironment"], Answer | None] | None = None
    read_ahead: Callable[[Sequence["WSGIEnvironment"]], None] = staticmethod(lambda _: None)

    def wsgi_app(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        """Answer a request by its lean form, or Flask's way."""
        answer = self.answer_lean(environ) if self.answer_lean is not None else None
        if answer is None:
            return super().wsgi_app(environ, start_response)
        start_response(answer[0], answer[1])
        return [answer[2]]

    def context_of(self, environ: "WSGIEnvironment", rule: "Rule", values: dict[str, Any]) -> RequestContext:
        """Return the context of a request whose route is known."""
        asked = self.request_class(environ)
        asked.json_module = self.json
        asked.url_rule, asked.view_args = rule, values
        return RequestContext(self, environ, asked)

    def create_url_adapter(self, request: Request | None) -> "MapAdapter | None":
        """Return what matches a request; None where the route is known, and outside requests: no URL is built there."""
        if request is None or request.url_rule is not None:
            return None
        return super().create_url_adapter(request)

    def make_response(self, rv: Any) -> Response:
        """Return what a view has returned as a response."""
        if type(rv) is Shown:
            return WholeResponse(rv.body, rv.status, mimetype="application/json")
        return super().make_response(rv)

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function: no view is a coroutine."""
        return func

    def full_dispatch_request(self) -> Response:
        """Answer the current request by its view, or by the handler of what it raises."""
        try:
            answer = self.preprocess_request()
            if answer is None:
                answer = self.dispatch_request()
        except Exception as error:  # noqa: BLE001 - as Flask does: every error has a handler
            answer = self.handle_user_exception(error)
        return self.process_response(self.make_response(answer))

    def do_teardown_request(self, exc: BaseException | None = None) -> None:
        """Do nothing at the end of a request."""

    def do_teardown_appcontext(self, exc: BaseException | None = None) -> None:
        """Do nothing at the end of a context."""
