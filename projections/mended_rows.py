"""How a rebuild mends `payment_sessions`, whose rows move in the append, and their copies in `payment_search`."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any
from uuid import UUID

import msgspec
import structlog
from psycopg import Connection

from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from projections.follower import BE_ACTIVE, event_of, position_of, read_end
from projections.payment_search import SEARCHED
from projections.payment_search import TABLE as SEARCH
from projections.session_walk import IN_ONE_SNAPSHOT, Compared

SEARCH_VERSION = 1
"""Of what `payment_search` copies: with another one, the worker rebuilds it."""

MAX_TRIES = 5
"""So often the row of a session is read again that moved while it was mended."""

BETWEEN, AMONG = "session_id BETWEEN %(first)s AND %(last)s", "session_id = ANY(%(session_ids)s)"
EVENTS = f"""
SELECT session_id, version, topic, state::text AS state, {COLUMNS} FROM payment_events WHERE {{which}}
ORDER BY session_id, version
"""  # noqa: S608 - made of names of our own
ROWS = "SELECT * FROM payment_sessions WHERE {which}"
MEND = "SELECT mend_session_rows(%s, %s, %s) AS session_id"

_SEARCHED = ", ".join(SEARCHED)
# What an event changes that the follower has not read yet is as it was, and no difference.
UNLIKE_SESSIONS = f"""
SELECT session_id FROM (SELECT {_SEARCHED} FROM {SEARCH} WHERE {BETWEEN}) AS known
FULL JOIN (SELECT {_SEARCHED} FROM payment_sessions WHERE {BETWEEN}) AS session USING (session_id)
WHERE ROW(known.*) IS DISTINCT FROM ROW(session.*)
  AND ((known.created_at, known.total_cents) <> (session.created_at, session.total_cents) OR NOT EXISTS (
    SELECT FROM payment_events AS event
    WHERE event.session_id = coalesce(known.session_id, session.session_id)
      AND event.origin = %(origin)s AND event.position > %(position)s))
"""  # noqa: S608 - as above
COUNT_EVENTS = f"SELECT count(*) AS events FROM payment_events WHERE {BETWEEN}"  # noqa: S608 - as above
REMOVE_SEARCHED = f"DELETE FROM {SEARCH} WHERE {AMONG}"  # noqa: S608 - as above
COPY_SEARCHED = f"""
INSERT INTO {SEARCH} ({_SEARCHED}) SELECT {_SEARCHED} FROM payment_sessions WHERE {AMONG} ORDER BY session_id
"""  # noqa: S608 - as above

_BY_SESSION = itemgetter("session_id")
_log = structlog.get_logger(__name__)

Row = dict[str, Any]


class MendedSessions:
    """Rows of `payment_sessions`, each of which is `status_row` of the session that its genuine events come to.

    An event without our MAC counts for nothing, nor does what follows it: no command of ours goes on after it.
    """

    def __init__(self, macs: EventMacs) -> None:
        self._macs = macs

    def compare(self, connection: Connection[Any], first: UUID, last: UUID) -> Compared:
        """Compare the rows of the sessions from one id to another with a fold of their events."""
        found = Compared(0)
        for session_id, _, made, held in self._rows(
            connection, BETWEEN, {"first": first, "last": last}, found
        ):
            if made != held:
                found.differing[session_id] = [str(session_id)]
        return found

    def mend(self, database: Database, session_ids: Sequence[UUID]) -> None:
        """Replace the rows that differ. An append that comes between moves its row itself, which is then read again."""
        left = list(session_ids)
        for _ in range(MAX_TRIES):
            with database.transaction() as connection:
                connection.execute(IN_ONE_SNAPSHOT)
                rows = self._rows(connection, AMONG, {"session_ids": left}, Compared(0))
                wrong = [
                    (session_id, version, made and msgspec.json.encode(made).decode())
                    for session_id, version, made, held in rows
                    if made != held
                ]
            if not wrong:
                return
            with database.connection() as connection:
                columns = [list(column) for column in zip(*wrong, strict=True)]
                mended = {row["session_id"] for row in connection.execute(MEND, columns)}
            left = [session_id for session_id, _, _ in wrong if session_id not in mended]
        if left:
            _log.error("session_rows_not_mended", sessions=len(left))

    def _rows(
        self, connection: Connection[Any], which: str, values: dict[str, Any], found: Compared
    ) -> Iterator[tuple[UUID, int, Row | None, Row | None]]:
        """Yield each session with the last version in the log, its row by its genuine events, and its stored row."""
        events = connection.execute(EVENTS.format(which=which).encode(), values, binary=True).fetchall()
        found.events = len(events)
        stored = connection.execute(ROWS.format(which=which).encode(), values, binary=True)
        held = {row["session_id"]: row for row in stored}
        for session_id, group in groupby(events, key=_BY_SESSION):
            of_session = list(group)
            yield session_id, of_session[-1]["version"], self._folded(of_session), held.pop(session_id, None)
        for session_id, row in held.items():
            yield session_id, 0, None, row

    def _folded(self, events: list[Row]) -> Row | None:
        session: PaymentSession | None = None
        for row in events:
            if not self._macs.is_genuine(row):
                _log.error("event_forged", session_id=str(row["session_id"]), version=row["version"])
                break
            session = event_of(row).mutate(session)
        return None if session is None else status_row(session)


class MendedSearch:
    """Rows of `payment_search`, which copy those of `payment_sessions`."""

    def compare(self, connection: Connection[Any], first: UUID, last: UUID) -> Compared:
        """Compare the rows of the sessions from one id to another with those of `payment_sessions`."""
        origin = read_end(connection).origin
        position = position_of(connection, SEARCH, origin)
        values = {"first": first, "last": last, "origin": origin, "position": position}
        counted = connection.execute(COUNT_EVENTS, values).fetchone()
        assert counted is not None
        found = Compared(counted["events"])
        for row in connection.execute(UNLIKE_SESSIONS, values, binary=True):
            found.differing[row["session_id"]] = [str(row["session_id"])]
        return found

    def mend(self, database: Database, session_ids: Sequence[UUID]) -> None:
        """Copy the rows of these sessions anew."""
        values = {"session_ids": list(session_ids)}
        with database.transaction() as connection:
            connection.execute(BE_ACTIVE, (SEARCH,))
            connection.execute(REMOVE_SEARCHED, values)
            connection.execute(COPY_SEARCHED, values)
