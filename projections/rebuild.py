"""Rebuild a projection in a shadow table beside the live one, compare, and take its place, unnoticed by readers."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from projections.follower import (
    BE_ACTIVE,
    STORE_POSITIONS,
    Follower,
    Place,
    Projection,
    position_of,
    read_end,
)

EMPTY = "DELETE FROM {table}"
FORGET_POSITION = "SELECT forget_position_of_rebuild(%s)"
COUNT_DIFFERENCES = """
SELECT count(*) AS keys FROM (
    SELECT DISTINCT {key}
    FROM ((TABLE {live} EXCEPT TABLE {shadow}) UNION ALL (TABLE {shadow} EXCEPT TABLE {live})) AS different
) AS differing
"""
TAKE_OVER = "INSERT INTO {live} SELECT * FROM {shadow} ORDER BY {key}"
NOTE_REBUILD = """
INSERT INTO projection_rebuilds (name, version, rebuilt_at) VALUES (%s, %s, %s)
ON CONFLICT (name) DO UPDATE SET version = excluded.version, rebuilt_at = excluded.rebuilt_at
"""

BATCH_SIZE = 5_000


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What a rebuild found: how many events it read, and how many of the live rows had been wrong."""

    events: int
    wrong_rows: int


def rebuild_table(
    database: Database,
    macs: EventMacs,
    make: Callable[[str], Projection],
    *,
    table: str,
    key: str,
    batch_size: int = BATCH_SIZE,
    finish: Callable[[Connection[Any], str], None] = lambda _connection, _shadow: None,
) -> Rebuilt:
    """Fold the log into the shadow table `…_rebuilt`, compare it with `table` by `key`, and replace that in one commit.

    `make` returns the projection that writes a table, whose name is the table's. Readers see the old rows or the new
    ones. Rows are replaced and the table is not renamed: a rename waits for every reader and holds up those behind
    it, and the application's role may not do it. `finish` completes the shadow table once it has followed the log as
    far as the live one. That one is not moved on: a forged row in it may be what stopped its follower.
    """
    live, shadow = table, f"{table}_rebuilt"
    rebuilt = Follower(database, macs, make(shadow), batch_size)
    with database.transaction() as connection:
        connection.execute(BE_ACTIVE, (shadow,))
        connection.execute(EMPTY.format(table=shadow))
        connection.execute(FORGET_POSITION, (shadow,))
        followed = _followed(connection, live)
    events = 0
    while read := _advance(database, rebuilt, followed):
        events += read
    with database.transaction() as connection:
        for name in (live, shadow):
            connection.execute(BE_ACTIVE, (name,))
        while read := rebuilt.advance(connection, _followed(connection, live)):
            events += read
        finish(connection, shadow)
        tables = {"live": live, "shadow": shadow}
        differing = connection.execute(COUNT_DIFFERENCES.format(key=key, **tables)).fetchone()["keys"]
        end = read_end(connection)
        while read := rebuilt.advance(connection, end):
            events += read
        connection.execute(EMPTY.format(table=live))
        connection.execute(TAKE_OVER.format(key=key, **tables))
        reached = position_of(connection, shadow, end.origin)
        connection.execute(STORE_POSITIONS, (end.origin, [live], [reached]))
        connection.execute(NOTE_REBUILD, (live, version("daftari"), clock.now()))
    return Rebuilt(events, differing)


def _followed(connection: Connection[Any], name: str) -> Place:
    """Return the place up to which a follower has read the log, which is never beyond what may be read."""
    end = read_end(connection)
    return end._replace(position=min(position_of(connection, name, end.origin), end.position))


def _advance(database: Database, follower: Follower, end: Place) -> int:
    with database.transaction() as connection:
        connection.execute(BE_ACTIVE, (follower.projection.name,))
        return follower.advance(connection, end)
