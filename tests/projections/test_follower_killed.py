"""A follower whose process is killed in the middle of a batch: another takes over, and each event counts once."""

import os
import signal
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.context import SpawnProcess
from typing import Any

from psycopg import Connection

from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from projections.follower import Follower, LogReader, Recorded
from projections.metrics import FROM_SESSIONS, READ_ALL, PaymentMetrics
from projections.shared_rounds import SharedRounds
from tests.support.checkouts import Checkout, one_of_every_kind
from tests.support.horizon import until_readable
from tests.support.keys import event_macs
from tests.support.waiting import wait_until

BATCH_SIZE = 5


class Stalled(PaymentMetrics):
    """Changes the figures in its second batch, says so, and comes to no commit."""

    def __init__(self, tell: Pipe) -> None:
        super().__init__()
        self._tell = tell
        self._batches = 0

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Count the batch, and from the second one on never return."""
        super().apply(connection, batch)
        self._batches += 1
        if self._batches > 1:
            self._tell.send(self._batches)
            time.sleep(600)


def follow(url: str, tell: Pipe) -> None:
    database = Database(url)
    Follower(database, event_macs(database), Stalled(tell), batch_size=BATCH_SIZE).catch_up()


def share_rounds(url: str, tell: Pipe) -> None:
    database = Database(url)
    rounds, follower = rounds_of(database, Stalled(tell))
    rounds.run_own(follower)
    tell.send("caught up")
    while True:
        rounds.run_once()


def started(target: Callable[[str, Pipe], None], url: str) -> tuple[SpawnProcess, Pipe]:
    """Start a process that follows the log; return it, and where it tells how far it is."""
    told, tell = get_context("spawn").Pipe(duplex=False)
    process = get_context("spawn").Process(target=target, args=(url, tell), daemon=True)
    process.start()
    return process, told


def rounds_of(database: Database, projection: PaymentMetrics) -> tuple[SharedRounds, Follower]:
    log = LogReader(database, event_macs(database))
    rounds = SharedRounds(database, log, ActiveLock(LockConnection(database.url), "views"))
    return rounds, Follower(database, event_macs(database), projection, log=log)


def test_another_takes_over_from_one_that_was_killed_and_nothing_counts_twice(
    ledger: Ledger, database: Database
) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    active, told = started(follow, database.url)
    assert told.poll(60)
    follower = Follower(database, event_macs(database), PaymentMetrics(), batch_size=BATCH_SIZE)
    assert follower.run_once() == 0  # It stands by.
    assert active.pid is not None
    os.kill(active.pid, signal.SIGKILL)
    wait_until(lambda: follower.run_once() > 0, "the other follower has taken over", within_seconds=2)
    follower.catch_up()
    with database.connection() as connection:
        figures = connection.execute(READ_ALL.encode()).fetchall()
        assert figures == connection.execute(FROM_SESSIONS).fetchall() != []
    active.join()


def test_another_worker_takes_over_from_one_that_was_killed_in_a_round_of_its_views(
    ledger: Ledger, database: Database
) -> None:
    one_of_every_kind(ledger)
    until_readable(database)
    active, told = started(share_rounds, database.url)
    assert told.poll(60)
    assert told.recv() == "caught up"
    Checkout(ledger).prompt()
    assert told.poll(60)
    rounds, follower = rounds_of(database, PaymentMetrics())
    assert (rounds.run_own(follower), rounds.run_once()) == (0, 0)  # It stands by.
    assert active.pid is not None
    os.kill(active.pid, signal.SIGKILL)
    wait_until(lambda: rounds.run_own(follower) > 0, "the other worker has taken over", within_seconds=2)
    until_readable(database)
    wait_until(lambda: not rounds.run_once() and not rounds.run_own(follower), "it is caught up")
    with database.connection() as connection:
        figures = connection.execute(READ_ALL.encode()).fetchall()
        assert figures == connection.execute(FROM_SESSIONS).fetchall() != []
    active.join()
    rounds.lock.release()
