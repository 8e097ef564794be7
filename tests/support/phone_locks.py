"""Phones locked without a checkout."""

from datetime import datetime
from uuid import UUID

from ledger.store.database import Database
from ledger.store.parts import run_parts
from payments.prompts.phone_locks import PhoneLocks, PromptRefused
from payments.prompts.prompt_limits import PromptRefusal


def lock_phone(
    database: Database,
    phone_locks: PhoneLocks,
    phone_digest: str,
    session_id: UUID,
    user_id: int,
    *,
    now: datetime,
    until: datetime,
    transaction_id: int | None = None,
) -> int | PromptRefusal:
    """Lock a phone, for a new transaction if none is given; return its id, or why the prompt is refused."""
    with database.connection() as connection:
        number = transaction_id or run_parts(connection, phone_locks.to_read())["transaction_id"]
        lock = phone_locks.lock_part(phone_digest, session_id, user_id, number, now=now, until=until)
        try:
            run_parts(connection, {"phone_lock": lock})
        except PromptRefused as refused:
            return refused.refusal
    return int(number)
