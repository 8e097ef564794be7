"""Sums of the figures by hour, day and month, and what late events added to them: the table that `figures` reads."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from psycopg import Connection

from ledger.clock import NAIROBI, start_of_day
from ledger.session.events import Created
from ledger.store.event_macs import EventMacs
from projections.follower import Recorded
from projections.metrics import FIGURES
from projections.rebuild import BATCH_SIZE, rebuild_table
from projections.rebuild_runs import Rebuilt, Run
from projections.session_figures import ALL, NAMES, TOPICS, Change, Movement, Part, SessionFigures

TABLE = "payment_figures"
VERSION = 2
"""Of what is made of an event: with another one, the worker rebuilds the table."""

LATE_AFTER = timedelta(hours=1)
"""An event restates the past if it is recorded so long after the end of the hour of its session, or later."""

KEPT_BUYERS = 5
MAX_KNOWN_HOURS = 10_000
HOUR = timedelta(hours=1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
STATE = """
CASE WHEN version = 1 THEN jsonb_build_object(
    'timestamp', state->'timestamp', 'user_id', state->'user_id', 'county_id', state->'county_id',
    'subcounty_id', state->'subcounty_id', 'lines', state->'lines')
ELSE state END
"""
# A command that wrote a later event had checked these, and that later one carries our MAC. Each session is looked up by
# itself, and the arrays come by SELECT, so that one plan is kept, and it never reads the log whole.
EARLIER = f"""
SELECT event.*
FROM unnest((SELECT %s::uuid[]), (SELECT %s::integer[])) AS wanted (session_id, before), LATERAL (
    SELECT session_id, version, topic, recorded_at, position, ({STATE})::text AS state FROM payment_events
    WHERE session_id = wanted.session_id AND version < wanted.before AND topic = ANY(%s) OFFSET 0
) AS event ORDER BY session_id, version
"""  # noqa: S608 - made of names of our own
ADD = f"""
INSERT INTO {{table}} AS live SELECT * FROM jsonb_populate_recordset(NULL::{{table}}, %s::jsonb)
ON CONFLICT (grain, dimension, start, value, position) DO UPDATE
SET {", ".join(f"{name} = live.{name} + excluded.{name}" for name in NAMES)},
    payments = CASE WHEN excluded.payments = '{{{{}}}}' THEN live.payments ELSE ARRAY(
        SELECT coalesce(old, 0) + coalesce(new, 0)
        FROM unnest(live.payments, excluded.payments) WITH ORDINALITY AS payment (old, new, number)
        ORDER BY number) END,
    buyers = (live.buyers || ARRAY(
        SELECT buyer FROM unnest(excluded.buyers) WITH ORDINALITY AS new (buyer, number)
        WHERE buyer <> ALL (live.buyers) ORDER BY number))[:{KEPT_BUYERS}]
