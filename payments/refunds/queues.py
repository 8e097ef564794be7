"""The work on refunds that is due, by the rows of `payment_refunds`.

While its follower is held back, its rows are made up from the log for the sessions that matter. A row may still be
a moment late: the session decides whether its work may still be done.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from ledger.application import Ledger
from payments.refunds.status_check_log import QUERY_SCHEDULE
from projections.refunds import NAMES, NOW, PaymentRefund, PaymentRefunds

# M-Pesa answers every request so while it refuses the initiator, and locks an initiator that repeats it.
TROUBLE = f"""
SELECT greatest(
    (SELECT max(failed_at) FROM {NOW} AS refund
     WHERE failure_code IN ('WRONG_CREDENTIAL', 'OPERATOR_LOCKED') AND failed_at > %(since)s),
    (SELECT max(asked_at) FROM refund_checks
     WHERE last_answer IN ('wrong_credential', 'operator_locked') AND asked_at > %(since)s)
) AS latest
"""  # noqa: S608 - made of constants only
TO_SEND = f"""
SELECT {NAMES} FROM {NOW} AS refund WHERE state = 'approved'
  AND (%(trouble_at)s::timestamptz IS NULL OR (approved_at > %(trouble_at)s AND approved_by NOT LIKE 'policy:%%'))
ORDER BY approved_at, session_id, refund LIMIT %(limit)s
"""  # noqa: S608 - as above
UNANSWERED = f"""
SELECT {NAMES} FROM {NOW} AS refund WHERE state = 'requested' AND NOT in_doubt
  AND (requested_at <= %(late_before)s OR (conversation_id IS NULL AND requested_at <= %(lost_before)s))
ORDER BY requested_at LIMIT %(limit)s
"""  # noqa: S608 - as above
TO_ASK_ABOUT = f"""
SELECT {", ".join(f"refund.{name}" for name in NAMES.split(", "))}, coalesce(asked.tries, 0) AS tries
FROM {NOW} AS refund LEFT JOIN refund_checks AS asked
  ON asked.session_id = refund.session_id AND asked.refund = refund.refund AND asked.sending = refund.failures + 1
WHERE refund.state = 'requested' AND refund.in_doubt AND coalesce(asked.tries, 0) < %(max_tries)s
  AND (refund.conversation_id IS NOT NULL OR refund.requested_at <= %(settled_before)s)
  AND coalesce(asked.next_check_at, refund.doubted_at + %(first_gap)s) <= %(now)s
ORDER BY coalesce(asked.next_check_at, refund.doubted_at) LIMIT %(limit)s
"""  # noqa: S608 - as above
UNSENT = f"""
SELECT {NAMES} FROM {NOW} AS refund WHERE state = 'due' AND unsent_in_a_row BETWEEN 1 AND %(most)s
ORDER BY failed_at LIMIT %(limit)s
"""  # noqa: S608 - as above


@dataclass(frozen=True, slots=True)
class RefundInDoubt:
    """A refund whose result may have been missed, and how often M-Pesa was asked about it."""

    refund: PaymentRefund
    tries: int


def initiator_trouble_at(ledger: Ledger, *, since: datetime) -> datetime | None:
    """Return when M-Pesa last refused the initiator, None if it has not since a moment."""
    [row] = _rows(ledger, TROUBLE, {"since": since})
    latest: datetime | None = row["latest"]
    return latest


def to_send(ledger: Ledger, *, trouble_at: datetime | None, limit: int) -> list[PaymentRefund]:
    """Return approved refunds, the longest waiting first.

    If M-Pesa refused the initiator at `trouble_at`, only those that a person approved after that: to do so says that
    the trouble is over.
    """
    values = {"trouble_at": trouble_at, "limit": limit}
    return [PaymentRefund(**row) for row in _rows(ledger, TO_SEND, values)]


def unanswered(
    ledger: Ledger, *, lost_before: datetime, late_before: datetime, limit: int
) -> list[PaymentRefund]:
    """Return refunds requested before these moments, without an answer or without a result."""
    values = {"lost_before": lost_before, "late_before": late_before, "limit": limit}
    return [PaymentRefund(**row) for row in _rows(ledger, UNANSWERED, values)]


def to_ask_about(
    ledger: Ledger, now: datetime, *, first_gap: timedelta, settled_before: datetime, limit: int
) -> list[RefundInDoubt]:
    """Return refunds in doubt about which M-Pesa is to be asked by now, the longest waiting first.

    Without M-Pesa's conversation id only the payment can be asked about, which proves something only about refunds
    that were requested before `settled_before`.
    """
    values = {
        "now": now,
        "first_gap": first_gap,
        "settled_before": settled_before,
        "max_tries": QUERY_SCHEDULE.max_tries,
        "limit": limit,
    }
    rows = _rows(ledger, TO_ASK_ABOUT, values)
    return [RefundInDoubt(tries=row.pop("tries"), refund=PaymentRefund(**row)) for row in rows]


def unsent(ledger: Ledger, *, max_in_a_row: int, limit: int) -> list[PaymentRefund]:
    """Return refunds that M-Pesa did not take at their last attempts, the oldest failure first."""
    return [PaymentRefund(**row) for row in _rows(ledger, UNSENT, {"most": max_in_a_row, "limit": limit})]


def _rows(ledger: Ledger, statement: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    ahead = PaymentRefunds().ahead(ledger.database, ledger.macs)
    with ledger.database.connection() as connection:
        return connection.execute(statement.encode(), values | ahead.values).fetchall()
