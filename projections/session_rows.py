"""Projections with a few rows a session, which are a fold of its events: followed, rebuilt and compared alike."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

import msgspec
from psycopg import Connection

from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from projections.follower import BE_ACTIVE, Recorded, genuine, position_of, read_end, recorded
from projections.rebuild_runs import Rebuilt, Run
from projections.session_walk import SESSIONS_AT_ONCE, Compared, walk

Row = TypeVar("Row")

EVENTS_AHEAD = f"""
WITH followed AS (
    SELECT node.origin, coalesce((SELECT reached.position FROM follower_positions AS reached
                                  WHERE reached.name = %(name)s AND reached.origin = node.origin), 0) AS position
    FROM ledger_node AS node
),
candidates AS ({{candidates}}),
ahead AS (
    SELECT DISTINCT candidates.session_id FROM candidates, followed
    WHERE EXISTS (SELECT FROM payment_events AS event
                  WHERE event.session_id = candidates.session_id AND event.topic = ANY(%(topics)s)
                    AND event.origin = followed.origin AND event.position > followed.position OFFSET 0)
)
SELECT event.* FROM ahead, LATERAL (
    SELECT session_id, version, topic, state::text AS state, recorded_at, {COLUMNS} FROM payment_events
    WHERE session_id = ahead.session_id AND topic = ANY(%(topics)s) OFFSET 0
) AS event ORDER BY session_id, version
"""  # noqa: S608 - made of names of our own
# OFFSET 0 has sessions looked up one by one: a plan that joins them reads the log whole, in a new store in any case.

FOLLOWED = f"""
SELECT session_id, version, topic, state::text AS state, recorded_at, {COLUMNS} FROM payment_events
WHERE topic = ANY(%(topics)s) AND (origin <> %(origin)s OR position <= %(position)s) AND {{which}}
ORDER BY session_id, version
"""  # noqa: S608 - as above
"""The events of some sessions that the follower has applied."""

BETWEEN, AMONG = "session_id BETWEEN %(first)s AND %(last)s", "session_id = ANY(%(session_ids)s)"

_BY_SESSION = itemgetter("session_id")
# Ids and moments read back from text; by `str` also those moments that are no plain ones.
_ENCODER = msgspec.json.Encoder(enc_hook=str)


def rows_now(table: str, columns: str) -> str:
    """Return SQL for the rows of a table as the whole log has them, whose values are those of `Ahead`."""
    return f"""
(SELECT {columns} FROM {table} WHERE session_id <> ALL(%(sessions_ahead)s)
 UNION ALL SELECT {columns} FROM jsonb_populate_recordset(NULL::{table}, %(rows_ahead)s::jsonb))
