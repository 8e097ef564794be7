"""Open cases of payments: opened by one event, closed by another, and shown on the work list after a while."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
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
from projections.session_rows import SessionRows, rows_now

TABLE = "payment_cases"

RECEIPT_MAY_TAKE = timedelta(minutes=30)
ORDER_MAY_TAKE = timedelta(minutes=2)
REFUND_MAY_TAKE = timedelta(minutes=30)
"""How long each may take before a person should look; the worker tries meanwhile."""


CANDIDATES = f"""
(SELECT session_id FROM payment_sessions WHERE session_status = 'paid' ORDER BY paid_at LIMIT 200)
UNION ALL (SELECT session_id FROM payment_sessions WHERE refund_due_cents > 0 ORDER BY updated_at DESC LIMIT 200)
UNION ALL (SELECT session_id FROM payment_sessions WHERE open_attempts > 0 ORDER BY last_requested_at LIMIT 200)
UNION ALL (SELECT session_id FROM {TABLE} ORDER BY since, session_id LIMIT 500)
"""  # noqa: S608 - made of constants only
"""Whose case may be missing, or closed by now."""


class Subject(StrEnum):
    """What a case is about; within a session it has a number among the cases of its subject."""

    ATTEMPT = "attempt"
    RECEIPT = "receipt"
    ORDER = "order"
    REFUND = "refund"
    DISCREPANCY = "contradiction"


class CaseKind(StrEnum):
    """Why a person should look at a payment."""

    ATTEMPT_IN_DOUBT = "attempt_in_doubt"
    RECEIPT_MISSING = "receipt_missing"
    ORDER_MISSING = "order_missing"
    REFUND_DUE = "refund_due"
    REFUND_HELD = "refund_held"
    REFUND_UNDER_WAY = "refund_under_way"
    REFUND_IN_DOUBT = "refund_in_doubt"
    DISCREPANCY = "contradiction"


@dataclass(frozen=True, slots=True, kw_only=True)
class PaymentCase:
    """One open case; money in cents, None if the event names no sum. `detail` is a word or a sentence."""

    session_id: UUID
    subject: str
    number: int
    kind: str
    since: datetime
    visible_from: datetime
    money_cents: int | None
    detail: str


NOW = rows_now(TABLE, ", ".join(column.name for column in fields(PaymentCase)))
"""The cases as the whole log has them: a few hundred while the follower is held back."""

CasesOfSession = dict[tuple[str, int], PaymentCase]
Change = Callable[[CasesOfSession, Recorded], None]
Describe = Callable[[dict[str, Any]], str]


def _key(subject: Subject, event: Recorded) -> tuple[str, int]:
    """Return the key of an event's case of a subject: a session has one order, an attempt one missing receipt."""
    if subject == Subject.ORDER:
        return subject, 1
    return subject, event.state["attempt" if subject == Subject.RECEIPT else subject]


def _opens(subject: Subject, kind: CaseKind, describe: Describe, after: timedelta = timedelta()) -> Change:
    """Return the change that opens a case, to be shown `after` the event."""

    def change(cases: CasesOfSession, event: Recorded) -> None:
        key, since = _key(subject, event), event.happened_at
        cases[key] = PaymentCase(
            session_id=event.session_id,
            subject=subject,
            number=key[1],
            kind=kind,
            since=since,
            visible_from=since + after,
            money_cents=event.state["amount_cents"],
            detail=describe(event.state),
        )

    return change


def _closes(*subjects: Subject) -> Change:
    def change(cases: CasesOfSession, event: Recorded) -> None:
        for subject in subjects:
            cases.pop(_key(subject, event), None)

    return change


def _moves_refund(kind: CaseKind, describe: Describe, after: timedelta = timedelta()) -> Change:
    """Return the change of a refund's case to another kind; its age counts from when the money fell due."""

    def change(cases: CasesOfSession, event: Recorded) -> None:
        key = _key(Subject.REFUND, event)
        cases[key] = replace(
            cases[key], kind=kind, visible_from=event.happened_at + after, detail=describe(event.state)
        )

    return change


