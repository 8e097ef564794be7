"""When each worker job has something to do, so that rounds that would find nothing are skipped."""

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
from projections import cases, journal, metrics, refunds
from tests.simulation.memory_database import Tables
from tests.simulation.scheduler import START_TIME

UNPROCESSED_AFTER = timedelta(minutes=1)
PERIODIC_JOB_SECONDS = 7_200.0
"""Jobs that depend on no event run less often than in production."""

LEFT_OVER_JOB_SECONDS = 2.0
MOVEMENT_JOB_SECONDS = 600.0
LEFT_OVER_JOBS = ("orders_left_over", "refund_policy_left_over")
REFUND_JOBS = ("refund_sending", "refund_retries", "refund_doubts", "refund_questions")

TOPICS_READ: dict[str, tuple[str, ...]] = {
    "orders": (events.Paid.TOPIC,),
    "goods_returns": (events.RefundDue.TOPIC,),
    "refund_policy": (
        events.RefundDue.TOPIC,
        events.ReceiptRecorded.TOPIC,
        events.EvidenceUpgraded.TOPIC,
    ),
}
VIEWS: dict[str, tuple[str, ...]] = {
    "payment_metrics": metrics.PaymentMetrics.topics,
    "payment_refunds": refunds.PaymentRefunds.topics,
    "payment_cases": cases.PaymentCases.topics,
    "journal_entries": journal.Journal.topics,
}
TOPICS_READ |= VIEWS
_READERS_OF = {
    topic: [name for name, topics in TOPICS_READ.items() if topic in topics]
    for topic in {topic for topics in TOPICS_READ.values() for topic in topics}
}


class JobSchedule:
    """Reads from the tables when jobs are due, and calls `wake(job, at)` on changes; times are virtual seconds."""

    def __init__(self, tables: Tables, wake: Callable[[str, float], None]) -> None:
        self._tables = tables
        self._wake = wake
        self._newest_wanted = dict.fromkeys(TOPICS_READ, 0)
        self._last_run: dict[str, float] = {}
        tables.worker.on_message = self._message_is_due
        tables.worker.on_failure = lambda name, at: wake(f"{name}_again", inf if at is None else seconds(at))
        tables.reconciliation.on_movements = lambda at: wake(
            "money_left_over", seconds(at + UNPROCESSED_AFTER)
        )
        tables.refunds.on_refund = self._refund_moved
        self._due: dict[str, Callable[[], float]] = {
            "views": lambda: min(map(self.next, VIEWS)),
            "orders_again": lambda: self._retry("orders"),
            "orders_left_over": lambda: self._left_over("orders_left_over"),
            "refund_policy_left_over": lambda: self._left_over("refund_policy_left_over"),
            "goods_returns_again": lambda: self._retry("goods_returns"),
            "refund_policy_again": lambda: self._retry("refund_policy"),
            "refund_sending": self._approved,
            "refund_retries": self._unsent,
            "refund_doubts": self._unanswered,
            "refund_questions": self._in_doubt,
            "letters": lambda: _first(tables.worker.next_messages(is_authenticated=True)),
            "unauthenticated_messages": lambda: _first(tables.worker.next_messages(is_authenticated=False)),
            "expiry": lambda: _first(tables.ledger.may_expire.values()),
            "ladder": lambda: _first(tables.ledger.next_query_at.values()),
            "money_left_over": self._unprocessed,
            "journal_movements": self._movements_to_post,
            "reencryption": lambda: inf,
            "rebuilding": lambda: inf,
            "pull": self._pull,
            "signing_blocks": lambda: self._periodic("signing_blocks"),
            "publishing_heads": lambda: inf,
            "notifying": lambda: inf,
            "tidying": lambda: self._periodic("tidying"),
            "unproven_letters": lambda: self._periodic("unproven_letters"),
        }

    def next(self, job: str) -> float:
        """Return when the job has something to do, `inf` for never."""
        if job in TOPICS_READ:
            position = self._tables.worker.positions.get((job, 1), 0)
            return 0.0 if self._newest_wanted[job] > position else inf
        return self._due[job]()

    def done(self, job: str, at: float) -> None:
        """Record when a job last ran."""
        self._last_run[job] = at

    def appended(self, session_id: UUID, batch: list[dict[str, Any]]) -> None:
        """Wake the jobs that new events concern."""
        ledger = self._tables.ledger
        for event in batch:
            for name in _READERS_OF.get(event["topic"], ()):
                self._newest_wanted[name] = event["position"]
                self._wake(name, 0.0)
                if name in VIEWS:
                    self._wake("views", 0.0)
        query_at = ledger.next_query_at.get(session_id)
        if query_at is not None:
            self._wake("ladder", seconds(query_at))
        expires_at = ledger.may_expire.get(session_id)
        if expires_at is not None:
            self._wake("expiry", seconds(expires_at))

    def _message_is_due(self, at: datetime, is_authenticated: bool) -> None:
        self._wake("letters" if is_authenticated else "unauthenticated_messages", seconds(at))

    def _refund_moved(self) -> None:
        for job in REFUND_JOBS:
            self._wake(job, self.next(job))

    def _periodic(self, job: str) -> float:
        return self._last_run.get(job, 0.0) + PERIODIC_JOB_SECONDS

    def _left_over(self, job: str) -> float:
        """These jobs read rows, so they matter while the horizon is held."""
        if self._tables.ledger.held_at is None:
            return self._periodic(job)
        return self._last_run.get(job, 0.0) + LEFT_OVER_JOB_SECONDS

    def _retry(self, name: str) -> float:
        failures = self._tables.worker.failures.items()
        return _first(row["next_try_at"] for key, row in failures if key[0] == name and row["next_try_at"])

    def _approved(self) -> float:
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

    def _in_doubt(self) -> float:
        tables = self._tables.refunds
        moments = [
            tables.next_status_check(row, FIRST_GAP, PAYMENT_TELLS_AFTER)
            for row in tables.all_refunds()
            if row["state"] == "requested" and row["in_doubt"]
        ]
        return _first(moment for moment in moments if moment is not None)

    def _unprocessed(self) -> float:
        money, receipts = self._tables.reconciliation, self._tables.ledger.receipts
        if any(movement["receipt"] in receipts for movement in money.unclaimed()):
            return 0.0
        new = (m["first_seen_at"] for m in money.movements.values() if m["verdict"] == "new")
        return _first(first_seen_at + UNPROCESSED_AFTER for first_seen_at in new)

    def _movements_to_post(self) -> float:
        return self._last_run.get("journal_movements", 0.0) + MOVEMENT_JOB_SECONDS

    def _pull(self) -> float:
        pulled = self._tables.reconciliation.pulled
        return _first(row["next_at"] for row in pulled.values()) if pulled else 0.0


def seconds(moment: datetime) -> float:
    """Return a moment as seconds of virtual time."""
    return (moment - START_TIME) / timedelta(seconds=1)


def _first(moments: Any) -> float:
    first = min(moments, default=None)
    return inf if first is None else seconds(first)
