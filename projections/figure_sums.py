"""Sums of the figures by hour, day and month, and what late events added to them: the table that `figures` reads."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache, partial
from itertools import groupby
from math import inf
from operator import attrgetter, itemgetter
from typing import Any

from psycopg import Connection

from ledger.clock import NAIROBI, start_of_day
from ledger.session.events import Created, PaymentRequested
from ledger.store.event_macs import EventMacs
from projections.figure_rows import (
    ADD,
    ADD_OF_EVENTS,
    COLUMNS,
    OF_EVENTS,
    Row,
    Sum,
    columns_of,
    payments_of,
)
from projections.follower import Recorded, recorded
from projections.metrics import FIGURES
from projections.rebuild import BATCH_SIZE, rebuild_table
from projections.rebuild_runs import Rebuilt, Run
from projections.session_figures import (
    ALL,
    MAX_KNOWN,
    NAMES,
    TOPICS,
    Change,
    Part,
    SessionFigures,
    Worth,
    figures_between,
)

TABLE = "payment_figures"
VERSION = 2
"""Of what is made of an event: with another one, the worker rebuilds the table."""

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
_START, _POSITION = COLUMNS.index("start"), COLUMNS.index("position")

AS_REPORTED = ("product", "result_code")
"""Dimensions of which there are figures as they were reported, and not only as they stand."""


@lru_cache(MAX_KNOWN)
def day_of(moment: datetime) -> datetime:
    """Return when the day in Nairobi begins in which a moment lies, in UTC."""
    return start_of_day(moment.astimezone(NAIROBI).date())


@lru_cache(MAX_KNOWN)
def month_of(moment: datetime) -> datetime:
    """Return when the month in Nairobi begins in which a moment lies, in UTC."""
    return start_of_day(moment.astimezone(NAIROBI).date().replace(day=1))


GRAINS: dict[str, Callable[[datetime], datetime]] = {
    "hour": lambda hour: hour,
    "day": day_of,
    "month": month_of,
}
"""When the sum of each grain begins in which an hour is counted."""


OfStarts = defaultdict[datetime, defaultdict[Part, Sum]]


def _no_sums() -> OfStarts:
    # No lambda: processes of a verification send it to each other.
    return defaultdict(partial(defaultdict, Sum))


class Sums:
    """What events change, added up by the least grain of GRAINS that is wanted, and of counties by month."""

    def __init__(self, least: str = "hour") -> None:
        self.least = least
        self.of_starts = _no_sums()
        self.of_counties = _no_sums()

    def follow(self, events: Iterable[Recorded], until: float = inf) -> None:
        """Add what the events of one session have changed up to a position; not its buyer.

        What a session adds in the end is counted once, and before only where it left a part.
        """
        session = None
        for event in events:
            if event.position > until or event.topic not in _TOPICS:
                continue
            if event.topic == Created.TOPIC:
                session = SessionFigures(event.state)
            if session is not None:
                self.add(session, session.take(event))
        if session is not None:
            self.add(session, session.settle())

    def add(self, session: SessionFigures, changes: Iterable[Change]) -> None:
        """Add what a session has changed."""
        of_start = self.of_starts[GRAINS[self.least](session.hour)]
        for part, number, left, interval in changes:
            totals = of_start if part[0] != "county" else self.of_counties[month_of(session.hour)]
            totals[part].add(number, left, interval)

    def count_buyer(self, session: SessionFigures) -> None:
        """Count the buyer of a session where it is counted by county."""
        if session.place is not None:
            self.of_counties[month_of(session.hour)][session.place].count_buyer(session.user_id)

    def merge(self, other: "Sums") -> None:
        """Add what others have added up; not the buyers, whose order is lost."""
        _merge(self.of_starts, other.of_starts, lambda start: start)
        _merge(self.of_counties, other.of_counties, lambda start: start)

    def by_grain(self) -> Iterator[tuple[str, Place, Sum]]:
        """Yield the sums of the least grain and of the longer ones, in the order of their keys."""
        sums = [
            (grain, (part[0], start, part[1]), total)
            for grain, of_starts in self._grains()
            for start, totals in of_starts.items()
            for part, total in totals.items()
        ]
        return iter(sorted(sums, key=itemgetter(0, 1)))

    def rows(self) -> Iterator[Row]:
        """Yield them as rows of the table."""
        for grain, of_starts in self._grains():
            for start, totals in of_starts.items():
                for part, total in totals.items():
                    yield total.row(grain, part, start)

    def _grains(self) -> Iterator[tuple[str, OfStarts]]:
        names = list(GRAINS)
        of_starts = self.of_starts
        yield self.least, of_starts
        for grain in names[names.index(self.least) + 1 :]:
            shorter, of_starts = of_starts, _no_sums()
            _merge(of_starts, shorter, GRAINS[grain])
            yield grain, of_starts
        yield "month", self.of_counties


def _merge(into: OfStarts, others: OfStarts, begin: Callable[[datetime], datetime]) -> None:
    for start, totals in others.items():
        of_start = into[begin(start)]
        for part, total in totals.items():
            of_start[part].merge(total)


class LateRows:
    """What late events change: a row for each event, the log of restatements, and one for each moment and group.

    The position of the second kind is the moment in microseconds: batches of any size add up to the same rows.
    """

    def __init__(self) -> None:
        self.of_events: list[Row] = []
        self._of_groups = defaultdict[tuple[datetime, datetime], defaultdict[Part, Sum]](
            lambda: defaultdict(Sum)
        )

    def add_event(self, event: Recorded, hour: datetime, before: Worth, after: Worth) -> None:
        """Keep what an event changes in the figures of all sessions of an hour, by what its session was worth."""
        of_event = event.session_id, event.version, event.topic, event.recorded_at
        payments, figures = payments_of(before[1], after[1]), figures_between(before, after)
        self.of_events.append(
            ("late", ALL[0], hour, ALL[1], event.position, *figures, payments, "{}", *of_event)
        )

    def add(self, moment: datetime | None, hour: datetime, changes: Iterable[Change]) -> None:
        """Keep what the events of a session that were recorded at a moment change in its groups; None if not late."""
        if moment is None:
            return
        groups = self._of_groups[hour, moment]
        for part, number, left, interval in changes:
            if part[0] in AS_REPORTED:
                groups[part].add(number, left, interval)

    def rows(self) -> Iterator[Row]:
        """Yield what groups change as rows of the table."""
        for (hour, recorded_at), groups in self._of_groups.items():
            position = (recorded_at - _EPOCH) // _MICROSECOND
            of_moment = None, None, None, recorded_at
            for part, total in groups.items():
                yield total.row("late", part, hour, position, of_moment)


class PaymentFigures:
    """Adds up what events change, with the earlier events of their sessions; a rebuild comes to the same rows."""

    topics = TOPICS

    def __init__(self, table: str = TABLE) -> None:
        self.name = table
        self._add = ADD.format(table=table).encode()
        self._add_late = ADD_OF_EVENTS.format(table=table).encode()

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Add what the batch changes: one row a sum, and one a part that a late event moves."""
        sums, late = Sums(), LateRows()
        add_up(_sessions_before(connection, batch), batch, sums, late)
        rows = [*sums.rows(), *late.rows()]
        if late.of_events and not self._add_of_events(connection, late.of_events):
            rows += late.of_events
        if rows:
            connection.execute(self._add, columns_of(rows))

    def _add_of_events(self, connection: Connection[Any], rows: Sequence[Row]) -> bool:
        """Add rows of late events, whose positions ascend, unless one of them may be there: say whether it was done."""
        hours = list({row[_START] for row in rows})
        there = hours, rows[0][_POSITION], rows[-1][_POSITION]
        return connection.execute(self._add_late, (*columns_of(rows, OF_EVENTS), *there)).rowcount > 0


