"""Sums of the figures by hour, day and month, and what late events added to them: the table that `figures` reads."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
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
from projections.session_figures import NAMES, TOPICS, Change, Part, SessionFigures

TABLE = "payment_figures"
VERSION = 1
"""Of what is made of an event: with another one, the worker rebuilds the table."""

LATE_AFTER = timedelta(hours=1)
"""An event restates the past if it is recorded so long after the end of the hour of its session, or later."""

KEPT_BUYERS = 5
HOUR = timedelta(hours=1)
STATE = """
CASE WHEN version = 1 THEN jsonb_build_object(
    'timestamp', state->'timestamp', 'user_id', state->'user_id', 'county_id', state->'county_id',
    'subcounty_id', state->'subcounty_id', 'lines', state->'lines')
ELSE state END
"""
# A command that wrote a later event had checked these, and that later one carries our MAC.
EARLIER = f"""
SELECT session_id, version, topic, recorded_at, position, ({STATE})::text AS state
FROM payment_events JOIN unnest(%s::uuid[], %s::integer[]) AS wanted (session_id, before) USING (session_id)
WHERE version < before AND topic = ANY(%s) ORDER BY session_id, version
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

READ_HOURS = f"""
SELECT start AS hour, {", ".join(FIGURES)} FROM {TABLE} WHERE grain = 'hour' AND dimension = 'all' ORDER BY hour
"""  # noqa: S608 - as above
"""The figures of all sessions, by hour: those of the projection `metrics`."""

Key = tuple[str, str, datetime, str]
"""Grain, dimension, start and value of a sum."""


@dataclass(slots=True)
class Sum:
    """A row of changes added up: figures in the order of NAMES, payments by interval, the first buyers of a county."""

    counts: list[int] = field(default_factory=lambda: [0] * len(NAMES))
    payments: Counter[int] = field(default_factory=Counter)
    buyers: list[int] = field(default_factory=list)

    def add(self, change: Change, buyer: int | None) -> None:
        """Add what one event changes; `buyer` is given where buyers are counted."""
        for place, count in enumerate(change.counts):
            self.counts[place] += count
        for interval, count in change.payments.items():
            self.payments[interval] += count
        if buyer is not None and len(self.buyers) < KEPT_BUYERS and buyer not in self.buyers:
            self.buyers.append(buyer)

    def row(self, key: Key, position: int = 0) -> dict[str, Any]:
        """Return it as a row of the table."""
        grain, dimension, start, value = key
        intervals = range(max(self.payments, default=-1) + 1)
        moment = start.isoformat()
        names = {
            "grain": grain,
            "dimension": dimension,
            "start": moment,
            "value": value,
            "position": position,
        }
        arrays = {"payments": [self.payments[place] for place in intervals], "buyers": self.buyers}
        return names | arrays | dict(zip(NAMES, self.counts, strict=True))


class PaymentFigures:
    """Adds up what events change, with the earlier events of their sessions; a rebuild comes to the same rows."""

    topics = TOPICS

    def __init__(self, table: str = TABLE) -> None:
        self.name = table
        self._add = ADD.format(table=table).encode()

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Add what the batch changes: one row a sum, and one a part that a late event moves."""
        sessions = _sessions_before(connection, batch)
        rows = list(_rows(changes_of(sessions, batch)))
        if rows:
            connection.execute(self._add, (msgspec.json.encode(rows).decode(),))


def rebuild(run: Run, macs: EventMacs, batch_size: int = BATCH_SIZE) -> Rebuilt:
    """Fold the log anew and put right the sums and rows of late events that differ. Raises Unavailable."""
    key = "ARRAY[grain, dimension, start::text, value, position::text]"
    return rebuild_table(run, macs, PaymentFigures, key=key, batch_size=batch_size)


@dataclass(frozen=True, slots=True)
class Moved:
    """What an event changes in one part; `buyer` is the session's."""

    event: Recorded
    hour: datetime
    part: Part
    change: Change
    buyer: int

    @property
    def is_late(self) -> bool:
        """Whether it restates the past."""
        return self.event.recorded_at >= self.hour + HOUR + LATE_AFTER


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
    sums: dict[Key, Sum] = {}
    for each in moved:
        dimension, value = each.part
        if dimension != "county":
            sums.setdefault(("hour", dimension, each.hour, value), Sum()).add(each.change, None)
    return [total.row(key) for key, total in sums.items()]


def day_of(moment: datetime) -> datetime:
    """Return when the day in Nairobi begins in which a moment lies, in UTC."""
    return start_of_day(moment.astimezone(NAIROBI).date())


def month_of(moment: datetime) -> datetime:
    """Return when the month in Nairobi begins in which a moment lies, in UTC."""
    return start_of_day(moment.astimezone(NAIROBI).date().replace(day=1))


def _rows(moved: Iterable[Moved]) -> Iterator[dict[str, Any]]:
    """Yield the rows of sums in the order of their keys, then those of late events."""
    sums: dict[Key, Sum] = {}
    late = []
    for each in moved:
        (dimension, value), hour = each.part, each.hour
        is_county = dimension == "county"
        starts = {"month": month_of(hour)} if is_county else _starts(hour)
        for grain, start in starts.items():
            key = grain, dimension, start, value
            sums.setdefault(key, Sum()).add(each.change, each.buyer if is_county else None)
        if each.is_late and not is_county:
            late.append(_late_row(each))
    for key in sorted(sums):
        yield sums[key].row(key)
    yield from late


def _starts(hour: datetime) -> dict[str, datetime]:
    return {"hour": hour, "day": day_of(hour), "month": month_of(hour)}


def _late_row(moved: Moved) -> dict[str, Any]:
    total, event = Sum(), moved.event
    total.add(moved.change, None)
    names = {"session_id": event.session_id, "version": event.version, "topic": event.topic}
    key = "late", moved.part[0], moved.hour, moved.part[1]
    return total.row(key, event.position) | names | {"recorded_at": event.recorded_at.isoformat()}


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
