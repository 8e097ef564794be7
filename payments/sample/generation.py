"""Fills a store with sample payments: the chunks by several processes, then what follows the log."""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection as Pipe
from multiprocessing.connection import wait

from ledger.errors import LedgerError, Rejected, Unavailable
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.locks import ActiveLock, LockConnection
from ledger.store.vault import Vault
from payments.sample.chunks import MAX_SESSIONS, ChunkWriter, Sample
from payments.sample.people import FIRST_BUYER, PAST_LAST_BUYER
from payments.worker.processes import PROCESSES, OnEvent, View
from projections.follower import Follower, read_end
from projections.stored_positions import STORE_POSITIONS
from shop.demo import demo_data

_PARENT_GONE = (BrokenPipeError, ConnectionResetError)
_HAS_OTHERS = """
SELECT EXISTS (SELECT FROM payment_sessions WHERE user_id < %(first)s)
    OR EXISTS (SELECT FROM payment_sessions WHERE user_id >= %(past_last)s) AS others
"""
_COUNT = "SELECT reltuples::bigint AS events FROM pg_class WHERE oid = 'payment_events'::regclass"


@dataclass(frozen=True, slots=True)
class Progress:
    """How far it is: the name of the step, and what share of it is done."""

    step: str
    share: float


Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class Store:
    """The database to fill, by a login that owns its tables, and its master key."""

    url: str
    master_key: bytes

    @contextmanager
    def opened(self) -> Iterator[tuple[Database, Vault]]:
        """Open it for a while."""
        with closing(Database(self.url, max_connections=2, role="")) as database:
            yield database, Vault(database, self.master_key)


def require_no_others(database: Database) -> None:
    """Raise Rejected STORE_HAS_PAYMENTS if the store has sessions of anyone but sample buyers."""
    with database.connection() as connection:
        values = {"first": FIRST_BUYER, "past_last": PAST_LAST_BUYER}
        [found] = connection.execute(_HAS_OTHERS, values).fetchall()
    if found["others"]:
        raise Rejected(
            "STORE_HAS_PAYMENTS",
            "This database has payment sessions that were not generated. The log is never rewritten, so generated "
            "payments could never be removed from among them: use a database of its own.",
        )


def generate(store: Store, sample: Sample, processes: int, report: Report = lambda _: None) -> None:
    """Write the sample, or what is missing of it, and bring what follows the log up to its end.

    Doing it again, also after a kill, goes on where it was. Raises Rejected SAMPLE_IS_THERE, and Unavailable.
    """
    write_sample(store, sample, processes, report)
    with store.opened() as (database, vault):
        _sign(database, vault, report)
        _follow(database, vault, report)


def write_sample(store: Store, sample: Sample, processes: int, report: Report = lambda _: None) -> None:
    """Write the sample, or what is missing of it, and leave blocks and projections to the worker; raise as above."""
    assert sample.sessions <= MAX_SESSIONS
    with store.opened() as (database, vault):
        demo_data(database)
        if processes == 1 or sample.chunks == 1:
            writer, done = ChunkWriter(sample, database, vault), 0
            for chunk in range(sample.chunks):
                done += writer.write(chunk)
                report(Progress("sessions", done / sample.sessions))
        else:
            _write_apart(store, sample, min(processes, sample.chunks), report)
        with database.transaction() as connection:
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("ANALYZE")
        _pass_over(database)


def _write_apart(store: Store, sample: Sample, processes: int, report: Report) -> None:
    context, done = get_context("spawn"), 0
    children, pipes = [], []
    try:
        for share in range(processes):
            ours, theirs = context.Pipe(duplex=False)
            child = context.Process(
                target=_write_share, args=(store, sample, share, processes, theirs), daemon=True
            )
            child.start()
            theirs.close()
            children.append(child)
            pipes.append(ours)
        for count in _counts(pipes):
            done += count
            report(Progress("sessions", done / sample.sessions))
    finally:
        for child in children:
            child.terminate()
            child.join()
    if done != sample.sessions:
        raise Unavailable(
            "A process that wrote sample sessions ended before its share was done. Type the command again to go on."
        )


def _counts(pipes: Collection[Pipe]) -> Iterator[int]:
    """Yield what the processes write until all have ended; raise what one of them raised."""
    open_pipes = set(pipes)
    while open_pipes:
        for pipe in open_pipes.intersection(wait(open_pipes)):
            try:
                told: int | LedgerError = pipe.recv()
            except EOFError:
                open_pipes.remove(pipe)
                continue
            if isinstance(told, LedgerError):
                raise told
            yield told


def _write_share(store: Store, sample: Sample, share: int, processes: int, pipe: Pipe) -> None:
    """Write every so-many-th chunk; end where nobody listens any more."""
    with store.opened() as (database, vault):
        try:
            writer = ChunkWriter(sample, database, vault)
            for chunk in range(share, sample.chunks, processes):
                pipe.send(writer.write(chunk))
        except _PARENT_GONE:
            os._exit(1)
        except LedgerError as error:
            pipe.send(error)


def _pass_over(database: Database) -> None:
    """Let event processors start behind the sample, on which nothing is to be done, unless a worker is at it."""
    locks = LockConnection(database.url)
    for process in PROCESSES:
        if isinstance(process, OnEvent):
            lock = ActiveLock(locks, process.name)
            if lock.try_acquire():
                with database.connection() as connection:
                    end = read_end(connection)
                    connection.execute(STORE_POSITIONS, (end.origin, [process.name], [end.position]))
                lock.release()


def _sign(database: Database, vault: Vault, report: Report) -> None:
    signer, signed, events = BlockSigner(database, lambda: vault.block_key, lambda: vault.block_keys), 0, 1
    expected = _count(database)
    while events:
        events = signer.run()
        signed += events
        report(Progress("signing", min(1.0, signed / expected)))


def _follow(database: Database, vault: Vault, report: Report) -> None:
    macs, expected = EventMacs(database, vault.keys), _count(database)
    for process in PROCESSES:
        if isinstance(process, View):
            follower, read, events = Follower(database, macs, process.projection(vault)), 0, 1
            while events:
                events = follower.run_once()
                read += events
                report(Progress(process.name, min(1.0, read / expected)))


def _count(database: Database) -> int:
    with database.connection() as connection:
        [row] = connection.execute(_COUNT).fetchall()
    return max(1, int(row["events"]))
