"""A rebuild under way: how far it has got, which differing rows it has found, and what is kept of it afterwards."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import timedelta
from importlib.metadata import version as version_of
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.store.database import Database

MAX_KEYS = 20
"""Of so many differing rows the keys are kept."""

RESUMED_WITHIN = timedelta(hours=24)
"""A rebuild that was ended goes on where it was for so long; a later one begins anew."""

FIND = """
SELECT reached, events, wrong_rows, differing_keys FROM projection_rebuilds_under_way
WHERE name = %s AND projection_version = %s AND dry_run = %s AND started_at > %s
"""
BEGIN = """
INSERT INTO projection_rebuilds_under_way (name, projection_version, dry_run, started_at) VALUES (%s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET projection_version = excluded.projection_version, dry_run = excluded.dry_run,
    started_at = excluded.started_at, reached = '', events = 0, wrong_rows = 0, differing_keys = '{}'
"""
REACH = """
UPDATE projection_rebuilds_under_way SET reached = %s, events = %s, wrong_rows = %s, differing_keys = %s WHERE name = %s
"""
END = "DELETE FROM projection_rebuilds_under_way WHERE name = %s"
NOTE = """
INSERT INTO projection_rebuilds (name, version, rebuilt_at, projection_version, events, wrong_rows, differing_keys)
VALUES (%s, %s, %s, %s, %s, %s, %s)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, rebuilt_at = excluded.rebuilt_at,
    projection_version = excluded.projection_version, events = excluded.events, wrong_rows = excluded.wrong_rows,
    differing_keys = excluded.differing_keys
"""
ESTIMATE = (
    "SELECT greatest(reltuples, 0)::bigint AS events FROM pg_class WHERE oid = 'payment_events'::regclass"
)
VERSIONS = "SELECT name, projection_version FROM projection_rebuilds"


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found: how many events it read, how many live rows differed, and the keys of the first of them.

    `resumed` says that it went on where one before had been ended.
    """

    events: int
    wrong_rows: int
    differing_keys: tuple[str, ...] = ()
    resumed: bool = False


class Run:
    """One rebuild of the projection of a name, by a version of its code. One process at a time works on it.

    With `dry_run` it changes no live row and is not kept. `on_progress` is told, from 0 to 1, how much of the log was
    read, by PostgreSQL's estimate of its length.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        version: int,
        *,
        dry_run: bool = False,
        on_progress: Callable[[float], None] = lambda _: None,
    ) -> None:
        self.database = database
        self.name = name
        self.version = version
        self.dry_run = dry_run
        self._on_progress = on_progress
        self._found = Rebuilt(0, 0)
        self._estimate = 0

    def begin(self) -> str | None:
        """Return how far an earlier run had got that was ended, None to begin anew. Raises Unavailable."""
        asked = self.name, self.version, self.dry_run
        with self.database.connection() as connection:
            self._estimate = connection.execute(ESTIMATE).fetchone()["events"]  # type: ignore[index]  # there is one row
            row = connection.execute(FIND, (*asked, clock.now() - RESUMED_WITHIN)).fetchone()
            if row is None:
                connection.execute(BEGIN, (*asked, clock.now()))
                return None
        self._found = Rebuilt(row["events"], row["wrong_rows"], tuple(row["differing_keys"]), resumed=True)
        return str(row["reached"])

    def reach(self, reached: str, events: int, wrong_rows: int = 0, keys: Sequence[str] = ()) -> None:
        """Store how far it has got, with so many more events read and differing rows found. Raises Unavailable."""
        found = self._found
        kept = (*found.differing_keys, *keys)[:MAX_KEYS]
        self._found = Rebuilt(found.events + events, found.wrong_rows + wrong_rows, kept, found.resumed)
        values = reached, self._found.events, self._found.wrong_rows, list(kept), self.name
        with self.database.connection() as connection:
            connection.execute(REACH, values)
        if self._estimate:
            self._on_progress(min(self._found.events / self._estimate, 1.0))

    def end(self, connection: Connection[Any] | None = None) -> Rebuilt:
        """Keep and return what was found, in the transaction of a connection if one is given. Raises Unavailable."""
        found = self._found
        with nullcontext(connection) if connection else self.database.transaction() as writing:
            writing.execute(END, (self.name,))
            if not self.dry_run:
                counted = found.events, found.wrong_rows, list(found.differing_keys)
                writing.execute(NOTE, (self.name, version_of("daftari"), clock.now(), self.version, *counted))
        self._on_progress(1.0)
        return found


def built_versions(database: Database) -> dict[str, int]:
    """Return by which version of its code each projection was last rebuilt, by name; none where it never was."""
    with database.connection() as connection:
        return {row["name"]: row["projection_version"] for row in connection.execute(VERSIONS)}
