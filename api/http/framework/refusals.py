"""Refusals in the OpenAPI document: the codes that an operation can return, by status."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.error_responses import PLAIN_JSON, PROBLEM_JSON

WRITING = frozenset({"post", "put", "patch", "delete"})
FAULTS = "5XX"
"""Stands for every fault, ours or of a system that we depend on: 500, 502, 503."""

_ANY = frozenset({"BAD_REQUEST"})
_WITH_TOKEN = frozenset({"TOKEN_MISSING", "TOKEN_INVALID", "SIGN_IN_UNAVAILABLE"})
_WITH_INPUT = frozenset({"INVALID_INPUT"})
_WITH_BODY = frozenset({"INVALID_INPUT", "MALFORMED_JSON", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE"})
_WITH_KEY = frozenset(
    {
        "INVALID_IDEMPOTENCY_KEY",
        "IDEMPOTENCY_KEY_IN_USE",
        "IDEMPOTENCY_KEY_REUSED",
        "MALFORMED_JSON",
        "BODY_TOO_LARGE",
        "UNSUPPORTED_MEDIA_TYPE",
    }
)
_RETRY_AFTER = {"description": "Seconds to wait before the same request.", "schema": {"type": "integer"}}
_HEADERS: dict[str, dict[str, Any]] = {
    "401": {
        "WWW-Authenticate": {
            "description": "RFC 6750: a bearer token is required.",
            "required": True,
            "schema": {"type": "string"},
        }
    },
    "409": {"Retry-After": _RETRY_AFTER},
    "429": {"Retry-After": {**_RETRY_AFTER, "required": True}},
    FAULTS: {"Retry-After": _RETRY_AFTER},
}


def refusals(operation: dict[str, Any], path: str, method: str, view: Any) -> dict[str, Any]:
    """Return the responses, by status, for every code that a documented view can return.

    The security, parameters and body of `operation` must be complete: they say what can be wrong with a request.
    """
    by_status: dict[str, list[str]] = {}
    for code in sorted(_codes(operation, path, method, view)):
        status = ERROR_CODES[code].status
        shown = FAULTS if status >= HTTPStatus.INTERNAL_SERVER_ERROR else str(status)
        by_status.setdefault(shown, []).append(code)
    return {status: _response(status, codes) for status, codes in sorted(by_status.items())}


def _codes(operation: dict[str, Any], path: str, method: str, view: Any) -> Iterable[str]:
    found = {"INTERNAL_ERROR", "UNAVAILABLE", *_ANY, *getattr(view, "refuses", ())}
    if operation["security"]:
        found |= _WITH_TOKEN
        found |= {"RATE_LIMITED"} if method in WRITING else set()
    if getattr(view, "required_roles", ()):
        found.add("ROLE_REQUIRED")
    if "{" in path:
        found.add("NOT_FOUND")
    if any(parameter.get("in") == "query" for parameter in operation.get("parameters", ())):
        found |= _WITH_INPUT
    if any(media.get("schema") for media in operation.get("requestBody", {}).get("content", {}).values()):
        found |= _WITH_BODY
    if hasattr(view, "key_parameter"):
        found |= _WITH_KEY
    return found


def _response(status: str, codes: list[str]) -> dict[str, Any]:
    phrase = "A fault" if status == FAULTS else HTTPStatus(int(status)).phrase
    response: dict[str, Any] = {
        "description": f"{phrase}: {', '.join(codes)}.",
        "content": {
            PLAIN_JSON: {"schema": {"$ref": "#/components/schemas/Error"}},
            PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response
