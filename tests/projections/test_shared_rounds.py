"""Views that are caught up share one commit a round; one that fails or is held up by another goes its own way."""

from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.events import Created, Paid
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from projections import follower as following
from projections.follower import BE_ACTIVE, Follower, LogReader, Projection, position_of, read_end
from projections.shared_rounds import SharedRounds
from tests.projections.recording import Clumsy, Notebook, log_of
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs
from tests.support.proxy import DatabaseProxy
from tests.support.waiting import wait_until

MIN_STATEMENTS, MAX_STATEMENTS = 6, 30
COMMITS = "SELECT count(DISTINCT xmin::text) AS commits FROM seen WHERE version = %s"


class Worker:
    """The views of one worker and their rounds."""

    def __init__(self, database: Database, *projections: Projection, locked_at: str = "") -> None:
        self.log = LogReader(database, event_macs(database))
        self.rounds = SharedRounds(
            database, self.log, ActiveLock(LockConnection(locked_at or database.url), "views")
        )
        self._followers = [
            Follower(database, event_macs(database), projection, log=self.log) for projection in projections
        ]

    def run_own(self) -> list[int]:
        return [self.rounds.run_own(each) for each in self._followers]

    def release(self) -> None:
        self.rounds.lock.release()


@pytest.fixture
def clumsy() -> Clumsy:
    made = Clumsy("clumsy")
    made.falls = False
    return made


@pytest.fixture
def caught_up(ledger: Ledger, database: Database) -> Iterator[Callable[..., Worker]]:
    """Return how to make a worker whose views have read the first event."""
    workers = []

    def make(*projections: Projection) -> Worker:
        Checkout(ledger)
        until_readable(database)
        workers.append(Worker(database, *projections))
        assert workers[-1].run_own() == [1] * len(projections)
        return workers[-1]

    yield make
    for each in workers:
        each.release()


def prompt(ledger: Ledger, database: Database) -> None:
    Checkout(ledger).prompt()
    until_readable(database)


def stored_position(database: Database, name: str) -> int:
    with database.connection() as connection:
        return position_of(connection, name, read_end(connection).origin)


def in_order(database: Database, notebook: Notebook) -> bool:
    """Say whether a notebook has each event of the log once."""
    seen = notebook.seen(database)
    return len(seen) == len(set(seen)) and set(seen) == log_of(database)


def test_views_that_are_caught_up_change_in_one_commit(
    ledger: Ledger, database: Database, notebook: Notebook, caught_up: Callable[..., Worker]
) -> None:
    other = Notebook("other")
    worker = caught_up(notebook, other)
    prompt(ledger, database)
    assert worker.run_own() == [0, 0]
    assert worker.rounds.run_once() == 3
    assert in_order(database, notebook)
    assert in_order(database, other)
    with database.connection() as connection:
        [row] = connection.execute(COMMITS, (3,))
    assert row == {"commits": 1}
    assert stored_position(database, "notebook") == stored_position(database, "other")
    assert worker.rounds.run_once() == 0


def test_a_view_without_an_event_of_its_own_moves_along(
    ledger: Ledger, database: Database, notebook: Notebook, caught_up: Callable[..., Worker]
) -> None:
    idle = Notebook("idle", topics=(Created.TOPIC, Paid.TOPIC))
    worker = caught_up(notebook, idle)
    checkout = Checkout(ledger)
    until_readable(database)
    worker.rounds.run_once()
    checkout.prompt()
    until_readable(database)
    assert worker.rounds.run_once() == 2
    assert [version for _, version in idle.seen(database)] == [1, 1]
    assert stored_position(database, "notebook") == stored_position(database, "idle")


def test_events_for_no_view_are_passed_over_and_the_next_one_is_applied_once(
    ledger: Ledger, database: Database, notebook: Notebook, caught_up: Callable[..., Worker]
) -> None:
    notebook.topics = (Created.TOPIC, Paid.TOPIC)
    worker = caught_up(notebook)
    checkout = Checkout(ledger)
    until_readable(database)
    worker.rounds.run_once()
    before = stored_position(database, "notebook")
    checkout.prompt()
    until_readable(database)
    assert worker.rounds.run_once() == 2
    assert stored_position(database, "notebook") == before
    checkout.pay()
    until_readable(database)
    assert worker.rounds.run_once() == 1
    assert [version for _, version in notebook.seen(database)] == [1, 1, 4]


