"""Connections of a pool are lent last used first, and nobody waits while one is idle."""

from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import psycopg
import pytest
from psycopg_pool import PoolClosed

from ledger.store import lending
from ledger.store.connection import Connection
from ledger.store.database import Database
from tests.support.waiting import wait_until

SIZE = 3


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database of which all connections are open, and idle."""
    with closing(Database(database_url, max_connections=SIZE)) as opened:
        give_back(opened, *take_all(opened))
        yield opened


def take_all(database: Database) -> list[Connection]:
    return [database.take() for _ in range(SIZE)]


def give_back(database: Database, *connections: Connection) -> None:
    for connection in connections:
        database.give_back(connection, None)


def pid_of_the_next(database: Database) -> int:
    """Return the server process of the connection that is lent next."""
    with database.connection() as connection:
        return connection.info.backend_pid


def test_the_first_who_asks_opens_one_connection_and_no_second(database_url: str) -> None:
    with closing(Database(database_url)) as database:
        pids = {pid_of_the_next(database) for _ in range(3)}
        assert len(pids) == 1
        assert database.pool.get_stats()["pool_size"] == 1


def test_the_connection_that_came_back_last_is_lent_first(database: Database) -> None:
    first, second = database.take(), database.take()
    give_back(database, first, second)
    assert pid_of_the_next(database) == pid_of_the_next(database) == second.info.backend_pid
    assert database.take() is second
    assert database.take() is first
    give_back(database, first, second)


def test_who_waits_gets_what_comes_back(database: Database) -> None:
    lent = take_all(database)
    waiting = [Thread(target=pid_of_the_next, args=(database,)) for _ in range(4)]
    for thread in waiting:
        thread.start()
    wait_until(lambda: database.pool.get_stats()["requests_waiting"] == 4, "all wait for the pool")
    give_back(database, lent[0])
    for thread in waiting:
        thread.join(20)
        assert not thread.is_alive()
    give_back(database, *lent[1:])


def test_many_threads_share_few_connections(database: Database) -> None:
    found: list[int] = []

    def ask() -> None:
        for _ in range(50):
            with database.connection() as connection:
                found.extend(row["pid"] for row in connection.execute("SELECT pg_backend_pid() AS pid"))

    threads = [Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(found) == 400
    assert len(set(found)) <= SIZE


def test_drained_connections_are_replaced_idle_and_lent(database: Database) -> None:
    lent, *idle = take_all(database)
    before = {each.info.backend_pid for each in (lent, *idle)}
    give_back(database, *idle)
    database.drain()
    give_back(database, lent)
    after = take_all(database)
    assert before.isdisjoint(each.info.backend_pid for each in after)
    give_back(database, *after)


@pytest.mark.parametrize("is_lent", [True, False])
def test_what_is_taken_from_the_pool_while_it_is_drained_is_replaced(
    database: Database, monkeypatch: pytest.MonkeyPatch, is_lent: bool
) -> None:
    lent = take_all(database)
    database.pool.putconn(lent.pop())
    drain, taken, before = database.pool.drain, list[Connection](), list[int]()

    def take_and_drain() -> None:
        taken.append(database.take())
        before.append(taken[0].info.backend_pid)
        if not is_lent:
            give_back(database, *taken)
        drain()

    monkeypatch.setattr(database.pool, "drain", take_and_drain)
    database.drain()
    if is_lent:
        give_back(database, *taken)
    give_back(database, *lent)
    after = take_all(database)
    assert before[0] not in {each.info.backend_pid for each in after}
    give_back(database, *after)


def test_what_nobody_needs_goes_back_to_the_pool(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert database.pool.get_stats()["pool_available"] == 0
    monkeypatch.setattr(lending, "KEPT_SECONDS", 0.0)
    for available in (2, 3):  # The one that came back, and the one that has lain idle for longest.
        give_back(database, database.take())
        assert database.pool.get_stats()["pool_available"] == available


def test_a_connection_in_a_transaction_is_left_to_the_pool_which_ends_it(database: Database) -> None:
    connection = database.take()
    connection.execute("BEGIN", prepare=False)
    give_back(database, connection)
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert database.pool.get_stats()["pool_available"] == 1


def test_a_closed_database_keeps_no_connection(database: Database) -> None:
    lent, *idle = take_all(database)
    give_back(database, *idle)
    database.close()
    assert all(each.closed for each in idle)
    give_back(database, lent)
    assert lent.closed
    with pytest.raises(PoolClosed):
        database.take()
