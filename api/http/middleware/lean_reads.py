"""The lean form of hot reads: a plain GET that succeeds is answered without Flask's contexts.

It stands on the same parts as Flask's way: the same route, tokens, revocations, limits, query, schema, headers, log
line and metrics. Whatever is not plain, or does not succeed, goes Flask's way and is answered there; a test sends the
same requests both ways. Why there is a second way at all: docs/adr/0019-the-lean-form-of-hot-requests.md.
"""

import re
from collections.abc import Mapping
from time import perf_counter
from typing import TYPE_CHECKING
from uuid import UUID

from api.http.framework.application import RAISED, Answer, Application
from api.http.framework.blueprint import LeanRead
from api.http.framework.json import write
from api.http.framework.services import SERVICES, LazyServices
from api.http.middleware.auth import VERIFIER, Caller, TokenVerifier
from api.http.middleware.headers import OF_READS
from api.http.middleware.rate_limit import READS, RateLimit, name_of
from api.http.middleware.request_log import REQUEST_ID, TRACE_PARENT, begin, finish
from api.http.middleware.request_metrics import EXTENSION, RequestMetrics
from api.issued_tokens import Role
from ledger import clock

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

_ID = "<uuid:session_id>"
_UUID = re.compile("[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}")
_HOST = re.compile(r"[0-9A-Za-z.:_\[\]-]*")
_REQUEST_ID, _TRACE_PARENT = (f"HTTP_{name.upper().replace('-', '_')}" for name in (REQUEST_ID, TRACE_PARENT))
_OK = "200 OK"


class LeanReads:
    """Answers the plain GETs of some endpoints, each with one session id in its path."""

    def __init__(self, app: Application, reads: Mapping[str, LeanRead]) -> None:
        self._of_path: dict[tuple[str, str], tuple[str, LeanRead]] = {}
        for rule in app.url_map.iter_rules():
            if rule.endpoint in reads and rule.methods and "GET" in rule.methods:
                before, _, after = rule.rule.partition(_ID)
                self._of_path[before, after] = rule.rule, reads[rule.endpoint]
        self._services: LazyServices = app.extensions[SERVICES]
        self._verifier: TokenVerifier = app.extensions[VERIFIER]
        self._limit: RateLimit = app.extensions[READS]
        self._metrics: RequestMetrics = app.extensions[EXTENSION]

    def __call__(self, environ: "WSGIEnvironment") -> Answer | None:
        """Return the answer; None for a request that goes Flask's way, with what was raised in RAISED."""
        started = perf_counter()
        found = self._find(environ)
        if found is None:
            return None
        route, read, session_id = found
        reader = self._reader(environ)
        if reader is None or not self._limit.count(name_of(reader), clock.now()):
            return None
        request_id = begin(
            environ.get(_REQUEST_ID, ""), environ.get(_TRACE_PARENT, ""), session_id=str(session_id)
        )
        try:
            body = self._body(read, reader, session_id)
        except Exception as error:  # noqa: BLE001 - it is raised again, in Flask's way
            environ[RAISED] = error
            body = None
        if body is None:
            self._limit.uncount(name_of(reader))
            return None
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body))), *OF_READS]
        finish(self._metrics, "GET", route, 200, perf_counter() - started, user=reader.user_id)
        return _OK, [*headers, (REQUEST_ID, request_id)], body

    def _find(self, environ: "WSGIEnvironment") -> tuple[str, LeanRead, UUID] | None:
        if environ["REQUEST_METHOD"] != "GET" or environ.get("QUERY_STRING") or "HTTP_UPGRADE" in environ:
            return None
        path: str = environ.get("PATH_INFO", "")
        identifier = _UUID.search(path)
        if (
            identifier is None
            or environ.get("SCRIPT_NAME")
            or not _HOST.fullmatch(environ.get("HTTP_HOST", ""))
        ):
            return None
        found = self._of_path.get((path[: identifier.start()], path[identifier.end() :]))
        return None if found is None else (*found, UUID(identifier[0]))

    def _reader(self, environ: "WSGIEnvironment") -> Caller | None:
        """Return the customer whose token was verified a moment ago."""
        scheme, _, token = environ.get("HTTP_AUTHORIZATION", "").partition(" ")
        reader = self._verifier.known_caller_of(token) if scheme == "Bearer" else None
        return reader if reader is not None and Role.CUSTOMER in reader.roles else None

    def _body(self, read: LeanRead, reader: Caller, session_id: UUID) -> bytes | None:
        services = self._services.built
        if services is None or services.revocations.is_revoked(
            reader.user_id, reader.token_ids, reader.issued_at
        ):
            return None
        return write(read(services, reader, session_id))


def install_lean_reads(app: Application, reads: Mapping[str, LeanRead]) -> None:
    """Answer these endpoints' plain GETs by their lean forms; comes after all endpoints and middleware."""
    app.answer_lean = LeanReads(app, reads)
