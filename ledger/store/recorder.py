"""The event recorder: one SQL call appends events and moves the status row, without a lock and without a sequence."""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import cache
from types import MappingProxyType
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from eventsourcing.persistence import (
    IntegrityError,
    Notification,
    NotSupportedError,
    StoredEvent,
    Subscription,
)
from eventsourcing.postgres import PostgresApplicationRecorder

from ledger.errors import ConnectionLost
from ledger.store.connection import Connection
from ledger.store.counters import CONFLICTS
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.parts import Part, run_parts
from ledger.store.positions import read_horizon

VERSION_CONFLICT = "DF001"

Lend = Callable[[], AbstractContextManager[Connection]]

_SELECT = "SELECT version, topic, state::text AS state FROM payment_events WHERE session_id = %s"
_HISTORIES = f"""
SELECT session_id, version, topic, state::text AS state, metadata::text AS metadata, {COLUMNS}
FROM payment_events WHERE session_id = ANY(%s) ORDER BY session_id, version
"""  # noqa: S608 - made of names of our own
# The same rows as one value, for a statement that reads more than them.
_HISTORY_PART = """(
    SELECT json_agg(json_build_array(
        version, topic, state::text, metadata::text, origin, position, encode(hash, 'hex'), key_id, encode(mac, 'hex')
    ) ORDER BY version)::text FROM payment_events WHERE session_id = %s
)"""
_POSITIONS_OF_HASHES = """
SELECT hash, position FROM payment_events WHERE session_id = %s AND version BETWEEN %s AND %s ORDER BY version
"""
# One call a session, in the order of the rows.
_APPEND_TOGETHER = """
SELECT append_events(session_id, first_version, topics, states, metadata, hashes, key_id, macs, status_row) AS position
FROM json_to_recordset(%s::json) AS append (
    session_id uuid, first_version integer, topics text[], states text[], metadata text[],
    hashes bytea[], key_id integer, macs bytea[], status_row jsonb)
"""
_SELECT_NOTIFICATIONS = """
SELECT session_id, version, topic, state::text AS state, position FROM payment_events
WHERE origin = %(origin)s AND position < %(horizon)s
  AND (%(start)s::bigint IS NULL OR position > %(start)s OR (%(inclusive)s AND position = %(start)s))
  AND (%(stop)s::bigint IS NULL OR position <= %(stop)s)
  AND (%(topics)s::text[] IS NULL OR topic = ANY(%(topics)s))
ORDER BY position LIMIT %(limit)s
"""
_LAST_POSITION = "SELECT max(position) AS position FROM payment_events WHERE origin = %s AND position < %s"
_NAMES_OF_HISTORY = (
    "version", "topic", "state", "metadata", "origin", "position", "hash", "key_id", "mac",
)  # fmt: skip


class VersionConflict(IntegrityError):
    """Another writer appended to the session first: reload, and decide again."""


