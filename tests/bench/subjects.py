"""What the bench measures in turns: Daftari, Daftari with idempotency keys, and the plain rows."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import psutil  # type: ignore[import-untyped]  # it comes without types

from api.local.postgres import DATABASE_NAME
from tests.bench import results
from tests.bench.bench_stack import DAFTARI, BenchStack, running_daftari
from tests.bench.lifecycles import Buyer, serve
from tests.bench.plain_stack import DATABASE, PlainServer, PlainStack, running_plain_rows
from tests.bench.processes import API, POSTGRES, SIMULATOR, ProcessorTimes

WARM_UP = 128
WARM_UP_CLIENTS = 32
POLL_SECONDS = 0.02
VERIFIED_WITHIN_SECONDS = 600
BUYERS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Subject:
    """Something that serves the checkout contract on a port. `check` returns a sentence for each broken invariant."""

    name: str
    port: int
    processors: ProcessorTimes
    make_buyers: Callable[[int], list[Buyer]]
    check: Callable[[], list[str]]
    with_keys: bool = False
    waiting: list[Buyer] = field(default_factory=list)

    def take(self, count: int) -> list[Buyer]:
        """Return buyers who have not bought yet."""
        if len(self.waiting) < count:
            self.waiting.extend(self.make_buyers(max(count, BUYERS_AT_ONCE)))
        taken = self.waiting[:count]
        del self.waiting[:count]
        return taken


@dataclass(frozen=True)
class Subjects:
    """All subjects of a run, and where they run."""

    daftari: Subject
    with_keys: Subject
    plain: Subject
    plain_on_our_server: Subject
    stack: BenchStack
    plain_stack: PlainStack

    @property
    def in_turns(self) -> tuple[Subject, ...]:
        """Those that serve lifecycles, in the order in which they take turns."""
        return self.daftari, self.plain, self.with_keys, self.plain_on_our_server


@contextmanager
def running_subjects() -> Iterator[Subjects]:
    """Start all, and warm them up."""
    with running_daftari_alone() as (daftari, stack), running_plain_rows(stack) as plain_stack:
        postgres = daftari.processors.root(POSTGRES)
        plain = _plain(results.PLAIN, plain_stack, plain_stack.on_gunicorn, postgres)
        on_our_server = _plain(results.PLAIN_ON_OUR_SERVER, plain_stack, plain_stack.on_our_server, postgres)
        for subject in (plain, on_our_server):
            _warm_up(subject)
        keyed = replace(daftari, name=results.WITH_KEYS, with_keys=True)
        yield Subjects(daftari, keyed, plain, on_our_server, stack, plain_stack)


def _plain(name: str, stack: PlainStack, server: PlainServer, postgres: psutil.Process) -> Subject:
    processes = {
        API: psutil.Process(server.pid),
        SIMULATOR: psutil.Process(server.simulator_pid),
        POSTGRES: postgres,
    }
    processors = ProcessorTimes(processes, other_database=DATABASE_NAME)
    return Subject(name, server.port, processors, stack.make_buyers, stack.violations)


@contextmanager
def running_daftari_alone() -> Iterator[tuple[Subject, BenchStack]]:
    """Start Daftari, and warm it up."""
    with running_daftari() as stack:
        processors = ProcessorTimes.of_daftari(stack.pid, DATABASE)
        daftari = Subject(
            results.DAFTARI, stack.port, processors, stack.make_buyers, lambda: _verified(stack)
        )
        _warm_up(daftari)
        yield daftari, stack


def _warm_up(subject: Subject) -> None:
    serve(subject.port, subject.take(WARM_UP), WARM_UP_CLIENTS, POLL_SECONDS)


def _verified(stack: BenchStack) -> list[str]:
    """Return what `daftari verify` prints if it finds a violation or does not run."""
    run = subprocess.run(
        [*DAFTARI, "verify"],
        env=stack.environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=VERIFIED_WITHIN_SECONDS,
    )
    return [] if run.returncode == 0 else (run.stdout + run.stderr).splitlines()
