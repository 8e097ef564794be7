"""The faults injected into the system: each begins, lasts a moment and ends; what it killed is restarted."""

import signal
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random

import psutil  # type: ignore[import-untyped]  # it comes without types

from tests.support.proxy import TcpProxy
from tests.torture.stock_faults import Shelves
from tests.torture.system import Machine, Part

MAX_SECONDS = 3.0
MAX_ANSWERS_LOST = 6
POSTGRES_STOPPED = "PostgreSQL (immediate stop)"
POSTGRES_KILLED = "PostgreSQL (kill -9)"


@dataclass
class FaultCounts:
    """What was done to the machine: processes killed, by name, and every other trouble, by kind."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


class Troubles:
    """Chosen by seed, made one at a time from the main thread, which alone may start processes."""

    def __init__(self, machine: Machine, random_source: Random, counts: FaultCounts) -> None:
        self.counts = counts
        self._machine = machine
        self.random_source = random_source
        self._shelves = Shelves(machine, random_source)
        self._kinds: dict[str, tuple[float, Callable[[], None]]] = {
            "an API process": (3, self._kill_api_process),
            "the API's master": (0.7, self._kill_api_master),
            "the whole API": (0.5, self._kill_api),
            "a worker": (3, self._kill_worker),
            "both workers": (1, self._kill_workers),
            "the simulator": (1.5, self._kill_simulator),
            "PostgreSQL, immediately": (1.5, lambda: self._kill_postgres(signal.SIGQUIT)),
            "PostgreSQL's postmaster": (1, lambda: self._kill_postgres(signal.SIGKILL)),
            "PostgreSQL with all backends": (1, lambda: self._kill_postgres(signal.SIGKILL, all_of_it=True)),
            "a backend of PostgreSQL": (1.5, self._kill_backend),
            "connections to PostgreSQL cut": (2, lambda: self._cut(machine.to_database)),
            "connections of clients cut": (2, lambda: self._cut(machine.front)),
            "connections to M-Pesa cut": (1, lambda: self._cut(machine.to_mpesa)),
            "PostgreSQL silent": (1, lambda: self._freeze(machine.to_database)),
            "the API silent": (1, lambda: self._freeze(machine.front)),
            "M-Pesa silent": (1, lambda: self._freeze(machine.to_mpesa)),
            "answers of PostgreSQL lost": (3, lambda: self._lose_answers(machine.to_database)),
            "answers to clients lost": (3, lambda: self._lose_answers(machine.front)),
            "answers of M-Pesa lost": (1, lambda: self._lose_answers(machine.to_mpesa)),
            "an API process held": (1, self._hold_api_process),
            "a worker held": (1, self._hold_worker),
            "shelves emptied": (1.5, self._empty_shelves),
        }
        if machine.disk is not None:
            self._kinds["the disk full"] = (1.5, self._fill_disk)

    def make_one(self) -> str:
        """Make a trouble, wait until it is over, and start what it killed; return its name."""
        weights = [weight for weight, _ in self._kinds.values()]
        name = self.random_source.choices(list(self._kinds), weights)[0]
        self._kinds[name][1]()
        self._machine.start_what_is_down()
        return name

    def _last(self) -> None:
        time.sleep(self.random_source.uniform(0.05, MAX_SECONDS))

    def _kill_api_process(self) -> None:
        processes = self._machine.api.descendants()
        if processes:
            self._kill_process(self.random_source.choice(processes), "an API process")

    def _kill_api_master(self) -> None:
        self._kill(self._machine.api, "the API's master")

    def _kill_api(self) -> None:
        self._machine.api.kill(with_descendants=True)
        self.counts.kills["the whole API"] += 1
        self._last()

    def _kill_worker(self) -> None:
        self._kill(self.random_source.choice(self._machine.workers), "a worker")

    def _kill_workers(self) -> None:
        for worker in self._machine.workers:
            self._kill(worker, "a worker", waits=False)
        self._last()

    def _kill_simulator(self) -> None:
        self._kill(self._machine.simulator, "the simulator")

    def _kill(self, part: Part, name: str, *, waits: bool = True) -> None:
        part.kill()
        self.counts.kills[name] += 1
        if waits:
            self._last()

    def _kill_process(self, process: psutil.Process, name: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.counts.kills[name] += 1

    def _kill_postgres(self, how: signal.Signals, *, all_of_it: bool = False) -> None:
        self._machine.kill_postgres(how, with_backends=all_of_it)
        self.counts.kills[POSTGRES_STOPPED if how == signal.SIGQUIT else POSTGRES_KILLED] += 1
        self._last()

    def _kill_backend(self) -> None:
        pid = self._machine.postgres.pid
        backends = psutil.Process(pid).children() if pid else []
        if backends:
            self._kill_process(self.random_source.choice(backends), "a backend of PostgreSQL")

    def _cut(self, proxy: TcpProxy) -> None:
        before = proxy.lines_cut
        proxy.cut()
        if self.random_source.random() < 0.5:
            self._last()
        proxy.restore()
        self.counts.faults["connections cut"] += proxy.lines_cut - before

    def _freeze(self, proxy: TcpProxy) -> None:
        proxy.freeze()
        self._last()
        proxy.restore()
        self.counts.faults["silences of a connection's other end"] += 1

    def _lose_answers(self, proxy: TcpProxy) -> None:
        before = proxy.answers_lost
        proxy.lose_answers(self.random_source.randint(1, MAX_ANSWERS_LOST))
        self._last()
        proxy.restore()
        self.counts.faults["answers lost after they were given"] += proxy.answers_lost - before

    def _hold_api_process(self) -> None:
        processes = self._machine.api.descendants()
        if processes:
            self._hold(self.random_source.choice(processes))

    def _hold_worker(self) -> None:
        pid = self.random_source.choice(self._machine.workers).pid
        if pid is not None:
            self._hold(psutil.Process(pid))

    def _hold(self, process: psutil.Process) -> None:
        """Stop a process in the middle of whatever it does, as a machine does that is short of memory; then go on."""
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self._last()
            process.resume()
            self.counts.faults["processes held still"] += 1

    def _empty_shelves(self) -> None:
        self.counts.faults["shelves emptied under those who pay"] += self._shelves.empty_some()
        self._last()
        self._shelves.fill_again()

    def _fill_disk(self) -> None:
        disk = self._machine.disk
        assert disk is not None
        disk.fill()
        self._last()
        disk.free()
        self.counts.faults["disk full"] += 1
