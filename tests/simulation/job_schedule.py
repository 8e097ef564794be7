"""When a job of the worker has something to do: rounds that would find nothing are not run."""

from collections.abc import Callable
from datetime import datetime, timedelta
from math import inf
from typing import Any
from uuid import UUID

from ledger.session import events
from payments.refunds.approval_policy import RETRY_SCHEDULE
from payments.refunds.status_checks import (
    FIRST_GAP,
    PAYMENT_TELLS_AFTER,
    RESULT_IS_LATE_AFTER,
    SENDER_IS_LOST_AFTER,
)
from projections import cases, metrics, refunds
from tests.simulation.database import Tables
from tests.simulation.world import BEGINNING

UNPROCESSED_AFTER = timedelta(minutes=1)
NOW_AND_THEN_SECONDS = 7_200.0
"""What depends on nothing that happens is done less often than in earnest."""

REFUND_JOBS = ("refund_sending", "refund_retries", "refund_doubts", "refund_questions")

FOLLOWED: dict[str, tuple[str, ...]] = {
    "orders": (events.Paid.TOPIC,),
    "refund_policy": (events.RefundDue.TOPIC, events.ReceiptRecorded.TOPIC),
    "payment_metrics": metrics.PaymentMetrics.topics,
    "payment_refunds": refunds.PaymentRefunds.topics,
    "payment_cases": cases.PaymentCases.topics,
}
_FOLLOWERS_OF = {
    topic: [name for name, topics in FOLLOWED.items() if topic in topics]
    for topic in {topic for topics in FOLLOWED.values() for topic in topics}
}


class Agenda:
    """Looks into the tables for what is due, and tells `poke(job, at)` of what becomes due; seconds of virtual time."""

    def __init__(self, tables: Tables, poke: Callable[[str, float], None]) -> None:
        self._tables = tables
        self._poke = poke
        self._last_wanted = dict.fromkeys(FOLLOWED, 0)
        self._last_done: dict[str, float] = {}
        tables.work.on_message = lambda at: poke("letters", seconds(at))
        tables.work.on_failure = lambda name, at: poke(f"{name}_again", seconds(at))
        tables.money.on_movements = lambda at: poke("money_left_over", seconds(at + UNPROCESSED_AFTER))
        tables.refunds.on_refund = self._refund_moved
        self._due: dict[str, Callable[[], float]] = {
            "orders_again": lambda: self._retry("orders"),
            "refund_policy_again": lambda: self._retry("refund_policy"),
            "refund_sending": self._sending,
            "refund_retries": self._unsent,
            "refund_doubts": self._unanswered,
            "refund_questions": self._questions,
            "letters": lambda: _first(tables.work.new_messages.values()),
            "expiry": lambda: _first(tables.ledger.may_expire.values()),
            "ladder": lambda: _first(tables.ledger.next_look.values()),
            "money_left_over": self._unprocessed,
            "pull": self._pull,
            "signing_blocks": lambda: self._now_and_then("signing_blocks"),
            "tidying": lambda: self._now_and_then("tidying"),
            "unproven_letters": lambda: self._now_and_then("unproven_letters"),
        }

    def next(self, job: str) -> float:
        """Return from when the job has something to do, `inf` for never."""
        if job in FOLLOWED:
            place = self._tables.work.places.get((job, 1), 0)
            return 0.0 if self._last_wanted[job] > place else inf
        return self._due[job]()

    def done(self, job: str, at: float) -> None:
        """Note when a job was last done."""
        self._last_done[job] = at

    def appended(self, session_id: UUID, batch: list[dict[str, Any]]) -> None:
        """Tell of what follows from events."""
        ledger = self._tables.ledger
        for event in batch:
            for name in _FOLLOWERS_OF.get(event["topic"], ()):
                self._last_wanted[name] = event["position"]
                self._poke(name, 0.0)
        look = ledger.next_look.get(session_id)
        if look is not None:
            self._poke("ladder", seconds(look))
        expires_at = ledger.may_expire.get(session_id)
        if expires_at is not None:
            self._poke("expiry", seconds(expires_at))

    def _refund_moved(self) -> None:
        for job in REFUND_JOBS:
            self._poke(job, self.next(job))

    def _now_and_then(self, job: str) -> float:
        return self._last_done.get(job, 0.0) + NOW_AND_THEN_SECONDS

    def _retry(self, name: str) -> float:
        failures = self._tables.work.failures.items()
        return _first(row["next_try_at"] for key, row in failures if key[0] == name and row["next_try_at"])

    def _sending(self) -> float:
        return 0.0 if any(row["state"] == "approved" for row in self._tables.refunds.all_refunds()) else inf

    def _unsent(self) -> float:
        return _first(
            row["failed_at"] + RETRY_SCHEDULE.pause_after(row["unsent_in_a_row"])
            for row in self._tables.refunds.all_refunds()
            if row["state"] == "due" and 1 <= row["unsent_in_a_row"] <= len(RETRY_SCHEDULE.pauses)
        )

    def _unanswered(self) -> float:
        return _first(
            row["requested_at"]
            + (RESULT_IS_LATE_AFTER if row["conversation_id"] is not None else SENDER_IS_LOST_AFTER)
            for row in self._tables.refunds.all_refunds()
            if row["state"] == "requested" and not row["in_doubt"]
        )

    def _questions(self) -> float:
        tables = self._tables.refunds
        moments = [
            tables.next_question(row, FIRST_GAP, PAYMENT_TELLS_AFTER)
            for row in tables.all_refunds()
            if row["state"] == "requested" and row["in_doubt"]
        ]
        return _first(moment for moment in moments if moment is not None)

    def _unprocessed(self) -> float:
        money, receipts = self._tables.money, self._tables.ledger.receipts
        if any(movement["receipt"] in receipts for movement in money.unclaimed()):
            return 0.0
        new = (m["first_seen_at"] for m in money.movements.values() if m["verdict"] == "new")
        return _first(first_seen_at + UNPROCESSED_AFTER for first_seen_at in new)

    def _pull(self) -> float:
        pulled = self._tables.money.pulled
        return _first(row["next_at"] for row in pulled.values()) if pulled else 0.0


def seconds(moment: datetime) -> float:
    """Return a moment as seconds of virtual time."""
    return (moment - BEGINNING) / timedelta(seconds=1)


def _first(moments: Any) -> float:
    first = min(moments, default=None)
    return inf if first is None else seconds(first)
