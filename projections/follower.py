"""The loop that feeds the read side: batches of events in the order of their positions, each applied exactly once."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from threading import RLock
from time import monotonic
from typing import Any, NamedTuple, Protocol
from uuid import UUID

import msgspec
import structlog
from eventsourcing.persistence import JSONTranscoder
from psycopg import Connection

from ledger.session.events import Event
from ledger.store.canonical import UNREADABLE
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.locks import LOCK_KEY
from ledger.store.mapper import SessionMapper
from projections.stored_positions import STORE_FREE_POSITIONS, STORE_POSITIONS

BATCH_SIZE = 500
CATCH_UP = 10
"""After a full batch the next is so many times larger: the follower is far behind."""
MAX_RECENT = 2_000
"""How many events a process keeps in memory for its followers."""
MAX_LOOKS_UNSAVED = 20
"""After so many looks at the log those positions are stored that no other commit took along."""

_log = structlog.get_logger(__name__)
_POSITION = itemgetter("position")
_VALUES = itemgetter("session_id", "version", "topic", "state", "position", "recorded_at")
_DECODE = msgspec.json.Decoder().decode
_MAPPER = SessionMapper(JSONTranscoder())  # The transcoder is the library's; ours writes JSON by itself.

LOOK = "SELECT origin, horizon, pg_postmaster_start_time() AS server FROM ledger_horizon()"
TRY_TO_BE_ACTIVE = f"SELECT pg_try_advisory_xact_lock({LOCK_KEY}) AS active"
BE_ACTIVE = f"SELECT pg_advisory_xact_lock({LOCK_KEY})"
READ_POSITION = "SELECT position FROM follower_positions WHERE name = %s AND origin = %s"
_AFTER = "origin = %(origin)s AND position > (SELECT %(after)s::bigint)"
_WANTED = "((SELECT %(topics)s::text[]) IS NULL OR topic = ANY((SELECT %(topics)s::text[])::text[]))"
# Where the batch ends is found in the index alone, and only what is wanted of it is read. The values come by SELECT, so
# that one plan is kept.
READ_BATCH = f"""
WITH part AS (
    SELECT max(position) AS last, count(*) AS number
    FROM (SELECT position FROM payment_events WHERE {_AFTER} AND position <= (SELECT %(end)s::bigint)
          ORDER BY position LIMIT (SELECT %(limit)s::bigint)) AS next
)
SELECT session_id, version, topic, recorded_at, {COLUMNS}, (SELECT number FROM part) AS number,
       CASE WHEN {_WANTED} THEN state::text END AS state
