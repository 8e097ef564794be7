"""Reads of personal data by those whom the data are not about: each leaves an entry in the audit log.

Who, what, when, and why if they say it in the header REASON. The entry is made before anything is shown, and where it
cannot be made, nothing is shown. Buyers who read what is their own are not logged.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from flask import request
from flask.globals import app_ctx

from api.http.framework.services import current_services
from api.http.middleware.auth import Caller, caller
from ledger.errors import wrong_fields
from payments.refunds.notes import parse_note

View = TypeVar("View", bound=Callable[..., Any])

ACCESS = "access"
REASON = "Daftari-Reason"
REASON_PARAMETER = {
    "name": REASON,
    "in": "header",
    "required": False,
    "description": "Why the data are read, for the audit log. It is kept for ever: no phone number and no name.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[ -~]+$"},
}
"""The header in the OpenAPI document."""


def reads_personal_data(what: str) -> Callable[[View], View]:
    """Record each successful read of `what` by the caller; goes beneath `require_role`."""

    def decorate(view: View) -> View:
        @wraps(view)
        def recorded(*args: Any, **kwargs: Any) -> Any:
            shown = view(*args, **kwargs)
            record_access(caller(), what, kwargs | app_ctx.g.pop("access_details", {}))
            return shown

        recorded.reads_personal_data = what  # type: ignore[attr-defined]  # functions take attributes; mypy has no type for it
        recorded.reason_parameter = REASON_PARAMETER  # type: ignore[attr-defined]  # as above
        return recorded  # type: ignore[return-value]  # wraps keeps the signature

    return decorate


def _reason(given: str) -> str:
    if not (given.isascii() and given.isprintable()):
        raise wrong_fields({REASON: ["Write one line of visible ASCII characters."]})
    return parse_note(given, REASON)


def note_access(**details: str | int | list[str]) -> None:
    """Say more about the read that this request is, for its entry: ids and names, and nothing personal."""
    app_ctx.g.access_details = app_ctx.g.get("access_details", {}) | details


def record_access(reader: Caller, what: str, named: dict[str, Any]) -> None:
    """Append an entry about a read of `what`; `named` are the ids in the path. Raises InvalidValue for the reason."""
    given = request.headers.get(REASON)
    ids = {
        name: value if isinstance(value, list) else str(value)
        for name, value in named.items()
        if name.endswith("_id") or isinstance(value, int | list)
    }
    subjects = (
        f"{kind}:{ids[name]}"
        for name, kind in (("session_id", "session"), ("user_id", "user"))
        if name in ids
    )
    current_services().audit_log.record(
        None,
        ACCESS,
        actor=reader.actor,
        subject=next(subjects, ""),
        reason="" if given is None else _reason(given),
        details={"what": what, **ids},
    )
