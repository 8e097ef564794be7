"""One log line a request, under a request id that the client may choose and always gets back."""

import re
from time import perf_counter
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request

from api.http.middleware import request_metrics
from ledger.store import metadata
from ledger.store.metadata import Cause

REQUEST_ID = "X-Request-ID"

TRACE_PARENT = "traceparent"

_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""As W3C's Trace Context writes it: version, trace, span, flags."""

_LONG_HEX = re.compile(r"[0-9A-Fa-f-]{16,}")
_LONG_NUMBER = re.compile(r"[0-9]{9}")
_SAFE = re.compile(r"[0-9A-Za-z._-]{8,64}")
_log = structlog.get_logger(__name__)


def install_request_log(app: Flask) -> None:
    """Give every request an id, time it and log it; must come before all that may refuse a request."""
    app.before_request(_start)
    app.after_request(_finish)


def _start() -> None:
    g.started = perf_counter()
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if _SAFE.fullmatch(given) else uuid4().hex
    g.route = request.url_rule.rule if request.url_rule else request_metrics.UNMATCHED
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    trace = request.headers.get(TRACE_PARENT, "")
    metadata.begin(
        Cause.REQUEST,
        request_id=None if _may_be_personal(g.request_id) else g.request_id,
        traceparent=trace if _TRACE_PARENT.fullmatch(trace) else None,
    )
    if session_id := (request.view_args or {}).get("session_id"):
        structlog.contextvars.bind_contextvars(session_id=str(session_id))


def _may_be_personal(request_id: str) -> bool:
    """Whether a client's own id may be a phone number, which events would keep for ever."""
    return not _LONG_HEX.fullmatch(request_id) and _LONG_NUMBER.search(request_id) is not None


def _finish(response: Response) -> Response:
    if g.get("is_suspended"):
        return response  # Not the answer yet; that is counted and logged when it is given.
    seconds = perf_counter() - g.started
    request_metrics.observe(response, seconds)
    line = {
        "method": request.method[:16],
        "route": g.route,
        "status": response.status_code,
        "duration_ms": round(seconds * 1000, 1),
    }
    if "caller" in g:
        line["user"] = g.caller.user_id
    if "error_code" in g:
        line["error_code"] = g.error_code
    _log.info("request", **line)
    response.headers[REQUEST_ID] = g.request_id
    return response
