"""The walk through the sessions, in this process or shared by several that all see the snapshot of the run.

A process of the walk ends when the one that started it has ended, however that came about: its snapshot would hold
the horizon of the log back.
"""

import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from contextlib import ExitStack
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Any

from psycopg import Connection

from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.vault import Vault
from projections.integrity.violations import Reader, Tally, Task, Terms

NICENESS = 10
"""Payments on the same machine come first."""
QUEUED = 4
"""Tasks that are handed to each process ahead."""

_EXPORT = "SELECT pg_export_snapshot() AS snapshot"


@dataclass(frozen=True, slots=True)
class Processes:
    """How many processes share a run, and what opens the store in each of them."""

    count: int
    open_store: Callable[[], tuple[Database, Vault]]


def run_here(reader: Reader, tasks: Iterable[Task]) -> Iterator[Tally]:
    """Run tasks in this process."""
    return (task(reader) for task in tasks)


def run_apart(
    processes: Processes, connection: Connection[Any], terms: Terms, tasks: Iterable[Task]
) -> Iterator[Tally]:
    """Run tasks in processes of their own, in the snapshot of a connection. Raises Unavailable if one is killed."""
    row = connection.execute(_EXPORT).fetchone()
    assert row is not None
    started_with = processes.open_store, row["snapshot"], terms
    # The library imports it at this line: a process of the API, which shares no run, would have half a megabyte of it.
    pool = futures.ProcessPoolExecutor(processes.count, get_context("spawn"), _start, started_with)
    try:
        yield from _results(pool, tasks, QUEUED * processes.count)
    except futures.BrokenExecutor as error:
        detail = "A process of the verification was ended, or had too little memory: try again."
        raise Unavailable(detail, retry_after_seconds=60) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _results(pool: futures.Executor, tasks: Iterable[Task], at_once: int) -> Iterator[Tally]:
    under_way = deque[futures.Future[Tally]]()
    for task in tasks:
        under_way.append(pool.submit(_run, task))
        if len(under_way) == at_once:
            yield under_way.popleft().result()
    while under_way:
        yield under_way.popleft().result()


_reader: Reader
_open = ExitStack()


def _start(open_store: Callable[[], tuple[Database, Vault]], snapshot: str, terms: Terms) -> None:
    global _reader  # noqa: PLW0603 - what a process of the pool works with, set once
    os.nice(NICENESS)
    Thread(target=_end_with_parent, daemon=True).start()
    # A terminal interrupts the process that started this one too, which ends the run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    database, vault = open_store()
    connection = _open.enter_context(database.snapshot(snapshot))
    _reader = Reader(connection, vault, EventMacs(database, vault.keys), terms)


def _run(task: Task) -> Tally:
    return task(_reader)


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
