"""A server that hangs keeps nobody waiting, and is used again once it answers."""

from collections.abc import Iterator
from contextlib import closing
from functools import partial
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from ledger.errors import DatabaseUnavailable
from ledger.store import silence
from ledger.store.database import Database
from ledger.store.silence import SilenceWatch
from tests.support.ports import LOCALHOST
from tests.support.proxy import DatabaseProxy
from tests.support.waiting import wait_until

ENOUGH_SECONDS = 30


@pytest.fixture
def proxy(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[DatabaseProxy]:
    monkeypatch.setattr(silence, "PROBE_SECONDS", 2)  # libpq takes no less.
    monkeypatch.setattr(silence, "LENT_FOR_LONG_SECONDS", 0.5)
    monkeypatch.setattr(silence, "LOOK_EVERY_SECONDS", 0.1)
    with closing(DatabaseProxy(database_url)) as between:
        yield between


def test_who_waits_for_a_server_that_hangs_is_let_go(proxy: DatabaseProxy) -> None:
    with closing(Database(proxy.url, max_connections=4)) as database:
        errors: list[Exception] = []

        def ask() -> None:
            try:
                with database.connection() as connection:
                    connection.execute("SELECT pg_sleep(0)", prepare=True)
            except Exception as error:  # noqa: BLE001 - it is what is looked at
                errors.append(error)

        ask()
        assert errors == []
        proxy.freeze()
        waiting = [Thread(target=ask, daemon=True) for _ in range(3)]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join(ENOUGH_SECONDS)
        assert [type(error) for error in errors if not isinstance(error, DatabaseUnavailable)] == []
        assert len(errors) == len(waiting)
        with pytest.raises(DatabaseUnavailable), database.connection():
            pass
        proxy.restore()
        wait_until(lambda: answers(database), "the database is used again", ENOUGH_SECONDS)


def answers(database: Database) -> bool:
    try:
        with database.connection() as connection:
            return connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
    except DatabaseUnavailable:
        return False


def test_a_slow_statement_of_a_server_that_answers_is_left_alone(database_url: str) -> None:
    connected = Event()

    def connect(**options: Any) -> psycopg.Connection[Any]:
        connected.set()
        return psycopg.connect(database_url, **options)

    watch = SilenceWatch(connect)
    with closing(psycopg.connect(database_url)) as connection, watch.watching(connection):
        watch._lent[connection] -= 60
        watch.look()
        assert connected.is_set()
        assert not watch.is_silent
        assert connection.execute("SELECT 1").fetchone() == (1,)
    watch.stop()


def test_a_server_that_hangs_is_left_for_another_of_the_database(
    proxy: DatabaseProxy, database_url: str
) -> None:
    with closing(DatabaseProxy(database_url)) as other:
        url = make_conninfo(proxy.url, host=f"{LOCALHOST},{LOCALHOST}", port=f"{proxy.port},{other.port}")
        watch = SilenceWatch(partial(psycopg.connect, url))
        with closing(psycopg.connect(proxy.url)) as connection, watch.watching(connection):
            watch.stop()  # It looks when it is told to, here.
            proxy.freeze()
            watch._lent[connection] -= 60
            watch.look()
            assert watch.is_silent
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
            watch.look()
            assert not watch.is_silent


def test_a_server_that_lets_nobody_in_answers(database_url: str) -> None:
    watch = SilenceWatch(partial(psycopg.connect, database_url, user="nobody_of_this_name"))
    watch.is_silent = True
    watch.look()
    assert not watch.is_silent
