from collections.abc import Callable, Iterator

import psycopg
import pytest
from freezegun import freeze_time

from ledger.store.locks import ASK_AGAIN_SECONDS, ActiveLock, LockConnection
from tests.support.proxy import proxy_before

LOCKS_HELD = (
    "SELECT count(*), count(DISTINCT pid) FROM pg_locks WHERE locktype = 'advisory' AND database = "
    + ("(SELECT oid FROM pg_database WHERE datname = current_database())")
)
END_THEM = (
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'daftari locks'"
)


@pytest.fixture
def operator(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def test_a_lock_whose_connection_died_is_another_ones(
    database_url: str, operator: psycopg.Connection
) -> None:
    first, second = (ActiveLock(LockConnection(database_url), "sweep") for _ in range(2))
    assert first.try_acquire()
    assert not second.try_acquire()
    second.release()
    operator.execute(END_THEM + " AND datname = current_database()")
    assert not first.held()
    assert second.try_acquire()
    assert not first.try_acquire()
    first.release()
    second.release()


def test_with_their_connection_all_its_locks_are_lost_and_can_be_taken_again(
    database_url: str, operator: psycopg.Connection
) -> None:
    ours = LockConnection(database_url)
    sweep, poller = ActiveLock(ours, "sweep"), ActiveLock(ours, "poller")
    assert sweep.try_acquire()
    assert poller.try_acquire()
    operator.execute(END_THEM + " AND datname = current_database()")
    assert sweep.try_acquire()
    assert not poller.held()
    assert poller.try_acquire()
    assert operator.execute(LOCKS_HELD).fetchone() == (2, 1)
    sweep.release()
    poller.release()


def test_locks_of_one_worker_share_a_connection_that_ends_with_the_last(
    database_url: str, operator: psycopg.Connection
) -> None:
    ours, others = LockConnection(database_url), LockConnection(database_url)
    sweep, poller = ActiveLock(ours, "sweep"), ActiveLock(ours, "poller")
    assert sweep.try_acquire()
    assert poller.try_acquire()
    assert sweep.try_acquire()
    assert operator.execute(LOCKS_HELD).fetchone() == (2, 1)
    sweep.release()
    assert not sweep.was_held
    next_one = ActiveLock(others, "sweep")
    assert next_one.try_acquire()
    assert not ActiveLock(others, "poller").try_acquire()
    poller.release()
    next_one.release()
    assert operator.execute(LOCKS_HELD).fetchone() == (0, 0)


def _far_below_pytest(ask: Callable[[], bool], calls: int = 5) -> bool:
    """Ask where freezegun sees no frame of pytest's: it gives those the real time, and whoever they call."""
    return ask() if not calls else _far_below_pytest(ask, calls - 1)


def test_a_connection_that_stops_answering_is_asked_after_a_while_and_loses_its_locks(
    database_url: str,
) -> None:
    with freeze_time("2026-11-16T07:30:00Z") as clock, proxy_before(database_url) as between:
        lock = ActiveLock(LockConnection(between.url), "sweep")
        assert _far_below_pytest(lock.try_acquire)
        between.break_at(1, answer_is_lost=False)
        assert _far_below_pytest(lock.held)
        clock.tick(ASK_AGAIN_SECONDS + 1)
        assert not _far_below_pytest(lock.held)