_close_attempt = _closes(Subject.ATTEMPT)
_miss_receipt = _opens(
    Subject.RECEIPT, CaseKind.RECEIPT_MISSING, lambda state: f"known by {state['evidence']}", RECEIPT_MAY_TAKE
)
_miss_order = _opens(Subject.ORDER, CaseKind.ORDER_MISSING, lambda _: "paid without an order", ORDER_MAY_TAKE)


def _receive(cases: CasesOfSession, event: Recorded) -> None:
    if event.state.get("answers_attempt", True):
        _close_attempt(cases, event)
    if event.state["receipt"] is None:
        _miss_receipt(cases, event)


def _pay(cases: CasesOfSession, event: Recorded) -> None:
    _receive(cases, event)
    _miss_order(cases, event)


def _doubt_attempt(cases: CasesOfSession, event: Recorded) -> None:
    key = _key(Subject.ATTEMPT, event)
    if key in cases:
        cases[key] = replace(cases[key], detail="M-Pesa's answer to the request was lost")


def _describe_discrepancy(state: dict[str, Any]) -> str:
    return f"attempt {state['attempt']}, {state['about']}: the {state['evidence']} says: {state['told']}"


# The texts are stored, so that another text for an old event would differ from its row.
_CHANGES: dict[str, Change] = {
    PaymentRequested.TOPIC: _opens(
        Subject.ATTEMPT,
        CaseKind.ATTEMPT_IN_DOUBT,
        lambda _: "M-Pesa has not said how it ended",
        ATTEMPT_MAY_TAKE,
    ),
    PaymentUncertain.TOPIC: _doubt_attempt,
    PaymentRefused.TOPIC: _close_attempt,
    AttemptFailed.TOPIC: _close_attempt,
    Failed.TOPIC: _closes(Subject.ATTEMPT, Subject.ORDER),
    Paid.TOPIC: _pay,
    SurplusReceived.TOPIC: _receive,
    ReceiptRecorded.TOPIC: _closes(Subject.RECEIPT),
    OrderCreated.TOPIC: _closes(Subject.ORDER),
    RefundDue.TOPIC: _opens(Subject.REFUND, CaseKind.REFUND_DUE, lambda state: state["why"]),
    RefundApproved.TOPIC: _moves_refund(
        CaseKind.REFUND_UNDER_WAY, lambda _: "approved, and not sent yet", REFUND_MAY_TAKE
    ),
    RefundRefused.TOPIC: _moves_refund(CaseKind.REFUND_HELD, lambda state: state["reason"]),
    RefundRequested.TOPIC: _moves_refund(
        CaseKind.REFUND_UNDER_WAY, lambda _: "sent, and not confirmed yet", REFUND_MAY_TAKE
    ),
    RefundUncertain.TOPIC: _moves_refund(CaseKind.REFUND_IN_DOUBT, lambda state: state["reason"]),
    RefundFailed.TOPIC: _moves_refund(CaseKind.REFUND_DUE, lambda state: f"failed: {state['code']}"),
    Refunded.TOPIC: _closes(Subject.REFUND),
    DiscrepancyFound.TOPIC: _opens(Subject.DISCREPANCY, CaseKind.DISCREPANCY, _describe_discrepancy),
    DiscrepancyClosed.TOPIC: _closes(Subject.DISCREPANCY),
}


class PaymentCases(SessionRows[PaymentCase]):
    """Opens and closes cases, by the event alone."""

    table = TABLE
    version = 1
    row = PaymentCase
    key = ("subject", "number")
    candidates = CANDIDATES
    topics = tuple(_CHANGES)

    @staticmethod
    def fold(cases: CasesOfSession, event: Recorded) -> None:
        """Change a session's cases by one of its events."""
        if event.topic in _CHANGES:
            _CHANGES[event.topic](cases, event)
