"""What waits for a person, in one list: each case with its age, the money at stake, and what can be done."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from ledger.store.database import Database

MOST_OF_A_PAGE = 200

# Sums are what the case is about, or what the buyer's money with us comes to; a case names a session where it has one.
CASES = """
SELECT 'letter_set_aside' AS kind, inbox_id::text AS case_id, session_id, received_at AS since,
       NULL::bigint AS money_cents, coalesce(reason, 'not understood') AS detail
FROM daraja_inbox WHERE state = 'set_aside'
UNION ALL
SELECT 'reaction_set_aside', failure.name || ' ' || failure.session_id || ' ' || failure.version, failure.session_id,
       failure.first_failed_at, session.received_cents - session.refunded_cents, failure.error
FROM follower_failures AS failure LEFT JOIN payment_sessions AS session USING (session_id)
WHERE failure.state = 'set_aside'
UNION ALL
SELECT 'refund_due', session_id::text, session_id, updated_at, refund_due_cents, coalesce(failure_code, 'surplus')
FROM payment_sessions WHERE refund_due_cents > 0
UNION ALL
SELECT 'attempt_in_doubt', session_id::text, session_id, last_requested_at, total_cents,
       open_attempts || ' of ' || attempts || ' attempts open'
FROM payment_sessions WHERE open_attempts > 0 AND last_requested_at <= %(doubtful_before)s
UNION ALL
SELECT 'receipt_missing', session_id::text, session_id, paid_at, total_cents, 'known by ' || evidence
FROM payment_sessions WHERE receipt IS NULL AND paid_at IS NOT NULL AND paid_at <= %(receipt_before)s
UNION ALL
SELECT 'order_missing', session_id::text, session_id, paid_at, received_cents - refunded_cents, 'paid without an order'
FROM payment_sessions WHERE session_status = 'paid' AND paid_at <= %(order_before)s
"""
PAGE = f"""
SELECT kind, case_id, session_id, since, money_cents, detail FROM ({CASES}) AS cases
WHERE %(kind)s::text IS NULL OR kind = %(kind)s
ORDER BY since, kind, case_id LIMIT %(limit)s OFFSET %(offset)s
"""  # noqa: S608 - made of this file's constants only
COUNTS = f"""
SELECT kind, count(*) AS cases, coalesce(sum(money_cents), 0)::bigint AS money_cents FROM ({CASES}) AS cases
GROUP BY kind
"""  # noqa: S608 - made of this file's constants only


class Kind(StrEnum):
    """Why something waits for a person."""

    LETTER_SET_ASIDE = "letter_set_aside"
    REACTION_SET_ASIDE = "reaction_set_aside"
    REFUND_DUE = "refund_due"
    ATTEMPT_IN_DOUBT = "attempt_in_doubt"
    RECEIPT_MISSING = "receipt_missing"
    ORDER_MISSING = "order_missing"


WHAT_CAN_BE_DONE = {
    Kind.LETTER_SET_ASIDE: "Read the body. Nothing was changed by it; where it tells of money, ask M-Pesa about that.",
    Kind.REACTION_SET_ASIDE: "Put right what its error names, then let it be tried again.",
    Kind.REFUND_DUE: "Send the money back, or write down that it went back by hand.",
    Kind.ATTEMPT_IN_DOUBT: "Look for the payment in the M-Pesa statement. M-Pesa is being asked meanwhile.",
    Kind.RECEIPT_MISSING: "Take the receipt from the M-Pesa statement. The payment itself is proved.",
    Kind.ORDER_MISSING: "See that a worker runs and the shop answers: then comes the order, or the money is due back.",
}


@dataclass(frozen=True, slots=True)
class Patience:
    """How long something may take before it is a case."""

    attempt: timedelta = timedelta(minutes=10)
    receipt: timedelta = timedelta(minutes=30)
    order: timedelta = timedelta(minutes=2)


@dataclass(frozen=True, slots=True)
class Case:
    """One thing to look at; `money_cents` is None where it names no sum, `case_id` is unique within its kind."""

    kind: Kind
    case_id: str
    session_id: UUID | None
    since: datetime
    age: timedelta
    money_cents: int | None
    detail: str

    @property
    def what_can_be_done(self) -> str:
        """A sentence for whoever looks at it."""
        return WHAT_CAN_BE_DONE[self.kind]


@dataclass(frozen=True, slots=True)
class Tally:
    """How many cases of a kind are open, and the money they name together."""

    cases: int
    money_cents: int


PATIENCE = Patience()


def open_cases(
    database: Database,
    now: datetime,
    *,
    kind: Kind | None = None,
    page: int = 1,
    page_size: int = 50,
    patience: Patience = PATIENCE,
) -> list[Case]:
    """Return a page of the open cases, the oldest first; pages count from 1 and hold MOST_OF_A_PAGE at most."""
    limit = min(page_size, MOST_OF_A_PAGE)
    values = _moments(now, patience) | {
        "kind": kind and str(kind),
        "limit": limit,
        "offset": (page - 1) * limit,
    }
    with database.connection() as connection:
        rows = connection.execute(PAGE, values).fetchall()
    return [Case(**row | {"kind": Kind(row["kind"]), "age": now - row["since"]}) for row in rows]


def tally(database: Database, now: datetime, *, patience: Patience = PATIENCE) -> dict[Kind, Tally]:
    """Return how many cases of each kind are open, kinds without any included."""
    with database.connection() as connection:
        rows = connection.execute(COUNTS, _moments(now, patience)).fetchall()
    counted = {Kind(row["kind"]): Tally(row["cases"], row["money_cents"]) for row in rows}
    return {kind: counted.get(kind, Tally(0, 0)) for kind in Kind}


def _moments(now: datetime, patience: Patience) -> dict[str, Any]:
    return {
        "doubtful_before": now - patience.attempt,
        "receipt_before": now - patience.receipt,
        "order_before": now - patience.order,
    }