FROM payment_events
WHERE {_AFTER} AND position <= (SELECT last FROM part) AND ({_WANTED} OR position = (SELECT last FROM part))
ORDER BY position
"""  # noqa: S608 - made of names of our own


class Recorded(NamedTuple):
    """One event as the log holds it; `state` is its decoded JSON, `position` its place in the log of its origin."""

    session_id: UUID
    version: int
    topic: str
    state: dict[str, Any]
    position: int
    recorded_at: datetime

    @property
    def happened_at(self) -> datetime:
        """The moment that the event itself names."""
        return datetime.fromisoformat(self.state["timestamp"])

    @property
    def event(self) -> Event:
        """The event as an object of its class."""
        return self.event_of(msgspec.json.encode(self.state))

    def event_of(self, state: bytes) -> Event:
        """Return the event as an object of its class, from the JSON of its state."""
        return _MAPPER.event_of(self.session_id, self.version, self.topic, state)


class Projection(Protocol):
    """A view that follows the log.

    `apply` works in the transaction that also stores the position,
    from the batch alone: no clock, no network, and no reading but of its own table.
    """

    @property
    def name(self) -> str:
        """The name that its position is stored under."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics it wants, none meaning all."""

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Change the view by these events, in their order."""


class Place(NamedTuple):
    """A place in the log of one server: after a failover another server may have other events there."""

    server: datetime
    origin: int
    position: int


@dataclass(frozen=True, slots=True)
class Batch:
    """The `wanted` events among the next `read`, of which the last has position `last`.

    Every event up to the place `until` was read; it lies beyond `last` where there are no more.
    """

    wanted: list[Recorded]
    read: int
    last: int
    until: Place

    def first(self, most: int) -> "Batch":
        """Return the part of the batch that ends with its `most`-th wanted event, if it has more."""
        if len(self.wanted) <= most:
            return self
        last = self.wanted[most - 1].position
        return Batch(self.wanted[:most], most, last, self.until._replace(position=last))


class LogReader:
    """Reads the log once for all followers of a process, and keeps what came lately for each of them.

    A look at the log serves all who ask within `look_seconds`. Positions of followers that found nothing for them are
    stored with the next commit of another, when nothing new came, and after MAX_LOOKS_UNSAVED looks. That needs no
    follower's lock: the active one passes over the same events. Safe to share between threads.
    """

    def __init__(self, database: Database, macs: EventMacs | None, look_seconds: float = 0.0) -> None:
        self._database = database
        self._macs = macs
        self._look_seconds = look_seconds
        self._guard = RLock()
        self._looked_at = 0.0
        self._end: Place | None = None
        self._kept: list[dict[str, Any]] = []
        self._kept_after = 0
        self._unsaved: dict[str, int] = {}
        self._looks_unsaved = 0

    def look(self, *, anew: bool = False) -> Place:
        """Return the last place below the horizon, and keep what came since the last look. Raises Unavailable."""
        with self._guard:
            known = self._end
            # A clock that was set back, as in tests, says nothing about the last look.
            if known is not None and not anew and 0 <= monotonic() - self._looked_at < self._look_seconds:
                return known
            with self._database.connection() as connection:
                end = read_end(connection)
                self._keep_new(connection, known, end)
                self._looked_at = monotonic()
                self._looks_unsaved += 1
                if self._unsaved and (end == known or self._looks_unsaved >= MAX_LOOKS_UNSAVED):
                    self.saved(self.store(connection, end, {}))
            return end

    def _keep_new(self, connection: Connection[Any], known: Place | None, end: Place) -> None:
        """Keep the events between two places; none where they are too many, or the server is not the same."""
        if known == end:
            return
        goes_on = known is not None and known[:2] == end[:2] and known.position < end.position
        new = _rows(connection, known, end, (), BATCH_SIZE) if known is not None and goes_on else []
        if self._end is not known:
            return  # Another look overtook this one.
        if not goes_on:
            self._unsaved = {}
        if not goes_on or len(new) == BATCH_SIZE:
            self._kept, self._kept_after = [], end.position
        elif new:
            kept = [*self._kept, *new]
            if len(kept) > MAX_RECENT:
                self._kept_after = kept[-MAX_RECENT - 1]["position"]
            self._kept = kept[-MAX_RECENT:]
        self._end = end

    def recent(
        self, after: Place | None, end: Place, topics: Sequence[str], checked: Sequence[str] | None = None
    ) -> Batch | None:
        """Return what `read` does, of what is kept in memory and up to the last look; None if that is not all."""
        with self._guard:
            known, kept = self._end, self._kept
            if after is None or known is None or not after[:2] == known[:2] == end[:2]:
                return None
            if after.position < self._kept_after or known.position < end.position:
                return None
        rows = kept[bisect_right(kept, after.position, key=_POSITION) :]
        wanted = (row for row in rows if not topics or row["topic"] in topics)
        events = list(_events(wanted, self._macs, checked))
        return Batch(events, len(rows), rows[-1]["position"] if rows else after.position, known)

    def read(
        self,
        connection: Connection[Any],
        after: Place,
        end: Place,
        topics: Sequence[str],
        limit: int,
        checked: Sequence[str] | None = None,
    ) -> Batch:
        """Return the events of these topics among the next `limit` up to a place; those without our MAC are left out.

        With `checked`, only events of those topics need our MAC.
        """
        rows = _rows(connection, after, end, topics, limit)
        wanted = (row for row in rows if row["state"] is not None)
        events = list(_events(wanted, self._macs, checked))
        read, last = (rows[-1]["number"], rows[-1]["position"]) if rows else (0, after.position)
        return Batch(events, read, last, end if read < limit else end._replace(position=last))

    def pass_over(self, name: str, batch: Batch) -> None:
        """Have the position of a follower moved past a batch that holds nothing for it, by a later commit."""
        with self._guard:
            if batch.read and self._end is not None and batch.until[:2] == self._end[:2]:
                self._unsaved[name] = batch.last

    def store(self, connection: Connection[Any], end: Place, reached: Mapping[str, int]) -> dict[str, int]:
        """Store how far followers have got, by name, and what was passed over; waits for nobody's lock but theirs.

        Return what `saved` is to be told once it is committed.
        """
        with self._guard:
            passed = {name: position for name, position in self._unsaved.items() if name not in reached}
        if reached:
            connection.execute(STORE_POSITIONS, (end.origin, list(reached), list(reached.values())))
        if not passed:
            return dict(reached)
        stored = connection.execute(STORE_FREE_POSITIONS, (end.origin, list(passed), list(passed.values())))
        return {**reached, **{row["name"]: passed[row["name"]] for row in stored}}

    def saved(self, positions: Mapping[str, int]) -> None:
        """Forget positions that were stored and committed."""
        with self._guard:
            self._unsaved = {
                name: position
                for name, position in self._unsaved.items()
                if position > positions.get(name, position - 1)
            }
            self._looks_unsaved = 0


class Follower:
    """Feeds one projection. Several may run for a name; one is active in each round, the others stand by.

    An event without our MAC is passed over: a forgery must neither change a view nor stop it. What came lately is in
    `log`, which the followers of a process share. It has read all up to the place `read_until`.
    """

    def __init__(
        self,
        database: Database,
        macs: EventMacs,
        projection: Projection,
        batch_size: int = BATCH_SIZE,
        log: LogReader | None = None,
    ) -> None:
        self.name, self.projection = projection.name, projection
        self._database = database
        self._log = log or LogReader(database, macs)
        self.batch_size = batch_size
        self._limit = batch_size
        self.read_until: Place | None = None

    def run_once(self) -> int:
        """Apply the next batch; return how many events were read: 0 when caught up, or standing by.

        Raises what the projection raises, after which nothing has happened, and Unavailable.
        """
        end = self._log.look()
        if end == self.read_until:
            return 0  # Nothing new can have appeared below it.
        batch = self.recent(end)
        if batch is not None and not batch.wanted:
            self.pass_over(batch)
        else:
            with self._database.transaction() as connection:
                if not connection.execute(TRY_TO_BE_ACTIVE, (self.name,)).fetchone()["active"]:
                    return 0
                batch = self._apply_next(connection, end)
                stored = self._log.store(connection, end, {self.name: batch.last} if batch.read else {})
            self._log.saved(stored)
        self.read_until = batch.until
        return batch.read

    def recent(self, end: Place) -> Batch | None:
        """Return the next batch if all of it is in memory, None if not."""
        return self._log.recent(self.read_until, end, self.projection.topics)

    def pass_over(self, batch: Batch) -> None:
        """Go on after a batch that holds nothing for this one."""
        self._log.pass_over(self.name, batch)
        self.read_until = batch.until

    def catch_up(self) -> int:
        """Apply batches until none is left below the horizon; return how many events were read."""
        total = 0
        while read := self.run_once():
            total += read
        return total

    def advance(self, connection: Connection[Any], end: Place) -> int:
        """Apply the next batch up to a place, inside a transaction that holds the lock of this name."""
        batch = self._apply_next(connection, end)
        if batch.read:
            self._log.store(connection, end, {self.name: batch.last})
        return batch.read

    def _apply_next(self, connection: Connection[Any], end: Place) -> Batch:
        after = end._replace(position=position_of(connection, self.name, end.origin))
        batch = self._log.recent(after, end, self.projection.topics)
        if batch is None:
            batch = self._log.read(connection, after, end, self.projection.topics, self._limit)
            self._limit = self.batch_size * (CATCH_UP if batch.read == self._limit else 1)
        if batch.wanted:
            self.projection.apply(connection, batch.wanted)
        return batch


def read_end(connection: Connection[Any]) -> Place:
    """Return the last place below the horizon. Read rows up to it in a later statement: `ledger.store.positions`."""
    seen = connection.execute(LOOK).fetchone()
    assert seen is not None
    return Place(seen["server"], seen["origin"], seen["horizon"] - 1)


def position_of(connection: Connection[Any], name: str, origin: int) -> int:
    """Return the position of the last event that this follower has applied, 0 before the first."""
    row = connection.execute(READ_POSITION, (name, origin)).fetchone()
    return int(row["position"]) if row else 0


def _rows(
    connection: Connection[Any], after: Place, end: Place, topics: Sequence[str], limit: int
) -> list[dict[str, Any]]:
    place = {"origin": end.origin, "after": after.position, "end": end.position}
    values = place | {"topics": list(topics) or None, "limit": limit}
    return connection.execute(READ_BATCH, values, binary=True).fetchall()


def genuine(
    rows: Iterable[dict[str, Any]], macs: EventMacs | None, topics: Sequence[str] | None = None
) -> Iterator[dict[str, Any]]:
    """Yield the rows of the log whose events carry our MAC, and log the others; all of them without `macs`.

    With `topics`, rows of others are not checked.
    """
    for row in rows:
        if _is_ours(row, macs, topics):
            yield row


def _is_ours(row: dict[str, Any], macs: EventMacs | None, topics: Sequence[str] | None) -> bool:
    if macs is None or (topics is not None and row["topic"] not in topics) or macs.is_genuine(row):
        return True
    _log.error("event_forged", session_id=str(row["session_id"]), version=row["version"])
    return False


def _events(
    rows: Iterable[dict[str, Any]], macs: EventMacs | None, topics: Sequence[str] | None
) -> Iterator[Recorded]:
    """Yield the events of rows as `genuine` does, which stay with them; a forged one may not even be decodable."""
    for row in rows:
        if (event := row.get("event")) is None:
            if not _is_ours(row, macs, topics):
                continue
            try:
                event = recorded(row)
            except UNREADABLE:
                if macs is None or macs.is_genuine(row):
                    raise
                _log.error("event_forged", session_id=str(row["session_id"]), version=row["version"])
                continue
            if topics is None or row["topic"] in topics:
                row["event"] = event
        yield event


def event_of(row: Mapping[str, Any]) -> Event:
    """Return the event of one row of the log, whose `state` is JSON text, as an object of its class."""
    return _MAPPER.event_of(row["session_id"], row["version"], row["topic"], row["state"].encode())


def recorded(row: dict[str, Any]) -> Recorded:
    """Return the event of one row of the log, whose `state` is JSON text."""
    session_id, version, topic, state, position, recorded_at = _VALUES(row)
    return Recorded(session_id, version, topic, _DECODE(state), position, recorded_at)
