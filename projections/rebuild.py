"""Rebuild a table whose rows many sessions move: fold the log into a shadow table, compare, replace what differs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from psycopg import Connection

from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from projections.follower import BE_ACTIVE, Follower, Place, Projection, read_end
from projections.rebuild_runs import MAX_KEYS, Rebuilt, Run

BATCH_SIZE = 500
"""As of a follower, which takes ten times as many when it is far behind: what a commit writes holds the log back."""

MAX_DELETED = 20_000
"""Rows of a shadow table that one commit deletes: a long one would hold the followers back."""

CLEAR = "DELETE FROM {shadow} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {shadow} LIMIT {limit}))"
FORGET_POSITION = "SELECT forget_position_of_rebuild(%s)"
REACHED = "SELECT origin, position FROM follower_positions WHERE name = %s ORDER BY origin"
DIFFERING = """
WITH differing AS MATERIALIZED (
    SELECT DISTINCT {key} AS key
    FROM ((TABLE {live} EXCEPT TABLE {shadow}) UNION ALL (TABLE {shadow} EXCEPT TABLE {live})) AS different
)
SELECT count(*) AS rows, min(key) AS first,
       ARRAY(SELECT key::text FROM differing ORDER BY key LIMIT {limit}) AS keys FROM differing
"""
# All from the first that differs on: entries of the journal are numbered in a row, and only added at the end.
REMOVE = "DELETE FROM {live} WHERE {key} >= %(first)s"
PUT = "INSERT INTO {live} SELECT * FROM {shadow} WHERE {key} >= %(first)s ORDER BY {key}"
WITHOUT_LIMITS = """
SELECT set_config(name, '0', true)
FROM (VALUES ('statement_timeout'), ('idle_in_transaction_session_timeout')) AS unlimited (name)
"""


def rebuild_table(
    run: Run,
    macs: EventMacs,
    make: Callable[[str], Projection],
    *,
    key: str,
    batch_size: int = BATCH_SIZE,
    finish: Callable[[Connection[Any], str], None] = lambda _connection, _shadow: None,
    differs_otherwise: Callable[[Connection[Any]], bool] = lambda _connection: False,
) -> Rebuilt:
    """Fold the log into the shadow table `…_rebuilt`, compare it by `key`, and replace the rows that differ.

    `make` returns the projection that writes a table, whose name is the table's. The shadow follows the log as far as
    the live table has, and `finish` completes it there. They are compared in a snapshot, which holds nobody up. From
    the first row on that differs they are replaced in one commit: readers see the old ones or the new ones, and the
    follower of the table waits. `differs_otherwise` says, in that snapshot, that the commit is needed though no row
    differs. Raises Unavailable.
    """
    live, shadow = run.name, f"{run.name}_rebuilt"
    names = {"live": live, "shadow": shadow, "key": key, "limit": MAX_KEYS}
    follower = Follower(run.database, macs, make(shadow), batch_size)
    if run.begin() is None:
        _clear(run.database, shadow)
    _follow(run, follower)
    with _at_one_place(run, follower, finish) as connection:
        found: dict[str, Any] = connection.execute(DIFFERING.format(**names).encode()).fetchone()  # type: ignore[assignment]
        is_needed = bool(found["rows"]) or differs_otherwise(connection)
    run.reach("", 0, found["rows"], found["keys"])
    if is_needed and not run.dry_run:
        with run.database.transaction() as connection:
            for name in (live, shadow):
                connection.execute(BE_ACTIVE, (name,))
            connection.execute(WITHOUT_LIMITS)
            for place in _places(connection, live):
                while follower.advance(connection, place):
                    pass
            finish(connection, shadow)
            connection.execute(REMOVE.format(**names), found)
            connection.execute(PUT.format(**names), found)
            rebuilt = run.end(connection)
    else:
        rebuilt = run.end()
    _clear(run.database, shadow)
    return rebuilt


def _clear(database: Database, shadow: str) -> None:
    statement = CLEAR.format(shadow=shadow, limit=MAX_DELETED)
    with database.connection() as connection:
        while connection.execute(statement).rowcount == MAX_DELETED:
            pass
        connection.execute(FORGET_POSITION, (shadow,))


def _follow(run: Run, follower: Follower) -> None:
    """Apply events to the shadow table until it has followed the log as far as the live one."""
    with run.database.connection() as connection:
        places = _places(connection, run.name)
    for place in places:
        read = -1
        while read:
            with run.database.transaction() as connection:
                connection.execute(BE_ACTIVE, (follower.projection.name,))
                read = follower.advance(connection, place)
            run.reach("", read)


def _places(connection: Connection[Any], name: str) -> list[Place]:
    """Return up to where a follower has read the log of each origin, which is never beyond what may be read."""
    end = read_end(connection)
    reached = {row["origin"]: row["position"] for row in connection.execute(REACHED, (name,))}
    return [
        end._replace(
            origin=origin, position=min(position, end.position) if origin == end.origin else position
        )
        for origin, position in reached.items()
    ]


@contextmanager
def _at_one_place(
    run: Run, follower: Follower, finish: Callable[[Connection[Any], str], None]
) -> Iterator[Connection[Any]]:
    """Yield a snapshot in which shadow and live table have followed the log equally far.

    The live follower waits while the shadow reads what is left, and no longer.
    """
    with run.database.snapshot() as snapshot:
        with run.database.transaction() as holding:
            holding.execute(BE_ACTIVE, (run.name,))
            _follow(run, follower)
            with run.database.transaction() as connection:
                connection.execute(BE_ACTIVE, (follower.projection.name,))
                finish(connection, follower.projection.name)
            snapshot.execute("SELECT")
        yield snapshot
