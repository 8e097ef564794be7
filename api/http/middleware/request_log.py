"""One log line a request, under a request id that the client may choose and always gets back."""

import re
from secrets import token_hex
from time import perf_counter

import structlog
from flask import Flask, Response
from flask.globals import app_ctx, request_ctx

from api.http.middleware.request_metrics import EXTENSION, UNMATCHED, RequestMetrics
from ledger.store import metadata
from ledger.store.metadata import Cause

REQUEST_ID = "X-Request-ID"

TRACE_PARENT = "traceparent"

_TRACE_PARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
"""As W3C's Trace Context writes it: version, trace, span, flags."""

_LONG_HEX = re.compile(r"[0-9A-Fa-f-]{16,}")
_LONG_NUMBER = re.compile(r"[0-9]{9}")
_SAFE = re.compile(r"[0-9A-Za-z._-]{8,64}")
ID_KEY, TRACE_KEY = (f"HTTP_{name.upper().replace('-', '_')}" for name in (REQUEST_ID, TRACE_PARENT))
_log = structlog.get_logger(__name__)


def install_request_log(app: Flask) -> None:
    """Give every request an id, time it and log it; must come before all that may refuse a request."""
    app.before_request(_start)
    app.after_request(_finish)


def begin(given_id: str, trace: str, session_id: str | None) -> str:
    """Say to logs and events which request this thread answers; return its id, the client's own if that is safe."""
    request_id = given_id if _SAFE.fullmatch(given_id) else token_hex(16)
    bound = {"request_id": request_id} | ({} if session_id is None else {"session_id": session_id})
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(**bound)
    metadata.begin(
        Cause.REQUEST,
        request_id=None if given_id and _may_be_personal(request_id) else request_id,
        traceparent=trace if _TRACE_PARENT.fullmatch(trace) else None,
    )
    return request_id


def finish(
    metrics: RequestMetrics, method: str, route: str, status: int, seconds: float, **more: object
) -> None:
    """Count and log a request that has been answered; `more` are the user and the code of a refusal."""
    metrics.observe(method, route, status, seconds)
    _log.info(
        "request",
        method=method[:16],
        route=route,
        status=status,
        duration_ms=round(seconds * 1000, 1),
        **more,
    )


def _start() -> None:
    asked, state = request_ctx.request, app_ctx.g
    state.started = perf_counter()
    session_id = (asked.view_args or {}).get("session_id")
    state.route = asked.url_rule.rule if asked.url_rule else UNMATCHED
    state.request_id = begin(
        asked.environ.get(ID_KEY, ""),
        asked.environ.get(TRACE_KEY, ""),
        str(session_id) if session_id else None,
    )


def _may_be_personal(request_id: str) -> bool:
    """Whether a client's own id may be a phone number, which events would keep for ever."""
    return not _LONG_HEX.fullmatch(request_id) and _LONG_NUMBER.search(request_id) is not None


def _finish(response: Response) -> Response:
    asked, state = request_ctx.request, app_ctx.g
    if state.get("is_suspended"):
        return response  # Not the answer yet; that is counted and logged when it is given.
    more = {"user": state.caller.user_id} if "caller" in state else {}
    if "error_code" in state:
        more["error_code"] = state.error_code
    metrics: RequestMetrics = app_ctx.app.extensions[EXTENSION]
    finish(metrics, asked.method, state.route, response.status_code, perf_counter() - state.started, **more)
    response.headers[REQUEST_ID] = state.request_id
    return response