def test_a_view_that_fails_undoes_the_round_and_goes_its_own_way_until_it_is_caught_up(
    ledger: Ledger, database: Database, notebook: Notebook, clumsy: Clumsy, caught_up: Callable[..., Worker]
) -> None:
    worker = caught_up(clumsy, notebook)
    clumsy.falls = True
    prompt(ledger, database)
    worker.rounds.run_once()
    assert not in_order(database, notebook)
    assert worker.rounds.run_once() == 3
    assert in_order(database, notebook)
    assert len(clumsy.seen(database)) == 1
    with pytest.raises(ArithmeticError):
        worker.run_own()
    assert worker.rounds.run_once() == 0
    clumsy.falls = False
    assert worker.run_own() == [3, 0]
    prompt(ledger, database)
    assert worker.rounds.run_once() == 3
    assert in_order(database, clumsy)
    assert in_order(database, notebook)


def test_a_view_that_somebody_holds_is_left_out_and_stops_no_other(
    ledger: Ledger, database: Database, notebook: Notebook, caught_up: Callable[..., Worker]
) -> None:
    held = Notebook("held")
    worker = caught_up(held, notebook)
    prompt(ledger, database)
    with database.transaction() as rebuilding:
        rebuilding.execute(BE_ACTIVE, ("held",))
        worker.rounds.run_once()
        assert in_order(database, notebook)
        assert len(held.seen(database)) == 1
        assert worker.run_own() == [0, 0]
    until_readable(database)
    assert worker.rounds.run_once() == 3
    assert in_order(database, held)


def test_events_that_another_has_applied_meanwhile_are_not_applied_again(
    ledger: Ledger, database: Database, notebook: Notebook, caught_up: Callable[..., Worker]
) -> None:
    worker = caught_up(notebook)
    prompt(ledger, database)
    Follower(database, event_macs(database), notebook).catch_up()
    worker.rounds.run_once()
    assert in_order(database, notebook)
    prompt(ledger, database)
    worker.run_own()
    worker.rounds.run_once()
    assert in_order(database, notebook)


def test_a_view_that_is_far_behind_reads_the_log_by_itself(
    ledger: Ledger,
    database: Database,
    notebook: Notebook,
    caught_up: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worker = caught_up(notebook)
    monkeypatch.setattr(following, "BATCH_SIZE", 3)
    prompt(ledger, database)
    assert worker.rounds.run_once() == 0
    assert worker.run_own() == [3]
    assert in_order(database, notebook)


def test_of_two_workers_one_follows(
    ledger: Ledger, database: Database, notebook: Notebook, caught_up: Callable[..., Worker]
) -> None:
    active, standing_by = caught_up(notebook), Worker(database, notebook)
    prompt(ledger, database)
    assert (standing_by.run_own(), standing_by.rounds.run_once()) == ([0], 0)
    active.release()
    assert standing_by.run_own() == [3]
    assert in_order(database, notebook)
    standing_by.release()


@pytest.mark.parametrize("answer_is_lost", [False, True])
def test_a_crash_at_any_statement_of_a_round_leaves_each_event_applied_once(
    ledger: Ledger, database: Database, notebook: Notebook, proxy: DatabaseProxy, answer_is_lost: bool
) -> None:
    other, broke, statement = Notebook("other"), True, 0
    while broke:
        statement += 1
        assert statement < MAX_STATEMENTS
        prompt(ledger, database)
        with closing(Database(proxy.url)) as crashing:
            worker = Worker(crashing, notebook, other, locked_at=database.url)
            worker.run_own()
            prompt(ledger, database)
            crashing.pool.timeout = 0.1
            proxy.break_at(statement, answer_is_lost=answer_is_lost)
            with suppress(Unavailable):
                worker.rounds.run_once()
            broke = proxy.has_broken
            proxy.cut()
        proxy.restore()
        worker.release()
        next_worker = Worker(database, notebook, other)
        wait_until(
            lambda successor=next_worker: successor.run_own() and in_order(database, notebook),  # type: ignore[misc]
            "the next worker has followed",
        )
        wait_until(
            lambda successor=next_worker: not any(successor.run_own()),  # type: ignore[misc]
            "the next worker is caught up",
        )
        next_worker.release()
        assert in_order(database, notebook)
        assert in_order(database, other)
    assert statement > MIN_STATEMENTS