def rebuild(run: Run, macs: EventMacs, batch_size: int = BATCH_SIZE) -> Rebuilt:
    """Fold the log anew and put right the sums and rows of late events that differ. Raises Unavailable."""
    key = "ARRAY[grain, dimension, start::text, value, position::text]"
    return rebuild_table(run, macs, PaymentFigures, key=key, batch_size=batch_size)


def add_up(
    sessions: dict[int, SessionFigures], events: Iterable[Recorded], sums: Sums, late: LateRows
) -> None:
    """Add up what events change, in the order of the log; `sessions` are those known before, by the number of their id.

    What a session changes is added up, once it leaves a part and in the end, apart for each moment at which late events
    of it were recorded. What a late event changes in all is told by event. The buyer of a session is counted with its
    first event.
    """
    moved: dict[int, tuple[SessionFigures, datetime | None]] = {}
    for event, session in _with_sessions(sessions, events, sums):
        key = event.session_id.int
        moment = None if event.recorded_at < session.late_from else event.recorded_at
        _, before = moved.setdefault(key, (session, moment))
        if before != moment:
            _add(session, session.settle(), sums, late, before)
            moved[key] = session, moment
        worth = session.worth
        if changes := session.take(event):
            _add(session, changes, sums, late, moment)
        if moment is not None and session.worth != worth:
            late.add_event(event, session.hour, worth, session.worth)
    for session, moment in moved.values():
        _add(session, session.settle(), sums, late, moment)


def _with_sessions(
    sessions: dict[int, SessionFigures], events: Iterable[Recorded], sums: Sums
) -> Iterator[tuple[Recorded, SessionFigures]]:
    for event in events:
        key = event.session_id.int
        if event.topic == Created.TOPIC:
            sessions[key] = session = SessionFigures(event.state)
            sums.count_buyer(session)
            yield event, session
        elif key in sessions:  # If not, its first event was forged, so that no command of ours added to it.
            yield event, sessions[key]


def _add(
    session: SessionFigures, changes: Sequence[Change], sums: Sums, late: LateRows, moment: datetime | None
) -> None:
    sums.add(session, changes)
    late.add(moment, session.hour, changes)


def rows_by_hour(events: Iterable[Recorded]) -> list[dict[str, Any]]:
    """Return the rows of the hours that events come to, each session's in a row, without counties."""
    sums = Sums()
    for _, of_session in groupby(events, key=attrgetter("session_id")):
        sums.follow(of_session)
    return [dict(zip(COLUMNS, row, strict=True)) for row in sums.rows() if row[0] == "hour"]


def _sessions_before(connection: Connection[Any], batch: Sequence[Recorded]) -> dict[int, SessionFigures]:
    """Return what the sessions of a batch were before it, by the number of their id.

    Not those that only ask for prompts in it: by that alone no figure moves.
    """
    first: dict[int, Recorded] = {}
    moving = set()
    for event in batch:
        first.setdefault(event.session_id.int, event)
        if event.topic != PaymentRequested.TOPIC:
            moving.add(event.session_id.int)
    begun = [event for key, event in first.items() if event.version > 1 and key in moving]
    sessions: dict[int, SessionFigures] = {}
    if begun:
        values = [event.session_id for event in begun], [event.version for event in begun], list(TOPICS)
        for event in map(recorded, connection.execute(EARLIER, values)):
            if event.topic == Created.TOPIC:
                sessions[event.session_id.int] = SessionFigures(event.state)
            if event.session_id.int in sessions:
                sessions[event.session_id.int].take(event)
        for session in sessions.values():
            session.settle()
    return sessions
