"""What the worker has to do about refunds, by the rows of `payment_refunds`.

A row may be a moment late. Whether a thing may still be done is decided by the session itself.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger.store.database import Database
from payments.refunds.status_check_log import QUERY_SCHEDULE
from projections.refunds import NAMES, TABLE, PaymentRefund

# What M-Pesa answers every request of ours while it refuses our operator, and locks him for when it is repeated.
TROUBLE = f"""
SELECT greatest(
    (SELECT max(failed_at) FROM {TABLE}
     WHERE failure_code IN ('WRONG_CREDENTIAL', 'OPERATOR_LOCKED') AND failed_at > %(since)s),
    (SELECT max(asked_at) FROM refund_checks
     WHERE last_answer IN ('wrong_credential', 'operator_locked') AND asked_at > %(since)s)
) AS latest
"""  # noqa: S608 - made of constants only
TO_SEND = f"""
SELECT {NAMES} FROM {TABLE} WHERE state = 'approved'
  AND (%(trouble_at)s::timestamptz IS NULL OR (approved_at > %(trouble_at)s AND approved_by NOT LIKE 'policy:%%'))
ORDER BY approved_at, session_id, refund LIMIT %(limit)s
"""  # noqa: S608 - as above
UNANSWERED = f"""
SELECT {NAMES} FROM {TABLE} WHERE state = 'requested' AND NOT in_doubt
  AND (requested_at <= %(late_before)s OR (conversation_id IS NULL AND requested_at <= %(lost_before)s))
ORDER BY requested_at LIMIT %(limit)s
"""  # noqa: S608 - as above
TO_ASK_ABOUT = f"""
SELECT {", ".join(f"refund.{name}" for name in NAMES.split(", "))}, coalesce(asked.tries, 0) AS tries
FROM {TABLE} AS refund LEFT JOIN refund_checks AS asked
  ON asked.session_id = refund.session_id AND asked.refund = refund.refund AND asked.sending = refund.failures + 1
WHERE refund.state = 'requested' AND refund.in_doubt AND coalesce(asked.tries, 0) < %(most_tries)s
  AND (refund.conversation_id IS NOT NULL OR refund.requested_at <= %(settled_before)s)
  AND coalesce(asked.next_check_at, refund.doubted_at + %(first_gap)s) <= %(now)s
ORDER BY coalesce(asked.next_check_at, refund.doubted_at) LIMIT %(limit)s
"""  # noqa: S608 - as above
UNSENT = f"""
SELECT {NAMES} FROM {TABLE} WHERE state = 'due' AND unsent_in_a_row BETWEEN 1 AND %s ORDER BY failed_at LIMIT %s
"""  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class InDoubt:
    """A refund whose end may have been missed, and how often M-Pesa was asked about it."""

    refund: PaymentRefund
    tries: int


def trouble_with_operator(database: Database, since: datetime) -> datetime | None:
    """Return when M-Pesa last refused our operator, or None where it has not since a moment."""
    with database.connection() as connection:
        row = connection.execute(TROUBLE, {"since": since}).fetchone()
    assert row is not None
    latest: datetime | None = row["latest"]
    return latest


def to_send(database: Database, *, trouble_at: datetime | None, limit: int) -> list[PaymentRefund]:
    """Return approved refunds, the longest waiting first.

    Where M-Pesa has refused our operator at `trouble_at`, only those that a person approved after that: who does so
    says that it was put right.
    """
    with database.connection() as connection:
        rows = connection.execute(TO_SEND, {"trouble_at": trouble_at, "limit": limit}).fetchall()
    return [PaymentRefund(**row) for row in rows]


def unanswered(
    database: Database, *, lost_before: datetime, late_before: datetime, limit: int
) -> list[PaymentRefund]:
    """Return refunds that were requested before these moments without an acknowledgement, or without a result."""
    values = {"lost_before": lost_before, "late_before": late_before, "limit": limit}
    with database.connection() as connection:
        return [PaymentRefund(**row) for row in connection.execute(UNANSWERED, values).fetchall()]


def to_ask_about(
    database: Database, now: datetime, *, first_gap: timedelta, settled_before: datetime, limit: int
) -> list[InDoubt]:
    """Return refunds in doubt that M-Pesa should be asked about by now, the longest waiting first.

    Without a conversation id of M-Pesa's only the payment can be asked about, and that says something only of
    refunds that were requested before `settled_before`.
    """
    values = {
        "now": now,
        "first_gap": first_gap,
        "settled_before": settled_before,
        "most_tries": QUERY_SCHEDULE.max_tries,
        "limit": limit,
    }
    with database.connection() as connection:
        rows = connection.execute(TO_ASK_ABOUT, values).fetchall()
    found = []
    for row in rows:
        tries = row.pop("tries")
        found.append(InDoubt(PaymentRefund(**row), tries))
    return found


def unsent(database: Database, *, most_in_a_row: int, limit: int) -> list[PaymentRefund]:
    """Return refunds of which M-Pesa took nothing lately, at most so often in a row, the oldest failure first."""
    with database.connection() as connection:
        return [PaymentRefund(**row) for row in connection.execute(UNSENT, (most_in_a_row, limit)).fetchall()]
