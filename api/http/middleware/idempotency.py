"""The Idempotency-Key header: the same request, sent twice with one key, has one effect and one answer."""

import hashlib
import re
from collections.abc import Callable
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import UUID

import msgspec
from flask import Response, g, make_response, request
from werkzeug.exceptions import HTTPException

from api.http.framework import json
from api.http.framework.application import WholeResponse
from api.http.framework.error_responses import PLAIN_JSON, answer, refusal_of
from api.http.framework.lean import Dump
from api.http.framework.services import current_services
from api.http.middleware.auth import caller
from api.http.middleware.session_owner import owner_of
from ledger.errors import InvalidValue, LedgerError
from ledger.store.vault import SYSTEM_USER_ID
from payments.idempotency.keyed_request import (
    WITHOUT_KEY,
    AnsweredBefore,
    KeyedRequest,
    UnkeyedRequest,
)

View = TypeVar("View", bound=Callable[..., Any])
Shows = Callable[[Any], tuple[int, dict[str, Any]]]

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
    return _answering_once(view, claims_first=True)


def idempotent_by_command(view: View) -> View:
    """As `idempotent`, for a view whose command reads and claims the key of its `keyed_request` in its own commits."""
    return _answering_once(view, claims_first=False)


def idempotent_by_session(show_again: Callable[[dict[str, Any]], Any]) -> Callable[[View], View]:
    """As `idempotent_by_command`, for a command that keeps no more of its answer than it takes to `show_again` it.

    So nothing personal is kept where the caller is a server, whose kept answers no erasure of a buyer finds.
    """
    return lambda view: _answering_once(view, claims_first=False, show_again=show_again)


def _answering_once(
    view: View, *, claims_first: bool, show_again: Callable[[dict[str, Any]], Any] | None = None
) -> View:
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
        store = current_services().idempotency
        g.keyed_request = store.request(*_keeper(key, kwargs.get("session_id")), fingerprint())
        try:
            return store.answer_once(
                g.keyed_request,
                lambda: _response_of(lambda: view(*args, **kwargs)),
                _kept_as,
                claims_first=claims_first,
            )
        except AnsweredBefore as before:
            if show_again is None or before.status >= HTTPStatus.BAD_REQUEST:
                return _replayed(before)
            response = make_response(show_again(msgspec.json.decode(before.body.partition("\n")[2])))
            response.headers[IDEMPOTENCY_REPLAYED] = "true"
            return response

    once.key_parameter = KEY_PARAMETER  # type: ignore[attr-defined]  # read by the OpenAPI document
    return once  # type: ignore[return-value]  # wraps keeps the signature


def keyed_request(dump: Dump | None, show: Shows) -> UnkeyedRequest:
    """Return the current request for a command that keeps its own answer, or WITHOUT_KEY.

    `show` gives, of what the command returns, the status of the answer and what is dumped. The command calls it before
    its commit, so it only shows: it reads nothing, and no clock.
    """
    current: KeyedRequest | None = g.get("keyed_request")
    if current is None:
        return WITHOUT_KEY
    assert dump is not None
    current.show = partial(_rendered, dump, show)
    return current


def kept_answer(keyed: UnkeyedRequest) -> Response | None:
    """Return the answer that a command has kept, None if it kept none."""
    if not isinstance(keyed, KeyedRequest) or not keyed.is_kept or keyed.answer is None:
        return None
    status, text = keyed.answer
    mimetype, _, body = text.partition("\n")
    return WholeResponse(body, status, mimetype=mimetype)


def request_name() -> str | None:
    """Return what names the current request for ever, None without a key: the key together with the fingerprint, so
    that a key that is used again after its day names something else.
    """
    current: KeyedRequest | None = g.get("keyed_request")
    return None if current is None else current.name


def fingerprint() -> str:
    """Return the SHA-256, in hex, of what the current request asks for: method, path and body."""
    asked = [request.method, request.path.rstrip("/"), json.json_object()]
    return hashlib.sha256(json.canonical(asked)).hexdigest()


def _keeper(key: str, session_id: UUID | None) -> tuple[int, str]:
    """Return whose the kept answer is, with whose key it is encrypted, and its name there.

    What a server key does with a session is the buyer's. Anything else is ours, and API keys are kept apart by a space,
    which is in no client's key.
    """
    here = caller()
    if here.key is None:
        return here.user_id, key
    if session_id is not None:
        return owner_of(session_id), key
    return SYSTEM_USER_ID, f"{here.key} {key}"


def _rendered(dump: Dump, show: Shows, returned: Any) -> tuple[int, str]:
    status, shown = show(returned)
    return status, f"{PLAIN_JSON}\n{json.write(dump(shown)).decode()}"


def _response_of(run: Callable[[], Any]) -> Response:
    try:
        return make_response(run())
    except (LedgerError, HTTPException) as error:
        refusal = refusal_of(error)
        if refusal.code == "IDEMPOTENCY_KEY_REUSED":
            raise  # It is no answer to keep: the key is another request's.
        return answer(refusal)


def _kept_as(response: Response) -> tuple[int, str] | None:
    """Return a final answer as it is kept, None for a temporary refusal or a fault."""
    status = response.status_code
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in NOT_KEPT:
        return None
    return status, f"{response.mimetype}\n{response.get_data(as_text=True)}"


def _replayed(before: AnsweredBefore) -> Response:
    mimetype, _, body = before.body.partition("\n")
    return Response(body, before.status, {IDEMPOTENCY_REPLAYED: "true"}, mimetype=mimetype)
