"""A job of a worker that is killed goes on in another worker within two seconds."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from threading import Event, Thread

from ledger.store.database import Database
from ledger.store.locks import ActiveLock, LockConnection
from payments.worker.jobs import Job, run_job
from tests.support.waiting import wait_until

NAME = "orders"


def be_active(url: str, tell: Pipe) -> None:
    lock = ActiveLock(LockConnection(url), NAME)
    tell.send(lock.try_acquire())
    time.sleep(600)


@contextmanager
def running(job: Job) -> Iterator[None]:
    stop = Event()
    thread = Thread(target=run_job, args=(job, stop))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_another_worker_takes_a_job_over_from_one_that_was_killed(database: Database) -> None:
    told, tell = get_context("spawn").Pipe(duplex=False)
    active = get_context("spawn").Process(target=be_active, args=(database.url, tell), daemon=True)
    active.start()
    assert told.poll(60)
    assert told.recv()
    lock, asked = ActiveLock(LockConnection(database.url), NAME), list[bool]()

    def ask() -> int:
        asked.append(lock.try_acquire())
        return 0

    with running(Job(NAME, ask, 0.02, 0.02, lock)):
        wait_until(lambda: bool(asked), "the other worker stands by")
        assert asked == [False]
        assert active.pid is not None
        os.kill(active.pid, signal.SIGKILL)
        wait_until(lambda: asked[-1], "the other worker is active", within_seconds=2)
    active.join()
