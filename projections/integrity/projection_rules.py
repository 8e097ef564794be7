"""Invariants of the read side: every table equals a fold of the log, row for row."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from psycopg import Connection

from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store.event_macs import EventMacs
from projections.cases import PaymentCases
from projections.follower import position_of
from projections.integrity.session_log import SessionLog
from projections.integrity.violations import Violation, Walk
from projections.metrics import FROM_SESSIONS, READ_ALL, Figures, fold
from projections.refunds import PaymentRefunds

MOMENTS = (
    "created_at",
    "expires_at",
    "last_requested_at",
    "initiated_at",
    "paid_at",
    "order_created_at",
    "ended_at",
    "updated_at",
)
"""The columns of `payment_sessions` that are moments."""


def status_row_is_fold(log: SessionLog, session: PaymentSession) -> Iterator[Violation]:
    """The status row equals a fold of its events, column for column."""
    if log.status_row is None:
        yield log.violation("rows", "it has events and no row in payment_sessions")
        return
    expected: dict[str, Any] = status_row(session) | {"session_id": log.session_id}
    for name in MOMENTS:
        expected[name] = expected[name] and datetime.fromisoformat(expected[name])
    for name in expected.keys() | log.status_row.keys():
        if name not in expected or name not in log.status_row or expected[name] != log.status_row[name]:
            yield log.violation("rows", f"{name} in payment_sessions is not what its events say")


def count(log: SessionLog, walk: Walk) -> None:
    """Add a session to the figures that `metrics` compares."""
    fold(log.recorded, walk.figures)
    fold((event for event in log.recorded if event.position > walk.metrics_position), walk.figures_ahead)


def metrics(connection: Connection[Any], walk: Walk) -> Iterator[Violation]:
    """The metrics equal a fold of the followed events, and the counted rows of sessions a fold of all events."""
    followed = {hour: Counter(of_all) for hour, of_all in walk.figures.items()}
    for hour, ahead in walk.figures_ahead.items():
        followed[hour].subtract(ahead)
    followed = {hour: counted for hour, counted in followed.items() if any(counted.values())}
    for detail, statement, figures in (
        ("payment_metrics is not what the events come to", READ_ALL, followed),
        (
            "the rows of payment_sessions do not count up to what the events come to",
            FROM_SESSIONS,
            walk.figures,
        ),
    ):
        stored = {row.pop("hour"): row for row in connection.execute(statement.encode()).fetchall()}
        for hour in sorted(stored.keys() | figures.keys()):
            expected = figures.get(hour, Figures())
            if hour not in stored or any(expected.get(name, 0) != n for name, n in stored[hour].items()):
                yield Violation("metrics", f"{detail} in the hour of {hour.isoformat()}")


def refunds_and_cases(
    connection: Connection[Any], origin: int, macs: EventMacs | None
) -> Iterator[Violation]:
    """The rows of refunds and cases equal a fold of the followed events."""
    for rule, projection in (("refunds", PaymentRefunds()), ("cases", PaymentCases())):
        until = position_of(connection, projection.name, origin)
        for session_id, detail in projection.differences(connection, until, macs):
            yield Violation(rule, detail, session_id)
