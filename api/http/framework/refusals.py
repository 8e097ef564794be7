"""Refusals in the OpenAPI document: the codes that an operation can return, by status."""

from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from api.http.framework import API_PREFIX
from api.http.framework.error_codes import ERROR_CODES
from api.http.framework.error_responses import PLAIN_JSON, PROBLEM_JSON

WRITING = frozenset({"post", "put", "patch", "delete"})
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
    "503": {"Retry-After": _RETRY_AFTER},
}


def refusals(operation: dict[str, Any], path: str, method: str, view: Any) -> dict[str, Any]:
    """Return the responses, by status, for every code that a documented view can return.

    The security, parameters and body of `operation` must be complete: they say what can be wrong with a request.
    """
    by_status: dict[str, list[str]] = {}
    for code in sorted(_codes(operation, path, method, view)):
        by_status.setdefault(str(ERROR_CODES[code].status), []).append(code)
    return {status: _response(status, codes) for status, codes in sorted(by_status.items())}


def _codes(operation: dict[str, Any], path: str, method: str, view: Any) -> Iterable[str]:
    is_public, has_id = getattr(view, "is_public", False), "{" in path
    has_query = any(parameter.get("in") == "query" for parameter in operation.get("parameters", ()))
    groups = (
        ({"INTERNAL_ERROR", "UNAVAILABLE", *_ANY, *getattr(view, "refuses", ())}, True),
        # With an id of another form the path is nobody's, and that needs a token.
        (_WITH_TOKEN, operation["security"] or (has_id and path.startswith(API_PREFIX))),
        ({"RATE_LIMITED"}, not is_public),
        ({"ROLE_REQUIRED"}, getattr(view, "required_roles", ())),
        ({"NOT_FOUND"}, has_id),
        (_WITH_INPUT, has_query or not getattr(view, "reports_unknown_names", False)),
        (_WITH_BODY, method in WRITING and not is_public),
        (_WITH_KEY, hasattr(view, "key_parameter")),
    )
    return {code for codes, applies in groups if applies for code in codes}


def _response(status: str, codes: list[str]) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": f"{HTTPStatus(int(status)).phrase}: {', '.join(codes)}.",
        "content": {
            PLAIN_JSON: {"schema": {"$ref": "#/components/schemas/Error"}},
            PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response
