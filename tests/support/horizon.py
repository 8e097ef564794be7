"""Transactions in any database of the server hold followers back, even those of parallel tests."""

from ledger.store.database import Database
from ledger.store.positions import read_horizon
from tests.support.waiting import wait_until

NEWEST = "SELECT coalesce(max(position), 0) AS position FROM payment_events WHERE origin = %s"


def until_readable(database: Database) -> None:
    """Wait until a follower may read every event that is committed now."""
    wait_until(lambda: is_readable(database), "the transactions of other tests have ended", within_seconds=60)


def is_readable(database: Database) -> bool:
    """Say whether the whole log lies below the horizon."""
    with database.connection() as connection:
        origin, horizon = read_horizon(connection)
        newest = connection.execute(NEWEST, (origin,)).fetchone()
    assert newest is not None
    return bool(newest["position"] < horizon)