"""  # noqa: S608 - as above

READ_SUMS = f"""
SELECT grain, dimension, start, value, payments, {", ".join(NAMES)} FROM {TABLE} WHERE grain IN ('day', 'month')
"""  # noqa: S608 - as above
_SIGNED = "CASE grain WHEN 'hour' THEN 1 ELSE -1 END"
# A difference of times to pay is told for all sessions: by group they are in days and months only.
DAYS_UNLIKE_HOURS = f"""
SELECT dimension, date_trunc('day', start, 'Africa/Nairobi') AS day, value FROM {TABLE}
WHERE grain IN ('hour', 'day') AND dimension <> 'county' GROUP BY 1, 2, 3
HAVING {" OR ".join(f"sum({_SIGNED} * {name}) <> 0" for name in NAMES)}
UNION
SELECT dimension, date_trunc('day', start, 'Africa/Nairobi'), value
FROM {TABLE} CROSS JOIN LATERAL unnest(payments) WITH ORDINALITY AS payment (count, number)
WHERE grain IN ('hour', 'day') AND dimension = 'all' GROUP BY 1, 2, 3, number HAVING sum({_SIGNED} * count) <> 0
ORDER BY 1, 2, 3
"""  # noqa: S608 - as above
READ_HOURS = f"""
SELECT start AS hour, {", ".join(FIGURES)} FROM {TABLE} WHERE grain = 'hour' AND dimension = 'all' ORDER BY hour
"""  # noqa: S608 - as above
"""The figures of all sessions, by hour: those of the projection `metrics`."""

Place = tuple[str, datetime, str]
"""Dimension, start and value of a sum: the start of the month of a county, and of the hour of all else."""

_TOPICS = frozenset(TOPICS)

NOT_AS_REPORTED = ("county", "failure_code")
"""Dimensions of which there are figures as they stand only."""


@lru_cache(MAX_KNOWN_HOURS)
def day_of(moment: datetime) -> datetime:
    """Return when the day in Nairobi begins in which a moment lies, in UTC."""
    return start_of_day(moment.astimezone(NAIROBI).date())


@lru_cache(MAX_KNOWN_HOURS)
def month_of(moment: datetime) -> datetime:
    """Return when the month in Nairobi begins in which a moment lies, in UTC."""
    return start_of_day(moment.astimezone(NAIROBI).date().replace(day=1))


GRAINS: dict[str, Callable[[datetime], datetime]] = {
    "hour": lambda hour: hour,
    "day": day_of,
    "month": month_of,
}
"""When the sum of each grain begins in which an hour is counted."""


@dataclass(slots=True)
class Sum:
    """Changes added up: how often each movement, the money, and the first buyers of a county."""

    movements: Counter[Movement] = field(default_factory=Counter)
    cents: int = 0
    buyers: list[int] = field(default_factory=list)

    def add(self, change: Change) -> None:
        """Add what one event changes."""
        self.movements[change.movement] += 1
        self.cents += change.cents

    def merge(self, other: "Sum") -> None:
        """Add what others have changed."""
        self.movements.update(other.movements)
        self.cents += other.cents

    def count_buyer(self, buyer: int) -> None:
        """Keep a buyer, if they are one of the first."""
        if len(self.buyers) < KEPT_BUYERS and buyer not in self.buyers:
            self.buyers.append(buyer)

    def figures(self) -> dict[str, int]:
        """Return the figures by name."""
        figures = dict.fromkeys(NAMES, 0)
        for movement, times in self.movements.items():
            for name, count in movement.figures.items():
                figures[name] += count * times
        return figures | {"paid_cents": self.cents}

    def intervals(self) -> list[int]:
        """Return the payments by interval, up to the last that was ever counted."""
        payments = Counter[int]()
        for movement, times in self.movements.items():
            for interval, count in movement.payments.items():
                payments[interval] += count * times
        return [payments[interval] for interval in range(max(payments, default=-1) + 1)]

    def row(self, grain: str, place: Place, position: int = 0) -> dict[str, Any]:
        """Return it as a row of the table."""
        dimension, start, value = place
        names = {
            "grain": grain,
            "dimension": dimension,
            "start": start.isoformat(),
            "value": value,
            "position": position,
        }
        return names | {"payments": self.intervals(), "buyers": self.buyers} | self.figures()


class Sums:
    """What events change, added up by the least grain of GRAINS that is wanted, and of counties by month."""

    def __init__(self, least: str = "hour") -> None:
        self.least = least
        self.of_places: dict[Place, Sum] = {}

    def add(self, moved: Iterable["Moved"]) -> None:
        """Add changes."""
        begin = GRAINS[self.least]
        for each in moved:
            dimension, value = each.part
            is_county = dimension == "county"
            total = self._of((dimension, month_of(each.hour) if is_county else begin(each.hour), value))
            total.add(each.change)
            if is_county:
                total.count_buyer(each.buyer)

    def follow(self, events: Iterable[Recorded], until: int) -> None:
        """Add what the events of one session have changed up to a position; not its buyer.

        What a session adds in the end is counted once, and before only where it left a part.
        """
        session = None
        for event in events:
            if event.position > until or event.topic not in _TOPICS:
                continue
            if event.topic == Created.TOPIC:
                session = SessionFigures(event.state)
            elif session is not None and session.is_moved_by(event):
                self._settle(session)
            if session is not None:
                session.take(event)
        if session is not None:
            self._settle(session)

    def _settle(self, session: SessionFigures) -> None:
        begin, month = GRAINS[self.least](session.hour), month_of(session.hour)
        for (dimension, value), change in session.settle().items():
            self._of((dimension, month if dimension == "county" else begin, value)).add(change)

    def _of(self, place: Place) -> Sum:
        total = self.of_places.get(place)
        if total is None:
            total = self.of_places[place] = Sum()
        return total

    def merge(self, other: "Sums") -> None:
        """Add what others have added up; not the buyers, whose order is lost."""
        for place, total in other.of_places.items():
            self.of_places.setdefault(place, Sum()).merge(total)

    def by_grain(self) -> Iterator[tuple[str, Place, Sum]]:
        """Yield the sums of the least grain and of the longer ones, in the order of their keys."""
        names = list(GRAINS)
        longer = names[names.index(self.least) + 1 :]
        sums: dict[tuple[str, Place], Sum] = {}
        for place, total in self.of_places.items():
            dimension, start, value = place
            if dimension == "county":
                sums["month", place] = total
                continue
            sums[self.least, place] = total
            for grain in longer:
                sums.setdefault((grain, (dimension, GRAINS[grain](start), value)), Sum()).merge(total)
        for grain, place in sorted(sums):
            yield grain, place, sums[grain, place]


class PaymentFigures:
    """Adds up what events change, with the earlier events of their sessions; a rebuild comes to the same rows."""

    topics = TOPICS

    def __init__(self, table: str = TABLE) -> None:
        self.name = table
        self._add = ADD.format(table=table).encode()

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Add what the batch changes: one row a sum, and one a part that a late event moves."""
        moved = list(changes_of(_sessions_before(connection, batch), batch))
        sums = Sums()
        sums.add(moved)
        rows = [total.row(grain, place) for grain, place, total in sums.by_grain()]
        rows += _late_rows(each for each in moved if each.is_late)
        if rows:
            connection.execute(self._add, (msgspec.json.encode(rows).decode(),))


