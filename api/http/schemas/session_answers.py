"""The answers of a buyer's commands, as status and content: a command keeps its own under an Idempotency-Key."""

from collections.abc import Mapping
from typing import Any

from api.http.framework.lean import lean_dump
from api.http.schemas.session_schemas import Extension, Prompt, Session, show_session
from ledger.session.session import PaymentSession
from payments.checkout.checkout import Prompted
from payments.checkout.next_action import NEW

DUMP_SESSION, DUMP_PROMPT, DUMP_EXTENSION = map(lean_dump, (Session(), Prompt(), Extension()))
"""What makes JSON of their contents."""


def show_created(details: Mapping[str, Any], session: PaymentSession) -> tuple[int, dict[str, Any]]:
    """Return the status and the content of the answer that a new session is created with."""
    return 201, show_session(session, details, NEW, session.created_on)


def show_prompted(prompted: Prompted) -> tuple[int, dict[str, Any]]:
    """Return the status and the content of the answer to a prompt: 202 if M-Pesa's answer was lost."""
    return 200 if prompted.checkout_request_id else 202, {"status": "success", **vars(prompted)}


def show_extended(session: PaymentSession) -> tuple[int, dict[str, Any]]:
    """Return the status and the content of the answer that a session is extended with."""
    return 200, {"status": "success", "message": "Session extended", "expires_at": session.expires_at}
