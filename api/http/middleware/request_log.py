"""One log line a request, under a request id that the client may choose and always gets back."""

import re
from collections.abc import Mapping
from secrets import token_hex
from time import perf_counter
from typing import Any

import structlog
from flask import Flask, Response
from flask.globals import app_ctx, request_ctx

from api import tracing
from api.http.middleware import logging
from api.http.middleware.request_metrics import EXTENSION, UNMATCHED, RequestMetrics
from ledger.store import metadata
from ledger.store.metadata import Cause

REQUEST_ID = "X-Request-ID"

_LONG_HEX = re.compile(r"[0-9A-Fa-f-]{16,}")
_LONG_NUMBER = re.compile(r"[0-9]{9}")
_SAFE = re.compile(r"[0-9A-Za-z._-]{8,64}")
ID_KEY, TRACE_KEY = (f"HTTP_{name.upper().replace('-', '_')}" for name in (REQUEST_ID, tracing.HEADER))
_log = structlog.get_logger(__name__)


def install_request_log(app: Flask) -> None:
    """Give every request an id, time it and log it; must come before all that may refuse a request."""
    app.before_request(_start)
    app.after_request(_finish)


def begin(environ: Mapping[str, Any], route: str, session_id: str | None) -> str:
    """Say to logs and events which request this thread answers; return its id, the client's own if that is safe."""
    given_id: str = environ.get(ID_KEY, "")
    if _SAFE.fullmatch(given_id):
        request_id, shown_id = given_id, logging.shown(given_id)
    else:
        request_id = shown_id = token_hex(16)
    if session_id is None:
        logging.bind(request_id=shown_id)
    else:
        logging.bind(request_id=shown_id, session_id=logging.shown(session_id))
    metadata.begin(
        Cause.REQUEST,
        request_id=None if given_id and _may_be_personal(request_id) else request_id,
        traceparent=tracing.begin_request(environ["REQUEST_METHOD"], route, environ.get(TRACE_KEY, "")),
    )
    return request_id


def finish(
    metrics: RequestMetrics, method: str, route: str, status: int, seconds: float, **more: object
) -> None:
    """Count and log a request that has been answered; `more` are the sender and the code of a refusal."""
    metrics.observe(method, route, status, seconds)
    tracing.end_request(status)
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
    state.request_id = begin(asked.environ, state.route, str(session_id) if session_id else None)


def _may_be_personal(request_id: str) -> bool:
    """Whether a client's own id may be a phone number, which events would keep for ever."""
    return not _LONG_HEX.fullmatch(request_id) and _LONG_NUMBER.search(request_id) is not None


def _finish(response: Response) -> Response:
    asked, state = request_ctx.request, app_ctx.g
    if state.get("is_suspended"):
        return response  # Not the answer yet; that is counted and logged when it is given.
    more = state.caller.logged_as if "caller" in state else {}
    if "error_code" in state:
        more |= {"error_code": state.error_code}
    metrics: RequestMetrics = app_ctx.app.extensions[EXTENSION]
    finish(metrics, asked.method, state.route, response.status_code, perf_counter() - state.started, **more)
    response.headers[REQUEST_ID] = state.request_id
    return response