def rebuild(run: Run, macs: EventMacs, batch_size: int = BATCH_SIZE) -> Rebuilt:
    """Fold the log anew and put right the sums and rows of late events that differ. Raises Unavailable."""
    key = "ARRAY[grain, dimension, start::text, value, position::text]"
    return rebuild_table(run, macs, PaymentFigures, key=key, batch_size=batch_size)


class Moved(NamedTuple):
    """What an event changes in one part; `buyer` is the session's."""

    event: Recorded
    hour: datetime
    part: Part
    change: Change
    buyer: int

    @property
    def is_late(self) -> bool:
        """Whether it restates the past."""
        return self.event.recorded_at >= self.hour + HOUR + LATE_AFTER and self.part[0] not in NOT_AS_REPORTED


def changes_of(sessions: dict[UUID, SessionFigures], events: Iterable[Recorded]) -> Iterator[Moved]:
    """Yield what events change, in their order; `sessions` are those known before, and are moved on."""
    for event in events:
        if event.topic == Created.TOPIC:
            sessions[event.session_id] = SessionFigures(event.state)
        session = sessions.get(event.session_id)
        if session is None:
            continue  # Its first event was forged, so that no command of ours added to it.
        for part, change in session.apply(event).items():
            yield Moved(event, session.hour, part, change, session.created["user_id"])


def sums_by_hour(moved: Iterable[Moved]) -> list[dict[str, Any]]:
    """Return the rows of the hours that changes come to, without counties."""
    sums = Sums()
    sums.add(moved)
    return [total.row(grain, place) for grain, place, total in sums.by_grain() if grain == "hour"]


def _late_rows(late: Iterable[Moved]) -> list[dict[str, Any]]:
    """Return a row for each event, which is the log of restatements, and one for each moment and group.

    The position of the second kind is the moment in microseconds: batches of any size add up to the same rows.
    """
    of_events = []
    groups: dict[tuple[Place, datetime], Sum] = {}
    for each in late:
        event, (dimension, value) = each.event, each.part
        place = dimension, each.hour, value
        if each.part == ALL:
            total = Sum()
            total.add(each.change)
            names = {"session_id": event.session_id, "version": event.version, "topic": event.topic}
            of_events.append(_late_row(total, place, event.position, event.recorded_at) | names)
        else:
            groups.setdefault((place, event.recorded_at), Sum()).add(each.change)
    of_groups = (
        _late_row(total, place, (recorded_at - _EPOCH) // _MICROSECOND, recorded_at)
        for (place, recorded_at), total in sorted(groups.items(), key=itemgetter(0))
    )
    return [*of_events, *of_groups]


def _late_row(total: Sum, place: Place, position: int, recorded_at: datetime) -> dict[str, Any]:
    return total.row("late", place, position) | {"recorded_at": recorded_at.isoformat()}


def _sessions_before(connection: Connection[Any], batch: Sequence[Recorded]) -> dict[UUID, SessionFigures]:
    """Return what the sessions of a batch were before it."""
    first: dict[UUID, int] = {}
    for event in batch:
        first.setdefault(event.session_id, event.version)
    begun = {session_id: version for session_id, version in first.items() if version > 1}
    sessions: dict[UUID, SessionFigures] = {}
    if begun:
        values = list(begun), list(begun.values()), list(TOPICS)
        rows = connection.execute(EARLIER, values)
        earlier = (Recorded(**row | {"state": msgspec.json.decode(row["state"])}) for row in rows)
        for _ in changes_of(sessions, earlier):
            pass
    return sessions
