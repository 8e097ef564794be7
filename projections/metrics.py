"""Figures of payments by the hour in which their sessions were created, and the rates that follow from them.

A session counts in the hour of its creation for ever, so that the figures of an hour always sum up to its sessions.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

import msgspec
from psycopg import Connection

from ledger.errors import InvalidValue
from ledger.session.events import (
    Created,
    Expired,
    Failed,
    OrderCreated,
    Paid,
    PaymentInitiated,
    PaymentUncertain,
)
from ledger.session.values import Status
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from projections.follower import Recorded
from projections.rebuild import BATCH_SIZE, rebuild_table
from projections.rebuild_runs import Rebuilt, Run

TABLE = "payment_metrics"
VERSION = 1
"""Of what is made of an event: with another one, the worker rebuilds the table."""

FIGURES = (
    "sessions_created",
    "pending",
    "payment_initiated",
    "paid",
    "failed",
    "expired",
    "order_created",
    "payments_initiated",
    "payments_received",
    "orders_created",
    "paid_cents",
)

_NAMES = ", ".join(FIGURES)
ADD = f"""
INSERT INTO {{table}} AS live (hour, {_NAMES})
SELECT hour, {_NAMES} FROM jsonb_populate_recordset(NULL::{{table}}, %s::jsonb)
ON CONFLICT (hour) DO UPDATE SET {", ".join(f"{name} = live.{name} + excluded.{name}" for name in FIGURES)}
"""  # noqa: S608 - made of this file's constants only
READ_ALL = f"SELECT hour, {_NAMES} FROM {TABLE} ORDER BY hour"  # noqa: S608 - made of this file's constants only
# What the same figures are by the status rows alone; the two must never differ once the follower has caught up.
FROM_SESSIONS = """
SELECT date_trunc('hour', created_at, 'UTC') AS hour, count(*) AS sessions_created,
       count(*) FILTER (WHERE session_status = 'pending') AS pending,
       count(*) FILTER (WHERE session_status = 'payment_initiated') AS payment_initiated,
       count(*) FILTER (WHERE session_status = 'paid') AS paid,
       count(*) FILTER (WHERE session_status = 'failed') AS failed,
       count(*) FILTER (WHERE session_status = 'expired') AS expired,
       count(*) FILTER (WHERE session_status = 'order_created') AS order_created,
       count(*) FILTER (WHERE session_status NOT IN ('pending', 'expired')) AS payments_initiated,
       count(paid_at) AS payments_received,
       count(order_number) AS orders_created,
       coalesce(sum(total_cents) FILTER (WHERE paid_at IS NOT NULL), 0)::bigint AS paid_cents
FROM payment_sessions GROUP BY 1 ORDER BY 1
"""
SUM_UP = f"""
SELECT {", ".join(f"coalesce(sum({name}), 0)::bigint AS {name}" for name in FIGURES)}
FROM {TABLE} WHERE hour >= %s AND hour < %s
"""  # noqa: S608 - made of this file's constants only

_MOVES_TO = {
    PaymentInitiated.TOPIC: Status.PAYMENT_INITIATED,
    PaymentUncertain.TOPIC: Status.PAYMENT_INITIATED,
    Paid.TOPIC: Status.PAID,
    OrderCreated.TOPIC: Status.ORDER_CREATED,
    Failed.TOPIC: Status.FAILED,
    Expired.TOPIC: Status.EXPIRED,
}
_NEVER_PROMPTED = (Status.PENDING, Status.EXPIRED)

Figures = Counter[str]


class PaymentMetrics:
    """Counts sessions by the event alone, so a rebuild by the same code gives the same figures."""

    topics = (Created.TOPIC, *_MOVES_TO)

    def __init__(self, table: str = TABLE) -> None:
        self.name = table
        self._add = ADD.format(table=table).encode()

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Add what the batch changes, one row an hour."""
        rows = [
            {"hour": hour.isoformat()} | {name: figures[name] for name in FIGURES}
            for hour, figures in sorted(fold(batch).items())
        ]
        if rows:
            connection.execute(self._add, (msgspec.json.encode(rows).decode(),))


class Moves:
    """Events counted by the hour of their session's creation, their topic, and the status before."""

    def __init__(self, events: Iterable[Recorded] = ()) -> None:
        self.counted = Counter[tuple[str, str, str | None]]()
        self.cents = Counter[str]()
        self.add(events)

    def add(self, events: Iterable[Recorded]) -> None:
        """Count more events."""
        for event in events:
            if event.topic == Created.TOPIC:
                self.counted[hour_text(event.state["timestamp"]), event.topic, None] += 1
            elif event.topic in _MOVES_TO:
                hour = hour_text(event.state["session_created_at"])
                self.counted[hour, event.topic, event.state["previous_status"]] += 1
                if event.topic == Paid.TOPIC:
                    self.cents[hour] += event.state["amount_cents"]

    def merge(self, others: "Moves") -> None:
        """Add what others have counted."""
        self.counted.update(others.counted)
        self.cents.update(others.cents)

    def figures(self) -> dict[datetime, Figures]:
        """Return the figures of these events, by hour."""
        hours: dict[datetime, Figures] = {}
        for (hour, topic, before), count in self.counted.items():
            figures = hours.setdefault(hour_of(f"{hour}:00:00Z"), Counter())
            for name, change in _change(topic, before).items():
                figures[name] += change * count
        for hour, cents in self.cents.items():
            hours[hour_of(f"{hour}:00:00Z")]["paid_cents"] += cents
        return hours


