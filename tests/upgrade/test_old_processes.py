"""Processes of release 0.1 beside a migrated database, and of today beside one that is not: refused in words."""

import base64
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic, sleep
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection

from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing
from ledger.store.migrate import migrate, migrations
from tests.support.checkouts import new_session
from tests.support.database import new_database
from tests.upgrade.release import MASTER_KEY, load

KEY = base64.b64decode(MASTER_KEY)
RESTART = "57DF1"
FORMAT_2 = next(step.sql for step in migrations() if step.name.startswith("0010_events"))
OLD_APPEND = """
SELECT append_events(%s, %s, ARRAY[%s]::text[], ARRAY[%s]::jsonb[], ARRAY[%b]::bytea[], %s::jsonb) AS position
"""
OF_PROCESSES_BEFORE = {
    "an append with one text of metadata": """
        SELECT append_events(%s, 1, ARRAY[%s]::text[], ARRAY[%s]::text[], %s, ARRAY[%b]::bytea[], 0, ARRAY[%b]::bytea[],
                             %s::jsonb)
    """,
    "a phone lock that draws the id of its transaction": """
        SELECT transaction_id FROM acquire_phone_lock(1, 'digest', %s, now(), now(), 1, 1, 1, ARRAY[]::interval[])
    """,
    "an order that is counted": """
        INSERT INTO shop_order_counters AS counter (day, last_number) VALUES ('2026-11-27', 1)
        ON CONFLICT (day) DO UPDATE SET last_number = counter.last_number + 1 RETURNING last_number
    """,
}
"""What processes sent before a command was one statement, by what it did."""
LAST = "SELECT max(position) FROM payment_events"
START = "SELECT last_position, mac IS NOT NULL FROM event_mac_starts"
COUNT = "SELECT count(*) FROM payment_events"
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"


@pytest.fixture
def old_url(server_url: str) -> Iterator[str]:
    """The URL of a database as release 0.1 left it."""
    with new_database(server_url) as url:
        load(url)
        yield url


def append_as_before(connection: Connection[Any]) -> None:
    """Append a forged first event as release 0.1 calls the function."""
    values = (uuid4(), 1, "payment_session.created.v1", "{}", bytes(32), "{}")
    connection.execute(OLD_APPEND, values)


def test_an_old_process_gets_what_it_takes_for_an_outage(old_url: str) -> None:
    with psycopg.connect(old_url, autocommit=True) as old:
        migrate(old_url)
        for _ in range(3):  # The third is a prepared statement.
            with pytest.raises(psycopg.OperationalError, match="restart this process") as refusal:
                append_as_before(old)
            assert refusal.value.sqlstate == RESTART


@pytest.mark.parametrize("what", OF_PROCESSES_BEFORE)
def test_an_old_process_takes_each_of_its_writes_for_an_outage(database: Database, what: str) -> None:
    values = (uuid4(), "payment_session.created.v1", "{}", "{}", bytes(32), bytes(32), "{}")
    statement = OF_PROCESSES_BEFORE[what]
    count = statement.count("%s") + statement.count("%b")
    with pytest.raises(Unavailable), database.connection() as connection:
        connection.execute(statement.encode(), values[:count])


def test_an_append_that_waited_for_the_migration_writes_no_event_without_a_mac(old_url: str) -> None:
    with (
        psycopg.connect(old_url, autocommit=True) as old,
        psycopg.connect(old_url, autocommit=True) as watch,
        ThreadPoolExecutor(1) as threads,
    ):
        before = watch.execute(COUNT).fetchone()
        with psycopg.connect(old_url) as migrating:
            migrating.execute("LOCK TABLE payment_events IN ACCESS EXCLUSIVE MODE")
            waiting = threads.submit(append_as_before, old)
            until = monotonic() + 10
            while watch.execute(WAITS, (old.info.backend_pid,)).fetchone() != (1,):
                assert monotonic() < until
                sleep(0.01)
            migrating.execute(FORMAT_2.encode())
        with pytest.raises(psycopg.OperationalError, match="restart this process"):
            waiting.result(timeout=10)
        assert watch.execute(COUNT).fetchone() == before


def test_the_last_event_without_a_mac_is_the_last_before_the_migration_and_is_signed_once(
    old_url: str,
) -> None:
    with psycopg.connect(old_url, autocommit=True) as connection:
        [last] = connection.execute(LAST).fetchone() or (None,)
        migrate(old_url)
        assert connection.execute(START).fetchone() == (last, False)
        database = Database(old_url)
        macs = EventMacs(database, KeyRing(database, KEY))
        assert macs.last_without_mac() == {1: last}
        database.close()
        assert connection.execute(START).fetchone() == (last, True)


def test_a_new_process_beside_an_old_database_is_told_to_migrate_it(old_url: str) -> None:
    database = Database(old_url)
    ledger = Ledger(database, KeyRing(database, KEY))
    for act in (lambda: ledger.add(new_session()), lambda: ledger.session(uuid4())):
        with pytest.raises(Unavailable, match="daftari migrate"):
            act()
    database.close()
