"""Followers that write down what they are given, to be compared with the log."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.store.database import Database
from projections.follower import Recorded

MAKE_TABLE = """
CREATE TABLE seen (
    place bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, session_id uuid, version integer, position bigint
)
"""
OPEN_TO_ALL = "GRANT ALL ON seen TO PUBLIC"
SEE = """
INSERT INTO seen (name, session_id, version, position)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::integer[], %s::bigint[])
"""
SEEN = "SELECT session_id, version FROM seen WHERE name = %s ORDER BY place"
LOG = "SELECT session_id, version FROM payment_events"


class Notebook:
    """A projection that lists events in the order in which they came."""

    def __init__(self, name: str = "notebook", topics: Sequence[str] = ()) -> None:
        self.name = name
        self.topics = topics

    @classmethod
    def opened(cls, database: Database, name: str = "notebook", topics: Sequence[str] = ()) -> "Notebook":
        """Return a notebook whose table is there."""
        with database.transaction() as connection:
            connection.execute("SET LOCAL ROLE NONE")
            connection.execute(MAKE_TABLE)
            connection.execute(OPEN_TO_ALL)
        return cls(name, topics)

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        columns = [(self.name, event.session_id, event.version, event.position) for event in batch]
        connection.execute(SEE, [list(column) for column in zip(*columns, strict=True)])

    def seen(self, database: Database) -> list[tuple[UUID, int]]:
        """Return (session, version) of what was seen, in order."""
        with database.connection() as connection:
            rows = connection.execute(SEEN, (self.name,)).fetchall()
        return [(row["session_id"], row["version"]) for row in rows]


class Clumsy(Notebook):
    """Writes its notes, and then fails where it should."""

    falls = True

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        super().apply(connection, batch)
        if self.falls:
            raise ArithmeticError


def log_of(database: Database) -> set[tuple[UUID, int]]:
    """Return (session, version) of every committed event."""
    with database.connection() as connection:
        return {(row["session_id"], row["version"]) for row in connection.execute(LOG)}