def fold(events: Iterable[Recorded]) -> dict[datetime, Figures]:
    """Return the figures of these events, by hour."""
    return Moves(events).figures()


def start_of_hour(moment: datetime) -> datetime:
    """Return when the hour in UTC begins in which a moment lies."""
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def hour_of(moment: str) -> datetime:
    """Return the hour in UTC in which a moment in ISO 8601 lies."""
    return start_of_hour(datetime.fromisoformat(moment))


def hour_text(moment: str) -> str:
    """Return the hour as `hour_of`, as text; moments are nearly always stored in UTC."""
    return moment[:13] if moment.endswith("Z") else hour_of(moment).strftime("%Y-%m-%dT%H")


@cache
def _change(topic: str, before: str | None) -> Figures:
    """Return what one event changes but for the money; it is only read."""
    if before is None:
        return Counter(sessions_created=1, pending=1)
    after = _MOVES_TO[topic]
    if after == Status.PAYMENT_INITIATED and before != Status.PENDING:
        return Counter()
    change = Counter({str(after): 1, before: -1})
    if before in _NEVER_PROMPTED and after != Status.EXPIRED:
        change["payments_initiated"] = 1
    if after == Status.PAID:
        change["payments_received"] = 1
    if after == Status.ORDER_CREATED:
        change["orders_created"] = 1
    return change


def rebuild(run: Run, macs: EventMacs, batch_size: int = BATCH_SIZE) -> Rebuilt:
    """Fold the log anew and put right the live figures that differ; a row is an hour. Raises Unavailable."""
    return rebuild_table(run, macs, PaymentMetrics, key="hour", batch_size=batch_size)


@dataclass(frozen=True, slots=True)
class Rate:
    """One of the contract's rates: numerator over denominator, with what each counts."""

    name: str
    numerator: int
    numerator_is: str
    denominator: int
    denominator_is: str

    @property
    def rate(self) -> Decimal | None:
        """The quotient to four places, None if the denominator is zero."""
        if not self.denominator:
            return None
        return (Decimal(self.numerator) / self.denominator).quantize(Decimal("0.0001"))


@dataclass(frozen=True, slots=True)
class Rates:
    """How the sessions created in [since, until) did.

    `by_status` counts their present statuses. `open_sessions` are those whose payment is still undecided: they are in
    no rate's denominator but that of the creation rate. `paid_cents` is the money of their payments.
    """

    since: datetime
    until: datetime
    rates: tuple[Rate, ...]
    by_status: dict[str, int]
    open_sessions: int
    paid_cents: int


def rates(database: Database, since: datetime, until: datetime) -> Rates:
    """Return the contract's five rates for the sessions created from the hour of `since` to before `until`.

    Raises InvalidValue if the period is empty.
    """
    since = start_of_hour(since)
    if since >= until:
        raise InvalidValue("The period is empty. Choose a `since` that lies before `until`.")
    with database.connection() as connection:
        row = connection.execute(SUM_UP, (since, until)).fetchone()
    assert row is not None
    hours = -((since - until) // timedelta(hours=1))
    return Rates(
        since,
        until,
        tuple(rates_of(row, hours)),
        {str(status): row[status] for status in Status},
        row["pending"] + row["payment_initiated"],
        row["paid_cents"],
    )


def rates_of(row: Mapping[str, int], hours: int) -> list[Rate]:
    """Return the contract's rates for the figures of some sessions, which were created in so many hours."""
    decided = row["sessions_created"] - row["pending"]
    over = decided - row["payment_initiated"]
    return [
        Rate(
            "session_creation_rate",
            row["sessions_created"],
            "sessions created",
            hours,
            "hours of the period, the last one counted whole",
        ),
        Rate(
            "payment_initiation_rate",
            row["payments_initiated"],
            "sessions whose prompt was sent to M-Pesa",
            decided,
            "sessions that are not pending any more",
        ),
        Rate(
            "payment_success_rate",
            row["payments_received"],
            "sessions that were paid, whatever came of it",
            row["payments_initiated"] - row["payment_initiated"],
            "sessions whose prompt was sent, without those that still wait for an answer",
        ),
        Rate(
            "session_expiry_rate",
            row["expired"],
            "sessions that ran out before a prompt was sent",
            over,
            "sessions whose payment is decided: paid, failed or expired",
        ),
        Rate(
            "order_creation_success_rate",
            row["orders_created"],
            "sessions that became an order",
            row["payments_received"] - row["paid"],
            "sessions that were paid, without those whose order is being made",
        ),
    ]
