"""What about a payment may come to wait for a person: opened by one event, closed by another, shown after its time."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from ledger.session.events import (
    AttemptFailed,
    DiscrepancyClosed,
    DiscrepancyFound,
    Failed,
    OrderCreated,
    Paid,
    PaymentRefused,
    PaymentRequested,
    PaymentUncertain,
    ReceiptRecorded,
    RefundApproved,
    RefundDue,
    Refunded,
    RefundFailed,
    RefundRefused,
    RefundRequested,
    RefundUncertain,
    SurplusReceived,
)
from ledger.session.values import ATTEMPT_MAY_TAKE
from projections.follower import Recorded
from projections.session_rows import SessionRows

TABLE = "payment_cases"

RECEIPT_MAY_TAKE = timedelta(minutes=30)
ORDER_MAY_TAKE = timedelta(minutes=2)
SENDING_MAY_TAKE = timedelta(minutes=30)
"""How long each may take before a person should look: the worker tries meanwhile."""


class Subject(StrEnum):
    """What a case is about; within a session a number tells those of one subject apart."""

    ATTEMPT = "attempt"
    RECEIPT = "receipt"
    ORDER = "order"
    REFUND = "refund"
    CONTRADICTION = "contradiction"


class CaseKind(StrEnum):
    """Why a payment waits for a person."""

    ATTEMPT_IN_DOUBT = "attempt_in_doubt"
    RECEIPT_MISSING = "receipt_missing"
    ORDER_MISSING = "order_missing"
    REFUND_DUE = "refund_due"
    REFUND_HELD = "refund_held"
    REFUND_UNDER_WAY = "refund_under_way"
    REFUND_IN_DOUBT = "refund_in_doubt"
    CONTRADICTION = "contradiction"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCase:
    """One thing that is open; money in cents, None where it names no sum. `detail` is a word or a sentence."""

    session_id: UUID
    subject: str
    number: int
    kind: str
    since: datetime
    visible_from: datetime
    money_cents: int | None
    detail: str


CasesOfSession = dict[tuple[str, int], PaymentCase]


def _open(
    cases: CasesOfSession,
    event: Recorded,
    subject: Subject,
    number: int,
    kind: CaseKind,
    *,
    money_cents: int | None,
    detail: str,
    after: timedelta = timedelta(),
) -> None:
    since = event.happened_at
    cases[subject, number] = PaymentCase(
        session_id=event.session_id,
        subject=subject,
        number=number,
        kind=kind,
        since=since,
        visible_from=since + after,
        money_cents=money_cents,
        detail=detail,
    )


def _requested(cases: CasesOfSession, event: Recorded) -> None:
    says = event.state
    _open(
        cases,
        event,
        Subject.ATTEMPT,
        says["attempt"],
        CaseKind.ATTEMPT_IN_DOUBT,
        money_cents=says["amount_cents"],
        detail="M-Pesa has not said how it ended",
        after=ATTEMPT_MAY_TAKE,
    )


def _uncertain(cases: CasesOfSession, event: Recorded) -> None:
    key = Subject.ATTEMPT, event.state["attempt"]
    if key in cases:
        cases[key] = replace(cases[key], detail="M-Pesa's answer to the request was lost")


def _attempt_ended(cases: CasesOfSession, event: Recorded) -> None:
    cases.pop((Subject.ATTEMPT, event.state["attempt"]), None)


def _failed(cases: CasesOfSession, event: Recorded) -> None:
    _attempt_ended(cases, event)
    cases.pop((Subject.ORDER, 1), None)


def _money_came(cases: CasesOfSession, event: Recorded) -> None:
    says = event.state
    if says.get("answers_attempt", True):
        _attempt_ended(cases, event)
    if says["receipt"] is None:
        _open(
            cases,
            event,
            Subject.RECEIPT,
            says["attempt"],
            CaseKind.RECEIPT_MISSING,
            money_cents=says["amount_cents"],
            detail=f"known by {says['evidence']}",
            after=RECEIPT_MAY_TAKE,
        )


def _paid(cases: CasesOfSession, event: Recorded) -> None:
    _money_came(cases, event)
    _open(
        cases,
        event,
        Subject.ORDER,
        1,
        CaseKind.ORDER_MISSING,
        money_cents=event.state["amount_cents"],
        detail="paid without an order",
        after=ORDER_MAY_TAKE,
    )


def _receipt_came(cases: CasesOfSession, event: Recorded) -> None:
    cases.pop((Subject.RECEIPT, event.state["attempt"]), None)


def _ordered(cases: CasesOfSession, _: Recorded) -> None:
    cases.pop((Subject.ORDER, 1), None)


def _refund_due(cases: CasesOfSession, event: Recorded) -> None:
    says = event.state
    _open(
        cases,
        event,
        Subject.REFUND,
        says["refund"],
        CaseKind.REFUND_DUE,
        money_cents=says["amount_cents"],
        detail=says["why"],
    )


def _refund_moved(
    kind: CaseKind, tell: Callable[[dict[str, Any]], str], after: timedelta = timedelta()
) -> Callable[[CasesOfSession, Recorded], None]:
    """Return the change of a refund's case to another kind; its age counts from when the money fell due."""

    def change(cases: CasesOfSession, event: Recorded) -> None:
        key = Subject.REFUND, event.state["refund"]
        cases[key] = replace(
            cases[key], kind=kind, visible_from=event.happened_at + after, detail=tell(event.state)
        )

    return change


