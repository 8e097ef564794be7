"""Idempotency-Key: the same request, sent twice with one key, has one effect and one answer."""

import hashlib
import re
from collections.abc import Callable
from functools import wraps
from http import HTTPStatus
from typing import Any, TypeVar

from flask import Response, make_response, request
from werkzeug.exceptions import HTTPException

from api.http.framework import json
from api.http.framework.errors import answer, refusal_of
from api.http.framework.services import current_services
from api.http.middleware.auth import caller
from api.http.middleware.headers import IDEMPOTENCY_KEY, IDEMPOTENCY_REPLAYED
from ledger.errors import InvalidValue, LedgerError
from payments.idempotency.idempotency import answer_once
from payments.idempotency.kept_answers import Replay

View = TypeVar("View", bound=Callable[..., Any])

NOT_KEPT = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS})
"""Refusals of the moment: the same request may well succeed later, so its key is set free."""

_KEY = re.compile(r"[\x21-\x7e]{1,255}")


def idempotent(view: View) -> View:
    """Give a view that changes something its Idempotency-Key; without the header it runs as it is.

    The key is bound to the caller, the method, the path and the body. A decision (2xx, or a 4xx that would come
    again) is kept and repeated; a fault, 401, 409 and 429 are not. The view must already know its caller.
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
        return _answer_once(key, lambda: view(*args, **kwargs))

    once.is_idempotent = True  # type: ignore[attr-defined]  # read by the OpenAPI document
    return once  # type: ignore[return-value]  # wraps keeps the signature


def fingerprint() -> str:
    """Return the SHA-256, in hex, of what the current request asks for: method, path and body."""
    path = request.path.rstrip("/")
    wanted = [request.method, path, json.json_object()]
    return hashlib.sha256(json.canonical(wanted)).hexdigest()


def _answer_once(key: str, run: Callable[[], Any]) -> Response:
    answered = answer_once(
        current_services().idempotency, caller().user_id, key, fingerprint(), lambda: _decide(run), _kept_as
    )
    return _replayed(answered) if isinstance(answered, Replay) else answered


def _decide(run: Callable[[], Any]) -> Response:
    try:
        return make_response(run())
    except (LedgerError, HTTPException) as error:
        return answer(refusal_of(error))


def _kept_as(response: Response) -> tuple[int, str] | None:
    """Return a decision as it is kept, None for a refusal of the moment or a fault."""
    status = response.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in NOT_KEPT:
        return None
    return status, f"{response.mimetype}\n{response.get_data(as_text=True)}"


def _replayed(claim: Replay) -> Response:
    mimetype, _, body = claim.body.partition("\n")
    return Response(body, claim.status, {IDEMPOTENCY_REPLAYED: "true"}, mimetype=mimetype)
