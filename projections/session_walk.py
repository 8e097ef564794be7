"""Rebuild a table whose rows each follow from one session: walk through the sessions, and mend the rows that differ."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from psycopg import Connection

from ledger.store.database import Database
from projections.rebuild_runs import Rebuilt, Run

SESSIONS_AT_ONCE = 2_000
MENDED_AT_ONCE = 25
"""So few that who waits for one of them waits for milliseconds."""

FIRST, LAST = UUID(int=0), UUID(int=2**128 - 1)

IN_ONE_SNAPSHOT = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"
END_OF_SPAN = """
SELECT session_id FROM payment_events WHERE version = 1 AND session_id >= %s ORDER BY session_id OFFSET %s LIMIT 1
"""


@dataclass(slots=True)
class Compared:
    """What a look at some sessions found: how many events they have, and the keys of rows that differ, by session."""

    events: int
    differing: dict[UUID, list[str]] = field(default_factory=dict)


class WalkedTable(Protocol):
    """A table with rows that each follow from one session."""

    def compare(self, connection: Connection[Any], first: UUID, last: UUID) -> Compared:
        """Compare, in one snapshot, the rows of the sessions from one id to another with what they should be."""

    def mend(self, database: Database, session_ids: Sequence[UUID]) -> None:
        """Put right what is still wrong with the rows of these sessions, in one short commit. Raises Unavailable."""


def walk(run: Run, table: WalkedTable, sessions_at_once: int = SESSIONS_AT_ONCE) -> Rebuilt:
    """Walk through all sessions in the order of their ids, some at once, and mend the rows that differ.

    Rows of sessions that the log does not know differ too. Raises Unavailable.
    """
    first: UUID | None = UUID(run.begin() or str(FIRST))
    while first is not None:
        with run.database.transaction() as connection:
            connection.execute(IN_ONE_SNAPSHOT)
            row = connection.execute(END_OF_SPAN, (first, sessions_at_once - 1)).fetchone()
            last = row["session_id"] if row else LAST
            found = table.compare(connection, first, last)
        if not run.dry_run:
            differing = list(found.differing)
            for begin in range(0, len(differing), MENDED_AT_ONCE):
                table.mend(run.database, differing[begin : begin + MENDED_AT_ONCE])
        keys = [key for of_session in found.differing.values() for key in of_session]
        first = UUID(int=last.int + 1) if last != LAST else None
        run.reach(str(first or LAST), found.events, len(keys), keys)
    return run.end()
