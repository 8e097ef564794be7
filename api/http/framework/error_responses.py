"""Refusals as HTTP: the status of each, and the two formats in which a client can read them."""

import math
import re
from dataclasses import dataclass, field
from http import HTTPStatus

import structlog
from flask import Flask, Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from api.http.framework import json
from api.http.framework.error_codes import ERROR_CODES
from ledger.errors import (
    Conflict,
    InvalidValue,
    LedgerError,
    NotAllowed,
    NotFound,
    Rejected,
    Unauthenticated,
    Unavailable,
)

PROBLEM_JSON = "application/problem+json"
PLAIN_JSON = "application/json"

STATUS_OF_KIND: dict[type[LedgerError], int] = {
    InvalidValue: 400,
    Rejected: 400,
    Unauthenticated: 401,
    NotAllowed: 403,
    NotFound: 404,
    Conflict: 409,
    Unavailable: 503,
}
"""The status of a refusal whose code is not in ERROR_CODES, which takes precedence."""

CODE_OF_STATUS = {
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
    415: "UNSUPPORTED_MEDIA_TYPE",
    429: "RATE_LIMITED",
}
"""The code of an HTTP error that the framework raises; any other is BAD_REQUEST."""

RATE_WINDOW_SECONDS = 60
SERVER_BUSY_SECONDS = 2

_NOT_IN_A_DESCRIPTION = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")
"""What RFC 6750 does not allow in an error_description."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Refusal:
    """A refusal as a client sees it; `errors` holds messages by field, a nested field named with dots."""

    status: int
    code: str
    message: str
    errors: dict[str, list[str]] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


def install_error_handlers(app: Flask) -> None:
    """Answer every refusal and every fault as an error response."""
    app.register_error_handler(Exception, lambda error: answer(refusal_of(error)))


def refusal_of(error: Exception) -> Refusal:
    """Return an error as a refusal; one that is none is logged and becomes INTERNAL_ERROR."""
    if isinstance(error, HTTPException):
        return _refusal_of_http(error)
    if isinstance(error, LedgerError) and (status := _status_of(error)):
        return _refusal_of_ours(error, status)
    _log.error("request failed", exc_info=error)
    message = f"An internal error; there is nothing to correct on your side. Report request {g.request_id}."
    return Refusal(500, "INTERNAL_ERROR", message)


def answer(refusal: Refusal) -> Response:
    """Return a refusal in the checkout contract's form, or as RFC 9457 problem details if the client asks for them."""
    g.error_code = refusal.code
    if _asks_for_problem_details():
        body, mimetype = _problem(refusal), PROBLEM_JSON
    else:
        body, mimetype = _plain(refusal), PLAIN_JSON
    return Response(json.encode(body), refusal.status, refusal.headers, mimetype=mimetype)


def bare_refusal(code: str) -> tuple[tuple[str, list[tuple[str, str]]], bytes]:
    """Return status, headers and body of a refusal by the server, which knows nothing of the request but `code`."""
    status, meaning = ERROR_CODES[code]
    headers = [
        ("Content-Type", PLAIN_JSON),
        ("Cache-Control", "no-store"),
        ("X-Content-Type-Options", "nosniff"),
    ]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers.append(("Retry-After", str(SERVER_BUSY_SECONDS)))
    body = {"status": "error", "message": meaning, "error_code": code}
    return (f"{status} {HTTPStatus(status).phrase}", headers), json.encode(body)


def _refusal_of_ours(error: LedgerError, status: int) -> Refusal:
    headers: dict[str, str] = {}
    if isinstance(error, Unauthenticated):
        headers["WWW-Authenticate"] = _challenge(error)
    if isinstance(error, Conflict | Unavailable) and error.retry_after_seconds is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_seconds)))
    errors = error.errors if isinstance(error, InvalidValue) else {}
    return Refusal(status, error.code, error.message, errors, headers)


def _challenge(error: Unauthenticated) -> str:
    """Return RFC 6750's challenge. A request without a token gets no error code, as section 3.1 says."""
    challenge = 'Bearer realm="daftari"'
    if error.code != "TOKEN_MISSING":
        description = _NOT_IN_A_DESCRIPTION.sub("'", error.message)
        challenge += f', error="invalid_token", error_description="{description}"'
    return challenge


def _status_of(error: LedgerError) -> int | None:
    if error.code in ERROR_CODES:
        return ERROR_CODES[error.code].status
    return next((status for kind, status in STATUS_OF_KIND.items() if isinstance(error, kind)), None)


def _refusal_of_http(error: HTTPException) -> Refusal:
    status = error.code or HTTPStatus.BAD_REQUEST
    code = CODE_OF_STATUS.get(status, "BAD_REQUEST")
    headers: dict[str, str] = {}
    message = ERROR_CODES[code].meaning
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        headers["Allow"] = ", ".join(sorted(error.valid_methods))
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        headers["Retry-After"] = str(RATE_WINDOW_SECONDS)
    return Refusal(status, code, message, headers=headers)


def _asks_for_problem_details() -> bool:
    accepted = {mimetype.lower(): quality for mimetype, quality in request.accept_mimetypes}
    wanted = accepted.get(PROBLEM_JSON, 0)
    return wanted > 0 and wanted >= accepted.get(PLAIN_JSON, 0)


def _plain(refusal: Refusal) -> dict[str, object]:
    body: dict[str, object] = {
        "status": "error",
        "message": refusal.message,
        "error_code": refusal.code,
    }
    return body | _extras(refusal)


def _problem(refusal: Refusal) -> dict[str, object]:
    body: dict[str, object] = {
        "type": f"/docs/#{refusal.code}",
        "title": HTTPStatus(refusal.status).phrase,
        "status": refusal.status,
        "detail": refusal.message,
        "error_code": refusal.code,
    }
    return body | _extras(refusal)


def _extras(refusal: Refusal) -> dict[str, object]:
    extras: dict[str, object] = {}
    if refusal.errors:
        extras["errors"] = refusal.errors
    if refusal.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        extras["request_id"] = g.request_id
    return extras
