"""What a process does when PostgreSQL goes away under it."""

import psycopg
import pytest

from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.store.database import Database
from tests.support.checkouts import Checkout
from tests.support.keys import key_ring
from tests.support.waiting import wait_until

KILL = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""


def kill_connections(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as operator:
        operator.execute(KILL)


def answers(database: Database) -> bool:
    try:
        with database.connection() as connection:
            return connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    except Unavailable:
        return False


def test_every_pool_works_again_after_its_connections_were_killed(database_url: str) -> None:
    databases = [Database(database_url), Database(database_url)]
    sessions = [Checkout(Ledger(database, key_ring(database))) for database in databases]
    kill_connections(database_url)
    for database, checkout in zip(databases, sessions, strict=True):
        wait_until(lambda database=database: answers(database), "the pool is whole again")  # type: ignore[misc]
        checkout.prompt()
        assert checkout.session.version == 3
        database.close()


def test_a_transaction_whose_connection_dies_is_unavailable_and_writes_nothing(
    ledger: Ledger, database: Database
) -> None:
    def interrupted() -> None:
        with database.transaction() as connection:
            connection.execute("DELETE FROM attempt_checks")
            kill_connections(database.url)
            connection.execute("SELECT 1")

    with pytest.raises(Unavailable):
        interrupted()
    wait_until(lambda: answers(database), "the pool is whole again")
    assert Checkout(ledger).session.version == 1


def test_a_database_that_is_not_there_is_unavailable() -> None:
    database = Database("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable), database.connection():
        pass
    database.close()
