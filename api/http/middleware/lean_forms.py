"""The lean form of hot requests: steps in a line, in place of Flask's matching, hooks and signals.

It stands on the same parts as Flask's way: the same routes, tokens, revocations, limits, views, headers, log line and
metrics. What is not plain is left to Flask's way before anything has been done; whatever is raised is answered by
Flask's own handlers. A test sends the same requests both ways. See docs/adr/0019-the-lean-form-of-hot-requests.md.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from time import perf_counter
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flask.globals import app_ctx
from werkzeug.http import HTTP_STATUS_CODES
from werkzeug.routing import Rule

from api.http.framework.application import Answer, Application, Shown, WholeResponse
from api.http.framework.blueprint import LeanRead, warnings
from api.http.framework.json import write
from api.http.framework.routes import Route, Routes
from api.http.framework.services import SERVICES, LazyServices
from api.http.middleware.auth import (
    VERIFIER,
    Caller,
    TokenVerifier,
    accepted,
    authenticated,
    bearer_token,
    keep_to_session,
)
from api.http.middleware.headers import OF_API
from api.http.middleware.rate_limit import LIMITS, RequestLimits
from api.http.middleware.request_log import REQUEST_ID, begin, finish
from api.http.middleware.request_metrics import EXTENSION, RequestMetrics
from api.issued_tokens import Role
from ledger.errors import Unauthenticated, Unavailable
from ledger.store import metadata
from payments.services import Services

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_ROUTE, _CALLER, _READ = "daftari.route", "daftari.caller", "daftari.read"
"""The keys in an environment of what was found ahead for its request: its route, whom its token names, and what was
read for them, or the refusal.
"""


@dataclass(slots=True)
class Asked:
    """A request of a hot endpoint, and its sender, None where the endpoint is public."""

    environ: "WSGIEnvironment"
    rule: Rule
    values: dict[str, Any]
    started: float
    caller: Caller | None = None
    request_id: str = ""


class LeanForms:
    """Answers the requests of hot endpoints: of views by running them, of `reads` by these functions."""

    def __init__(self, app: Application, reads: Mapping[str, LeanRead]) -> None:
        self._app = app
        self._reads = reads
        hot = {name for name, view in app.view_functions.items() if hasattr(view, "is_hot")}
        self._routes = Routes(app.url_map, hot | set(reads))
        self._services: LazyServices = app.extensions[SERVICES]
        self._verifier: TokenVerifier = app.extensions[VERIFIER]
        self._limits: RequestLimits = app.extensions[LIMITS]
        self._metrics: RequestMetrics = app.extensions[EXTENSION]

    def __call__(self, environ: "WSGIEnvironment") -> Answer | None:
        """Return the answer; None for a request that goes Flask's way, of which nothing has been done yet."""
        started = perf_counter()
        found: Route | None = environ.get(_ROUTE) or self._routes.find(environ)
        services = self._services.built
        if found is None or services is None:
            return None
        asked = Asked(environ, *found, started)
        read = self._reads.get(asked.rule.endpoint)
        if read is not None and environ.get("QUERY_STRING"):
            return None
        session_id = asked.values.get("session_id")
        asked.request_id = begin(environ, asked.rule.rule, str(session_id) if session_id else None)
        view = self._app.view_functions[asked.rule.endpoint]
        try:
            if not getattr(view, "is_public", False):
                self._admit(asked, services)
            if read is not None and asked.caller is not None and Role.CUSTOMER in asked.caller.roles:
                return self._good(asked, "200 OK", write(self._read(asked, read, services)))
        except Exception as error:  # noqa: BLE001 - as Flask does: every error has a handler
            return self._in_context(asked, partial(_raise, error))
        return self._in_context(asked, view)

    def read_ahead(self, environs: Sequence["WSGIEnvironment"]) -> None:
        """Read for several plain GETs at once what their callers may see; each is answered by a call of its own then,
        which reads what was not read here.
        """
        services = self._services.built
        wanted: dict[str, list[tuple[WSGIEnvironment, Caller, UUID]]] = {}
        for environ in environs if services is not None else ():
            found = self._routes.find(environ)
            if found is None or found[0].endpoint not in self._reads or environ.get("QUERY_STRING"):
                continue
            environ[_ROUTE] = found
            with suppress(Unauthenticated, Unavailable):
                caller = self._verifier.caller_of(bearer_token(environ.get("HTTP_AUTHORIZATION", "")))
                environ[_CALLER] = caller
                wanted.setdefault(found[0].endpoint, []).append((environ, caller, found[1]["session_id"]))
        for endpoint, asked in wanted.items():
            try:
                shown = self._reads[endpoint](services, [(caller, of_id) for _, caller, of_id in asked])
            except Unavailable as error:
                shown = [error] * len(asked)
            for (environ, _, _), each in zip(asked, shown, strict=True):
                environ[_READ] = each

    def _read(self, asked: Asked, read: LeanRead, services: Services) -> Any:
        """Return what a caller is shown; raise what refuses them."""
        found = asked.environ.get(_READ)
        if found is None:
            [found] = read(services, [(asked.caller, asked.values["session_id"])])
        if isinstance(found, Exception):
            raise found
        return found

    def _admit(self, asked: Asked, services: Services) -> None:
        """Find out who sends a request, and count it. Raises as authentication and limits do."""
        known: Caller | None = asked.environ.get(_CALLER)
        if known is not None:
            sender = accepted(known, services)
        else:
            token = bearer_token(asked.environ.get("HTTP_AUTHORIZATION", ""))
            sender = authenticated(self._verifier, token, asked.environ.get("REMOTE_ADDR"), services)
        keep_to_session(sender, self._app.view_functions[asked.rule.endpoint], asked.values)
        asked.caller = sender
        self._limits.count(asked.environ["REQUEST_METHOD"], asked.caller, services)

    def _in_context(self, asked: Asked, run: Callable[..., Any]) -> Answer:
        """Return the answer of a view, or of the handler of what it raises, in Flask's contexts."""
        with self._app.context_of(asked.environ, asked.rule, asked.values):
            state = app_ctx.g
            state.started, state.route, state.request_id = asked.started, asked.rule.rule, asked.request_id
            if asked.caller is not None:
                state.caller = asked.caller
                metadata.add(actor=asked.caller.actor)
            try:
                answered = run(**asked.values)
            except Exception as error:  # noqa: BLE001 - as above
                answered = self._app.handle_user_exception(error)
            if type(answered) is Shown:
                return self._good(asked, _status_line(answered.status), answered.body, *warnings())
            if type(answered) is WholeResponse and _is_plain(answered):
                return self._good(asked, answered.status, answered.data, *warnings())
            response = self._app.process_response(self._app.make_response(answered))
            parts, status, headers = response.get_wsgi_response(asked.environ)
            return status, headers, b"".join(parts)

    def _good(self, asked: Asked, status: str, body: bytes, *more: tuple[str, str]) -> Answer:
        """Return the answer of a view that did what was asked; count and log it."""
        sender = {} if asked.caller is None else asked.caller.logged_as
        method, seconds = asked.environ["REQUEST_METHOD"], perf_counter() - asked.started
        finish(self._metrics, method, asked.rule.rule, int(status[:3]), seconds, **sender)
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        return status, [*headers, *more, *OF_API, (REQUEST_ID, asked.request_id)], body


def install_lean_forms(app: Application, reads: Mapping[str, LeanRead]) -> None:
    """Answer hot endpoints by their lean forms; comes after all endpoints and middleware."""
    app.answer_lean = LeanForms(app, reads)
    app.read_ahead = app.answer_lean.read_ahead


def _is_plain(answered: WholeResponse) -> bool:
    """Say whether an answer is one that `_good` gives: JSON, no refusal, and without headers of its own."""
    return (
        answered.mimetype == "application/json" and answered.status_code < 400 and len(answered.headers) == 2
    )


@cache
def _status_line(status: int) -> str:
    return f"{status} {HTTP_STATUS_CODES[status].upper()}"


def _raise(error: Exception, **_: Any) -> None:
    raise error
