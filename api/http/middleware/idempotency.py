"""The Idempotency-Key header: the same request, sent twice with one key, has one effect and one answer."""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response, g, make_response, request
from werkzeug.exceptions import HTTPException

from api.http.framework import json
from api.http.framework.error_responses import answer, refusal_of
from api.http.framework.services import current_services
from api.http.middleware.auth import caller
from ledger.errors import InvalidValue, LedgerError
from payments.idempotency.idempotency_store import Replay

View = TypeVar("View", bound=Callable[..., Any])

IDEMPOTENCY_KEY = "Idempotency-Key"
IDEMPOTENCY_REPLAYED = "Idempotency-Replayed"

KEY_PARAMETER = {
    "name": IDEMPOTENCY_KEY,
    "in": "header",
    "required": False,
    "description": "Makes the request safe to repeat: the same key and body get the first answer again.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
"""The header in the OpenAPI document."""

NOT_KEPT = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})
"""Temporary refusals: the same request may succeed later, so its key is released."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def idempotent(view: View) -> View:
    """Let a view that changes something take an Idempotency-Key; without the header it runs as usual.

    The key is bound to the caller, the method, the path and the body. A final answer (2xx, or a 4xx that a repeat would
    get again) is kept and replayed; faults, 401, 409 and 429 are not. The view must already know its caller.
    """

    @wraps(view)
    def once(*args: Any, **kwargs: Any) -> Any:
        key = request.headers.get(IDEMPOTENCY_KEY)
        if key is None:
            return view(*args, **kwargs)
        if not _KEY.fullmatch(key):
            raise InvalidValue(
                "An Idempotency-Key is 1 to 255 visible ASCII characters, such as a UUID.",
                code="INVALID_IDEMPOTENCY_KEY",
            )
        asked = fingerprint()
        g.request_name = f"{key}:{asked}"
        answered = current_services().idempotency.answer_once(
            caller().user_id, key, asked, lambda: _response_of(lambda: view(*args, **kwargs)), _kept_as
        )
        return _replayed(answered) if isinstance(answered, Replay) else answered

    once.key_parameter = KEY_PARAMETER  # type: ignore[attr-defined]  # read by the OpenAPI document
    return once  # type: ignore[return-value]  # wraps keeps the signature


def request_name() -> str | None:
    """Return what names the current request for ever, None without a key: the key together with the fingerprint, so
    that a key that is used again after its day names something else.
    """
    name: str | None = g.get("request_name")
    return name


def fingerprint() -> str:
    """Return the SHA-256, in hex, of what the current request asks for: method, path and body."""
    asked = [request.method, request.path.rstrip("/"), json.json_object()]
    return hashlib.sha256(json.canonical(asked)).hexdigest()


def _response_of(run: Callable[[], Any]) -> Response:
    try:
        return make_response(run())
    except (LedgerError, HTTPException) as error:
        return answer(refusal_of(error))


def _kept_as(response: Response) -> tuple[int, str] | None:
    """Return a final answer as it is kept, None for a temporary refusal or a fault."""
    status = response.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in NOT_KEPT:
        return None
    return status, f"{response.mimetype}\n{response.get_data(as_text=True)}"


def _replayed(kept: Replay) -> Response:
    mimetype, _, body = kept.body.partition("\n")
    return Response(body, kept.status, {IDEMPOTENCY_REPLAYED: "true"}, mimetype=mimetype)
