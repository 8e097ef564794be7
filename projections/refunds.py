"""Refunds: what was decided about each, and how far it got."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

from ledger.session.events import (
    PaymentReversed,
    ReceiptRecorded,
    RefundAccepted,
    RefundApproved,
    RefundDue,
    Refunded,
    RefundFailed,
    RefundRefused,
    RefundRequested,
    RefundUncertain,
)
from ledger.session.refund_commands import PAYMENT_REVERSED
from ledger.session.values import RefundState
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.listing import Key, Listing, Place
from projections.follower import Recorded, genuine, recorded
from projections.session_rows import SessionRows, rows_now

TABLE = "payment_refunds"

OUTSIDE = "outside"
"""The means of a sum that M-Pesa or the payer took back without us."""

UNSENT = "MPESA_UNAVAILABLE"
"""The code of a request that M-Pesa did not take, so that it may be sent again without asking a person."""

RETRY_POLICY = "policy:retry"
"""Who approves again what M-Pesa did not take."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentRefund:
    """One refund, numbered within its session; amounts are cents.

    The fields of an earlier request stay until a later one replaces them: `state` says which count.
    """

    session_id: UUID
    refund: int
    attempt: int
    state: str
    amount_cents: int
    receipt: str | None
    why: str
    due_at: datetime
    approved_by: str | None = None
    approved_at: datetime | None = None
    refused_by: str | None = None
    refused_at: datetime | None = None
    refused_reason: str | None = None
    requested_at: datetime | None = None
    conversation_id: str | None = None
    in_doubt: bool = False
    doubted_at: datetime | None = None
    doubt_reason: str | None = None
    done_at: datetime | None = None
    means: str | None = None
    reversal_receipt: str | None = None
    recorded_by: str | None = None
    note: str | None = None
    failures: int = 0
    unsent_in_a_row: int = 0
    failed_at: datetime | None = None
    failure_code: str | None = None
    failure_text: str | None = None
    of_order: bool = False
    decided_by: str | None = None
    reason: str | None = None
    restock: bool = False

    @property
    def key(self) -> Key:
        """Its place in a list."""
        return self.due_at, self.session_id, self.refund

    @property
    def attempt_number(self) -> int:
        """The number, from 1, of the refund attempt under way, or of the next one."""
        return self.failures + 1


NAMES = ", ".join(column.name for column in fields(PaymentRefund))

NOW = rows_now(TABLE, NAMES)
"""The refunds as the whole log has them, for those who act on them: a few hundred while the follower is held back."""

CANDIDATES = f"""
(SELECT session_id FROM payment_sessions WHERE refund_due_cents > 0 ORDER BY updated_at DESC LIMIT 200)
UNION ALL (SELECT session_id FROM {TABLE} WHERE state IN ('approved', 'requested') LIMIT 200)
"""  # noqa: S608 - made of constants only

ROWS = f"SELECT due_at, session_id, refund FROM {TABLE} WHERE due_at <= %(as_of)s"  # noqa: S608 - as above
ALL, IN_STATE = (
    Listing(TABLE, NAMES, ("due_at", "session_id", "refund"), rows)
    for rows in (ROWS, f"{ROWS} AND state = %(state)s")
)
EVENTS_OF_SESSION = """
SELECT session_id, version, topic, state::text AS state, position, recorded_at FROM payment_events
WHERE session_id = %s AND topic = ANY(%s) ORDER BY version
"""
EVENTS_AS_OF = f"""
SELECT session_id, version, topic, state::text AS state, recorded_at, {COLUMNS} FROM payment_events
WHERE session_id = ANY(%s) AND topic = ANY(%s) AND recorded_at <= %s ORDER BY session_id, version
"""  # noqa: S608 - as above

RefundsOfSession = dict[int, PaymentRefund]


def _approved(refund: PaymentRefund, event: Recorded) -> dict[str, Any]:
    by = event.state["approved_by"]
    return {
        "state": RefundState.APPROVED.value,
        "approved_by": by,
        "approved_at": event.happened_at,
        "unsent_in_a_row": refund.unsent_in_a_row if by == RETRY_POLICY else 0,
    }


def _refused(_: PaymentRefund, event: Recorded) -> dict[str, Any]:
    return {
        "state": RefundState.REFUSED.value,
        "refused_by": event.state["refused_by"],
        "refused_at": event.happened_at,
        "refused_reason": event.state["reason"],
    }


def _requested(_: PaymentRefund, event: Recorded) -> dict[str, Any]:
    return {"state": RefundState.REQUESTED.value, "requested_at": event.happened_at}


def _accepted(_: PaymentRefund, event: Recorded) -> dict[str, Any]:
    return {"conversation_id": event.state["conversation_id"]}


def _doubted(_: PaymentRefund, event: Recorded) -> dict[str, Any]:
    return {"in_doubt": True, "doubted_at": event.happened_at, "doubt_reason": event.state["reason"]}