def _refunded(cases: CasesOfSession, event: Recorded) -> None:
    del cases[Subject.REFUND, event.state["refund"]]


def _discrepancy_found(cases: CasesOfSession, event: Recorded) -> None:
    says = event.state
    _open(
        cases,
        event,
        Subject.CONTRADICTION,
        says["contradiction"],
        CaseKind.CONTRADICTION,
        money_cents=says["amount_cents"],
        detail=f"attempt {says['attempt']}, {says['about']}: the {says['evidence']} says: {says['told']}",
    )


def _settled(cases: CasesOfSession, event: Recorded) -> None:
    del cases[Subject.CONTRADICTION, event.state["contradiction"]]


_CHANGES: dict[str, Callable[[CasesOfSession, Recorded], None]] = {
    PaymentRequested.TOPIC: _requested,
    PaymentUncertain.TOPIC: _uncertain,
    PaymentRefused.TOPIC: _attempt_ended,
    AttemptFailed.TOPIC: _attempt_ended,
    Failed.TOPIC: _failed,
    Paid.TOPIC: _paid,
    SurplusReceived.TOPIC: _money_came,
    ReceiptRecorded.TOPIC: _receipt_came,
    OrderCreated.TOPIC: _ordered,
    RefundDue.TOPIC: _refund_due,
    RefundApproved.TOPIC: _refund_moved(
        CaseKind.REFUND_UNDER_WAY, lambda _: "approved, and not sent yet", SENDING_MAY_TAKE
    ),
    RefundRefused.TOPIC: _refund_moved(CaseKind.REFUND_HELD, lambda says: says["reason"]),
    RefundRequested.TOPIC: _refund_moved(
        CaseKind.REFUND_UNDER_WAY, lambda _: "sent, and not confirmed yet", SENDING_MAY_TAKE
    ),
    RefundUncertain.TOPIC: _refund_moved(CaseKind.REFUND_IN_DOUBT, lambda says: says["reason"]),
    RefundFailed.TOPIC: _refund_moved(CaseKind.REFUND_DUE, lambda says: f"failed: {says['code']}"),
    Refunded.TOPIC: _refunded,
    DiscrepancyFound.TOPIC: _discrepancy_found,
    DiscrepancyClosed.TOPIC: _settled,
}


class PaymentCases(SessionRows[PaymentCase]):
    """Opens and closes cases, by the event alone."""

    table = TABLE
    row = PaymentCase
    key = ("subject", "number")
    topics = tuple(_CHANGES)

    @staticmethod
    def fold(cases: CasesOfSession, event: Recorded) -> None:
        """Change a session's cases as one of its events says."""
        if event.topic in _CHANGES:
            _CHANGES[event.topic](cases, event)
