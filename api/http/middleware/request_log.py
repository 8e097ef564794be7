"""One log line a request, under a request id that the client may choose and always gets back."""

import re
from time import perf_counter
from uuid import uuid4

import structlog
from flask import Flask, Response, g, request

from api.http.middleware import request_metrics

REQUEST_ID = "X-Request-ID"

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
    if session_id := (request.view_args or {}).get("session_id"):
        structlog.contextvars.bind_contextvars(session_id=str(session_id))


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