def _done(_: PaymentRefund, event: Recorded) -> dict[str, Any]:
    details = {name: event.state[name] for name in ("means", "reversal_receipt", "recorded_by", "note")}
    return {"state": RefundState.REFUNDED.value, "in_doubt": False, "done_at": event.happened_at, **details}


def _failed(refund: PaymentRefund, event: Recorded) -> dict[str, Any]:
    code = event.state["code"]
    return {
        "state": RefundState.DUE.value,
        "conversation_id": None,
        "in_doubt": False,
        "failures": refund.failures + 1,
        "unsent_in_a_row": refund.unsent_in_a_row + 1 if code == UNSENT else 0,
        "failed_at": event.happened_at,
        "failure_code": code,
        "failure_text": event.state["text"],
    }


_CHANGES: dict[str, Callable[[PaymentRefund, Recorded], dict[str, Any]]] = {
    RefundApproved.TOPIC: _approved,
    RefundRefused.TOPIC: _refused,
    RefundRequested.TOPIC: _requested,
    RefundAccepted.TOPIC: _accepted,
    RefundUncertain.TOPIC: _doubted,
    Refunded.TOPIC: _done,
    RefundFailed.TOPIC: _failed,
}


class PaymentRefunds(SessionRows[PaymentRefund]):
    """Moves refunds, by the event alone."""

    table = TABLE
    version = 1
    row = PaymentRefund
    key = ("refund",)
    candidates = CANDIDATES
    topics = (RefundDue.TOPIC, ReceiptRecorded.TOPIC, PaymentReversed.TOPIC, *_CHANGES)

    @staticmethod
    def fold(refunds: RefundsOfSession, event: Recorded) -> None:
        """Change a session's refunds by one of its events."""
        state = event.state
        if event.topic == RefundDue.TOPIC:
            refunds[state["refund"]] = PaymentRefund(
                session_id=event.session_id,
                refund=state["refund"],
                attempt=state["attempt"],
                state=RefundState.DUE.value,
                amount_cents=state["amount_cents"],
                receipt=state["receipt"],
                why=state["why"],
                due_at=event.happened_at,
                of_order=state.get("of_order", False),
                decided_by=state.get("decided_by"),
                reason=state.get("reason"),
                restock=state.get("restock", False),
            )
        elif event.topic == PaymentReversed.TOPIC:
            refunds[state["refund"]] = PaymentRefund(
                session_id=event.session_id,
                refund=state["refund"],
                attempt=state["attempt"],
                state=RefundState.REFUNDED.value,
                amount_cents=state["amount_cents"],
                receipt=state["receipt"],
                why=PAYMENT_REVERSED,
                due_at=datetime.fromisoformat(state["reversed_at"]),
                done_at=datetime.fromisoformat(state["reversed_at"]),
                means=OUTSIDE,
                reversal_receipt=state["reversal_receipt"],
                of_order=True,
            )
        elif event.topic == ReceiptRecorded.TOPIC:
            for number, refund in refunds.items():
                if refund.attempt == state["attempt"] and refund.receipt is None:
                    refunds[number] = replace(refund, receipt=state["receipt"])
        elif event.topic in _CHANGES:
            refund = refunds[state["refund"]]
            refunds[state["refund"]] = replace(refund, **_CHANGES[event.topic](refund, event))


def list_refunds(
    database: Database, place: Place, *, state: RefundState | None
) -> tuple[int, list[PaymentRefund]]:
    """Return how many refunds there are that were due as of the place, and a page of them, the newest first."""
    listing = IN_STATE if state else ALL
    with database.connection() as connection:
        count, rows = listing.read(connection, place, {"state": state and str(state)})
    return count, [PaymentRefund(**row) for row in rows]


def refunds_as_of(
    database: Database, macs: EventMacs, rows: Sequence[PaymentRefund], moment: datetime
) -> list[PaymentRefund]:
    """Return these refunds as they were by what was recorded until a moment, without those that were not due yet.

    Events without our MAC are left out, as by the follower.
    """
    projection = PaymentRefunds()
    values = ([row.session_id for row in rows], list(projection.topics), moment)
    with database.connection() as connection:
        found = connection.execute(EVENTS_AS_OF, values).fetchall()
    folded = {
        session_id: projection.folded(map(recorded, events))
        for session_id, events in groupby(genuine(found, macs), key=itemgetter("session_id"))
    }
    known = (folded.get(row.session_id, {}).get(row.refund) for row in rows)
    return [refund for refund in known if refund is not None]


def refunds_of(database: Database, session_id: UUID) -> RefundsOfSession:
    """Return a session's refunds by number, folded from the log, so that a client reads its own write."""
    projection = PaymentRefunds()
    with database.connection() as connection:
        rows = connection.execute(EVENTS_OF_SESSION, (session_id, list(projection.topics))).fetchall()
    return projection.folded(map(recorded, rows))
