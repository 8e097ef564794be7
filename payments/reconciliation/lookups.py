"""Where a movement belongs: attempts by account reference, sessions by receipt, payments by time."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from ledger.store.database import Database

# Topics are spelt out to match the partial indexes.
NAMED_ATTEMPTS = """
SELECT state->>'transaction_id' AS transaction_id, session_id, (state->>'attempt')::integer AS attempt
FROM payment_events
WHERE topic = 'payment_session.payment_requested.v1' AND state->>'transaction_id' = ANY(%(transaction_ids)s)
"""
OF_RECEIPTS = """
SELECT value AS receipt, session_id FROM payment_refs WHERE kind = 'mpesa_receipt' AND value = ANY(%(receipts)s)
"""
# Moments are ISO 8601 in UTC, so their text sorts as they do.
PAID_BETWEEN = """
SELECT paid.session_id, (paid.state->>'attempt')::integer AS attempt,
       (paid.state->>'amount_cents')::bigint AS amount_cents, (paid.state->>'paid_at')::timestamptz AS paid_at,
       coalesce(paid.state->>'receipt', (
           SELECT later.state->>'receipt' FROM payment_events AS later
           WHERE later.session_id = paid.session_id AND later.topic = 'payment_session.receipt_recorded.v1'
             AND later.state->>'attempt' = paid.state->>'attempt' LIMIT 1)) AS receipt
FROM payment_events AS paid
WHERE paid.topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1')
  AND paid.state->>'paid_at' >= %(since)s AND paid.state->>'paid_at' < %(until)s
ORDER BY paid.state->>'paid_at', paid.session_id, paid.version LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class NamedAttempt:
    """The attempt that an account reference names."""

    session_id: UUID
    attempt: int


@dataclass(frozen=True, slots=True)
class OurPayment:
    """A payment as the ledger has it; `receipt` is None where only a query proved it."""

    session_id: UUID
    attempt: int
    receipt: str | None
    amount_cents: int
    paid_at: datetime


def attempts_named(database: Database, transaction_ids: Collection[int]) -> dict[int, NamedAttempt]:
    """Return the attempts of these transactions; unknown ones are left out."""
    if not transaction_ids:
        return {}
    values = {"transaction_ids": [str(number) for number in transaction_ids]}
    with database.connection() as connection:
        rows = connection.execute(NAMED_ATTEMPTS, values).fetchall()
    return {int(row["transaction_id"]): NamedAttempt(row["session_id"], row["attempt"]) for row in rows}


def sessions_of_receipts(database: Database, receipts: Collection[str]) -> dict[str, UUID]:
    """Return the session that each of these receipts belongs to; unknown ones are left out."""
    with database.connection() as connection:
        rows = connection.execute(OF_RECEIPTS, {"receipts": list(receipts)}).fetchall()
    return {row["receipt"]: row["session_id"] for row in rows}


def paid_between(database: Database, since: datetime, until: datetime, limit: int) -> list[OurPayment]:
    """Return the money that was received from `since` until just before `until`, the oldest first."""
    values = {"since": _as_stored(since), "until": _as_stored(until), "limit": limit}
    with database.connection() as connection:
        return [OurPayment(**row) for row in connection.execute(PAID_BETWEEN, values).fetchall()]


def _as_stored(moment: datetime) -> str:
    """Write a moment so that it compares with stored ones, which have a fraction or end at the second."""
    return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat()