"""  # noqa: S608 - made of names of our own


@dataclass(frozen=True, slots=True)
class Ahead:
    """Sessions with events that the follower has not applied, and their rows as those events make them."""

    sessions: tuple[UUID, ...] = ()
    rows: tuple[Any, ...] = ()

    @property
    def values(self) -> dict[str, Any]:
        """The values of `rows_now`."""
        return {"sessions_ahead": list(self.sessions), "rows_ahead": _as_json(self.rows)}


class SessionRows(Generic[Row]):
    """A projection whose rows of a session follow from that session's events alone.

    A subclass names its `table`, the `version` of what it makes of an event (with another one, the worker rebuilds the
    table), the dataclass of a `row`, whose fields are the columns, the columns in `key` that tell the rows of a session
    apart, its `topics`, and what an event changes; and by SQL the `candidates`, sessions whose rows somebody may be
    waiting for while the follower is held back.
    """

    table: ClassVar[str]
    version: ClassVar[int]
    candidates: ClassVar[str]
    row: type[Row]
    key: ClassVar[tuple[str, ...]]
    topics: Sequence[str]

    def __init__(self, table: str | None = None) -> None:
        self.name = table or self.table
        self._topics = frozenset(self.topics)
        self.columns = tuple(column.name for column in fields(self.row))  # type: ignore[arg-type]
        key = ("session_id", *self.key)
        self._key_of = attrgetter(*self.key)
        names = ", ".join(self.columns)
        # Sessions and rows are looked up one by one, and the array comes by SELECT, so that one plan is kept.
        self.select = f"""
            SELECT held.* FROM unnest((SELECT %s::uuid[])) AS wanted (session_id), LATERAL (
                SELECT {names} FROM {self.name} WHERE session_id = wanted.session_id OFFSET 0) AS held
        """  # noqa: S608 - made of names of our own
        self.put = f"""
            WITH gone AS (
                DELETE FROM {self.name} WHERE ctid = ANY(ARRAY(
                    SELECT held.place FROM jsonb_populate_recordset(NULL::{self.name}, %s::jsonb) AS gone, LATERAL (
                        SELECT ctid AS place FROM {self.name}
                        WHERE {" AND ".join(f"{name} = gone.{name}" for name in key)} OFFSET 0) AS held))
            )
            INSERT INTO {self.name} ({names})
            SELECT {names} FROM jsonb_populate_recordset(NULL::{self.name}, %s::jsonb)
            ON CONFLICT ({", ".join(key)}) DO UPDATE
            SET {", ".join(f"{name} = excluded.{name}" for name in self.columns if name not in key)}
        """  # noqa: S608 - as above
        self.events_ahead = EVENTS_AHEAD.format(candidates=self.candidates)

    @staticmethod
    def fold(rows: dict[Any, Row], event: Recorded) -> None:
        """Change a session's rows, by key, by one of its events."""
        raise NotImplementedError

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Change the rows of the sessions that the batch is about."""
        sessions: dict[UUID, dict[Any, Row]] = {event.session_id: {} for event in batch}
        for values in connection.execute(self.select.encode(), (list(sessions),)):
            sessions[values["session_id"]] |= self.stored([values])
        before = {session_id: dict(rows) for session_id, rows in sessions.items()}
        for event in batch:
            self.fold(sessions[event.session_id], event)
        self.replace(connection, ((before[session_id], rows) for session_id, rows in sessions.items()))

    def replace(
        self, connection: Connection[Any], changes: Iterable[tuple[dict[Any, Row], dict[Any, Row]]]
    ) -> None:
        """Put the rows of sessions in the place of those that they had, each by key."""
        gone, put = list[Row](), list[Row]()
        for was, rows in changes:
            gone += [was[key] for key in was.keys() - rows.keys()]
            put += [row for key, row in rows.items() if was.get(key) != row]
        if gone or put:
            connection.execute(self.put.encode(), (_as_json(gone), _as_json(put)))

    def select_rows(self, which: str) -> bytes:
        """Return SQL for the rows that a condition names."""
        return f"SELECT {', '.join(self.columns)} FROM {self.name} WHERE {which}".encode()  # noqa: S608 - made of names of our own

    def folded(self, events: Iterable[Recorded]) -> dict[Any, Row]:
        """Return the rows, by key, that follow from a session's events."""
        rows: dict[Any, Row] = {}
        for event in events:
            if event.topic in self._topics:
                self.fold(rows, event)
        return rows

    def ahead(self, database: Database, macs: EventMacs) -> Ahead:
        """Return the candidates that the follower is behind with, and their rows folded from the whole log.

        Events without our MAC are left out, as by the follower.
        """
        values = {"name": self.name, "topics": list(self.topics)}
        with database.connection() as connection:
            found = connection.execute(self.events_ahead.encode(), values).fetchall()
        rows = {
            session_id: self.folded(map(recorded, group))
            for session_id, group in groupby(genuine(found, macs), key=_BY_SESSION)
        }
        return Ahead(tuple(rows), tuple(row for of_session in rows.values() for row in of_session.values()))

    def stored(self, values: Iterable[dict[str, Any]]) -> dict[Any, Row]:
        """Return rows as the table has them, by key."""
        return {self._key_of(row): row for row in (self.row(**each) for each in values)}

    @classmethod
    def rebuild(cls, run: Run, macs: EventMacs, batch_size: int = SESSIONS_AT_ONCE) -> Rebuilt:
        """Compare the rows of each session with a fold of its followed events, and mend them. Raises Unavailable."""
        return walk(run, WalkedRows(cls(), macs), batch_size)

    def fault(self, events: Iterable[Recorded], stored: Iterable[dict[str, Any]]) -> str | None:
        """Compare a session's rows with a fold of its followed events; return what is wrong, None if nothing is."""
        folded, found = self.folded(events), self.stored(stored)
        if folded == found:
            return None
        if not found:
            return "lacks its rows"
        return "is not what its events come to" if folded else "has rows that no event speaks of"


class WalkedRows(Generic[Row]):
    """The rows of a projection as a rebuild compares and mends them."""

    def __init__(self, projection: SessionRows[Row], macs: EventMacs) -> None:
        self._projection = projection
        self._macs = macs

    def compare(self, connection: Connection[Any], first: UUID, last: UUID) -> Compared:
        """Compare the rows of the sessions from one id to another with a fold of their followed events."""
        found = Compared(0)
        for session_id, made, held in self._rows(connection, found, BETWEEN, {"first": first, "last": last}):
            keys = [key for key in made.keys() | held.keys() if made.get(key) != held.get(key)]
            if keys:
                found.differing[session_id] = [_key_text(session_id, key) for key in sorted(keys)]
        return found

    def mend(self, database: Database, session_ids: Sequence[UUID]) -> None:
        """Replace the rows of these sessions that differ, at the place where the follower stands."""
        with database.transaction() as connection:
            connection.execute(BE_ACTIVE, (self._projection.name,))
            values = {"session_ids": list(session_ids)}
            rows = list(self._rows(connection, Compared(0), AMONG, values))
            self._projection.replace(connection, ((held, made) for _, made, held in rows))

    def _rows(
        self, connection: Connection[Any], found: Compared, which: str, values: dict[str, Any]
    ) -> Iterator[tuple[UUID, dict[Any, Row], dict[Any, Row]]]:
        """Yield each session with its rows as the followed events make them, and as the table holds them."""
        projection = self._projection
        origin = read_end(connection).origin
        position = position_of(connection, projection.name, origin)
        values |= {"topics": list(projection.topics), "origin": origin, "position": position}
        events = connection.execute(FOLLOWED.format(which=which).encode(), values, binary=True).fetchall()
        found.events = len(events)
        made = {
            session_id: projection.folded(map(recorded, group))
            for session_id, group in groupby(genuine(events, self._macs), key=_BY_SESSION)
        }
        held: dict[UUID, dict[Any, Row]] = {}
        for row in connection.execute(projection.select_rows(which), values, binary=True):
            held.setdefault(row["session_id"], {}).update(projection.stored([row]))
        for session_id in made.keys() | held.keys():
            yield session_id, made.get(session_id, {}), held.get(session_id, {})


def _key_text(session_id: UUID, key: Any) -> str:
    """Return the key of a row as text: the session's id and what tells its rows apart."""
    return " ".join(map(str, (session_id, *(key if isinstance(key, tuple) else (key,)))))


def _as_json(rows: Sequence[Any]) -> str:
    """Return rows as JSON that PostgreSQL makes the rows of their table of."""
    return _ENCODER.encode(rows).decode()