class SessionRecorder(PostgresApplicationRecorder):
    """Appends through `append_events` and reads below the horizon only.

    Ids of notifications are positions, unique within one transaction and ordered by it; see
    `ledger.store.positions`. The tables come from our migrations, so nothing is created here, and there is no
    LISTEN/NOTIFY: followers poll.
    """

    def __init__(self, datastore: Database, macs: EventMacs) -> None:
        self.datastore = self._database = datastore
        self.macs = macs
        self.events_table_name = "payment_events"
        self.sql_create_statements = []

    def history(self, session_id: UUID) -> Sequence[dict[str, Any]]:
        """Return the rows of a session's events, the oldest first, with what their MACs are checked by."""
        return self.histories([session_id]).get(session_id, [])

    def histories(self, session_ids: Collection[UUID]) -> dict[UUID, list[dict[str, Any]]]:
        """Return what `history` returns of each of these sessions; one without events is left out."""
        found: dict[UUID, list[dict[str, Any]]] = {}
        with self._database.connection() as connection:
            for row in connection.execute(_HISTORIES.encode(), (list(session_ids),), prepare=True):
                found.setdefault(row["session_id"], []).append(row)
        return found

    def history_part(self, session_id: UUID) -> Part:
        """Return the part of a statement that reads what `history` returns; `rows_of_history` reads its value."""
        return Part(_HISTORY_PART, (session_id,))

    def append_part(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        row: dict[str, Any],
        metadata: Sequence[bytes],
        hashes: Sequence[bytes],
    ) -> Part:
        """Return the part of a statement that appends events of one session with its new status row.

        Each event is signed by its hash. `metadata` is the canonical JSON of each, `hashes` are their `chained_hashes`.
        The value is the position of the last; run it inside `version_conflicts`.
        """
        first, (key_id, macs) = stored_events[0], self.macs.sign(hashes)
        assert isinstance(first.originator_id, UUID)
        values = (
            first.originator_id,
            first.originator_version,
            *(event.topic for event in stored_events),
            *(event.state.decode() for event in stored_events),
            *(each.decode() for each in metadata),
            *hashes,
            key_id,
            *macs,
            msgspec.json.encode(row).decode(),
        )
        return Part(_append(len(stored_events)), values)

    def append_row(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        row: dict[str, Any],
        metadata: Sequence[bytes],
        hashes: Sequence[bytes],
    ) -> dict[str, Any]:
        """Return the same for `insert_together`: values that JSON can tell."""
        first, (key_id, macs) = stored_events[0], self.macs.sign(hashes)
        return {
            "session_id": str(first.originator_id),
            "first_version": first.originator_version,
            "topics": [event.topic for event in stored_events],
            "states": [event.state.decode() for event in stored_events],
            "metadata": [each.decode() for each in metadata],
            "hashes": [_written(each) for each in hashes],
            "key_id": key_id,
            "macs": [_written(each) for each in macs],
            "status_row": row,
        }

    def insert_together(self, rows: Sequence[Mapping[str, Any]], waits: Part) -> Sequence[int]:
        """Append the events of several sessions by their `append_row`, in one commit and in the order of the rows.

        `waits` says how long for a lock. Returns the position of each one's last event. Raises what `insert_events`
        does, and then nothing was written; one connection that is lost is made good here, as there.
        """
        text = msgspec.json.encode(rows).decode()
        try:
            return self._insert_together(text, waits)
        except ConnectionLost:
            try:
                return self._insert_together(text, waits)
            except VersionConflict:
                there = [self._position_of(row) for row in rows]
                if None in there:  # Of one commit all is there, or nothing.
                    raise
                return [position for position in there if position is not None]

    def _insert_together(self, text: str, waits: Part) -> Sequence[int]:
        with version_conflicts(), self._database.transaction() as connection:
            run_parts(connection, {"waits": waits})
            return [row["position"] for row in connection.execute(_APPEND_TOGETHER, (text,))]

    def _position_of(self, row: Mapping[str, Any]) -> int | None:
        """Return the position of the last event of an `append_row`, None if it is not in the log."""
        last = row["first_version"] + len(row["hashes"]) - 1
        with self._database.connection() as connection:
            there = connection.execute(_POSITIONS_OF_HASHES, (UUID(row["session_id"]), last, last)).fetchone()
        return there["position"] if there and _written(there["hash"]) == row["hashes"][-1] else None

    def insert_events(
        self,
        stored_events: Sequence[StoredEvent],
        *,
        part: Part | None = None,
        hashes: Sequence[bytes] = (),
        beside: Mapping[str, Part] = MappingProxyType({}),
        **_: Any,
    ) -> Sequence[int]:
        """Append the events of one session by their `append_part`; return their positions.

        `beside` are parts of other rooms in the same statement, after the append: where that meets its own rows, they
        were written too. Raises what they refuse with, VersionConflict if another writer was first, and Unavailable if
        PostgreSQL does not answer, not even on another connection; then the events may have been written, and a repeat
        meets its own rows as a conflict.
        """
        if not stored_events:
            return []
        assert part is not None, "Events of a session are appended together with its status row."
        parts = {"position": part, **beside}
        try:
            return _insert(self._database.connection, len(stored_events), parts)
        except ConnectionLost:
            return self._insert_again(stored_events, hashes, parts)

    def _insert_again(
        self, stored_events: Sequence[StoredEvent], hashes: Sequence[bytes], parts: Mapping[str, Part]
    ) -> Sequence[int]:
        """Append after a connection was lost, perhaps with no more than the answer: then these events are there."""
        try:
            return _insert(self._database.fresh_connection, len(stored_events), parts)
        except VersionConflict:
            first, last = stored_events[0], stored_events[-1].originator_version
            span = (first.originator_id, first.originator_version, last)
            with self._database.connection() as connection:
                there = connection.execute(_POSITIONS_OF_HASHES, span).fetchall()
            if [row["hash"] for row in there] != list(hashes):
                raise
            return [row["position"] for row in there]

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        """Return the events of one session in the order of their versions."""
        statement, values = _SELECT, [originator_id]
        if gt is not None:
            statement, values = statement + " AND version > %s", [*values, gt]  # type: ignore[list-item]
        if lte is not None:
            statement, values = statement + " AND version <= %s", [*values, lte]  # type: ignore[list-item]
        statement += " ORDER BY version DESC" if desc else " ORDER BY version"
        if limit is not None:
            statement, values = statement + " LIMIT %s", [*values, limit]  # type: ignore[list-item]
        with self.datastore.get_connection() as connection:
            rows = connection.execute(statement.encode(), values, prepare=True).fetchall()
        return [
            StoredEvent(originator_id, row["version"], row["topic"], row["state"].encode()) for row in rows
        ]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events of all sessions in the order of their positions, below the horizon."""
        with self.datastore.get_connection() as connection:
            origin, horizon = read_horizon(connection)
            rows = connection.execute(
                _SELECT_NOTIFICATIONS,
                {
                    "origin": origin,
                    "horizon": horizon,
                    "start": start,
                    "stop": stop,
                    "inclusive": inclusive_of_start,
                    "topics": list(topics) or None,
                    "limit": limit,
                },
            ).fetchall()
        return [
            Notification(
                row["session_id"], row["version"], row["topic"], row["state"].encode(), row["position"]
            )
            for row in rows
        ]

    def max_notification_id(self) -> int | None:
        """Return the last position below the horizon, or None for an empty log."""
        with self.datastore.get_connection() as connection:
            row = connection.execute(_LAST_POSITION, read_horizon(connection)).fetchone()
        return row["position"] if row else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[Any]:  # noqa: ARG002
        """Refuse: NOTIFY would serialise every writer at its commit. Followers poll instead."""
        raise NotSupportedError("There is no subscription to this log; follow it with projections.follower.")


class version_conflicts:  # noqa: N801 - reads as the statement that it is
    """A context that raises VersionConflict where an append meets another writer's."""

    __slots__ = ()

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, psycopg.Error) and error.sqlstate == VERSION_CONFLICT:
            CONFLICTS.add("another_writer")
            raise VersionConflict(str(error)) from error


