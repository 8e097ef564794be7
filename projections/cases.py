"""What about a payment may come to wait for a person: opened by one event, closed by another, shown after its time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from enum import StrEnum
from operator import attrgetter
from typing import Any
from uuid import UUID

from psycopg import Connection

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
from ledger.store.database import Database
from projections.follower import Recorded
from projections.rebuild import comparison
from projections.rebuild.rebuild import BATCH_SIZE, Rebuilt, rebuild_table

TABLE = "payment_cases"
REBUILT = "payment_cases_rebuilt"

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


Key = tuple[str, int]
CasesOfSession = dict[Key, PaymentCase]

_NAMES = tuple(column.name for column in fields(PaymentCase))
NAMES = ", ".join(_NAMES)
_KEY = ("session_id", "subject", "number")
_values = attrgetter(*_NAMES)
PUT = f"""
INSERT INTO {{table}} ({NAMES}) VALUES ({", ".join(["%s"] * len(_NAMES))})
ON CONFLICT (session_id, subject, number) DO UPDATE
SET {", ".join(f"{name} = excluded.{name}" for name in _NAMES if name not in _KEY)}
"""  # noqa: S608 - made of this file's constants only
REMOVE = "DELETE FROM {table} WHERE session_id = %s AND subject = %s AND number = %s"
OF_SESSIONS = f"SELECT {NAMES} FROM {{table}} WHERE session_id = ANY(%s)"  # noqa: S608 - as above


class PaymentCases:
    """Follows what opens and closes cases, by the event alone."""

    def __init__(self, table: str = TABLE) -> None:
        self.name = table
        self.topics = TOPICS

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Open and close the cases of the sessions that the batch speaks of."""
        sessions: dict[UUID, CasesOfSession] = {event.session_id: {} for event in batch}
        for row in connection.execute(OF_SESSIONS.format(table=self.name).encode(), (list(sessions),)):
            known = PaymentCase(**row)
            sessions[known.session_id][known.subject, known.number] = known
        before = {session_id: dict(cases) for session_id, cases in sessions.items()}
        for event in batch:
            fold(sessions[event.session_id], event)
        gone, put = [], []
        for session_id, cases in sessions.items():
            was = before[session_id]
            gone += [(session_id, *key) for key in was.keys() - cases.keys()]
            put += [_values(case) for key, case in cases.items() if was.get(key) != case]
        with connection.cursor() as cursor:
            cursor.executemany(REMOVE.format(table=self.name).encode(), gone)
            cursor.executemany(PUT.format(table=self.name).encode(), put)


def fold(cases: CasesOfSession, event: Recorded) -> None:
    """Change a session's cases as one of its events says."""
    if event.topic in _CHANGES:
        _CHANGES[event.topic](cases, event)


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
    since = _moment(event)
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
            cases[key], kind=kind, visible_from=_moment(event) + after, detail=tell(event.state)
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
TOPICS = tuple(_CHANGES)


def rebuild(database: Database, batch_size: int = BATCH_SIZE) -> Rebuilt:
    """Fold the log anew and put the result in place of the live rows."""
    key = ", ".join(_KEY)
    return rebuild_table(database, PaymentCases, live=TABLE, shadow=REBUILT, key=key, batch_size=batch_size)


def differences(connection: Connection[Any], until: int) -> Iterator[tuple[UUID, str]]:
    """Say where the rows are not what the events up to a position come to: each session, and what is wrong."""
    return comparison.differences(
        connection, table=TABLE, topics=TOPICS, until=until, fold=_folded, stored=_stored
    )


def _folded(events: Iterable[Recorded]) -> CasesOfSession:
    cases: CasesOfSession = {}
    for event in events:
        fold(cases, event)
    return cases


def _stored(rows: Iterable[dict[str, Any]]) -> CasesOfSession:
    return {(row["subject"], row["number"]): PaymentCase(**row) for row in rows}


def _moment(event: Recorded) -> datetime:
    return datetime.fromisoformat(event.state["timestamp"])
