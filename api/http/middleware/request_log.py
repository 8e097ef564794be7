"""One log line a request, under a request id that the client may choose and always gets back."""

import re
from time import perf_counter
from uuid import uuid4

import structlog
from flask import Flask, Response
from flask.globals import app_ctx, request_ctx

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
    asked, state = request_ctx.request, app_ctx.g
    state.started = perf_counter()
    given, trace = asked.headers.get(REQUEST_ID, ""), asked.headers.get(TRACE_PARENT, "")
    state.request_id = given if _SAFE.fullmatch(given) else uuid4().hex
    state.route = asked.url_rule.rule if asked.url_rule else request_metrics.UNMATCHED
    bound = {"request_id": state.request_id}
    if session_id := (asked.view_args or {}).get("session_id"):
        bound["session_id"] = str(session_id)
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    metadata.begin(
        Cause.REQUEST,
        request_id=None if given and _may_be_personal(state.request_id) else state.request_id,
        traceparent=trace if _TRACE_PARENT.fullmatch(trace) else None,
    )


def _may_be_personal(request_id: str) -> bool:
    """Whether a client's own id may be a phone number, which events would keep for ever."""
    return not _LONG_HEX.fullmatch(request_id) and _LONG_NUMBER.search(request_id) is not None


def _finish(response: Response) -> Response:
    asked, state = request_ctx.request, app_ctx.g
    if state.get("is_suspended"):
        return response  # Not the answer yet; that is counted and logged when it is given.
    seconds = perf_counter() - state.started
    request_metrics.observe(asked.method, state.route, response.status_code, seconds)
    line = {
        "method": asked.method[:16],
        "route": state.route,
        "status": response.status_code,
        "duration_ms": round(seconds * 1000, 1),
    }
    if "caller" in state:
        line["user"] = state.caller.user_id
    if "error_code" in state:
        line["error_code"] = state.error_code
    _log.info("request", **line)
    response.headers[REQUEST_ID] = state.request_id
    return response