def rows_of_history(value: str | None) -> list[dict[str, Any]]:
    """Return the rows of a session's events, as `history` does, of the value of a `history_part`."""
    rows = []
    for each in msgspec.json.decode(value) if value else ():
        row = dict(zip(_NAMES_OF_HISTORY, each, strict=True))
        mac = row["mac"]
        rows.append(row | {"hash": bytes.fromhex(row["hash"]), "mac": mac and bytes.fromhex(mac)})
    return rows


def _insert(lend: Lend, count: int, parts: Mapping[str, Part]) -> Sequence[int]:
    with version_conflicts(), lend() as connection:
        last = int(run_parts(connection, parts)["position"])
    return range(last - count + 1, last + 1)


def _written(value: bytes) -> str:
    """Write bytes as PostgreSQL reads them from text."""
    return f"\\x{value.hex()}"


@cache
def _append(count: int) -> str:
    """Return the call for `count` events, each with placeholders of its own: psycopg writes lists slowly."""
    each = ", ".join(["%s"] * count)
    values = (
        "%s, %s",
        f"ARRAY[{each}]::text[], ARRAY[{each}]::text[], ARRAY[{each}]::text[]",
        f"ARRAY[{each}]::bytea[], %s, ARRAY[{each}]::bytea[], %s::jsonb",
    )
    return f"append_events({', '.join(values)})"
