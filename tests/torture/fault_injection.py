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
from tests.torture.server_settings import configure
from tests.torture.stock_faults import StockFaults
from tests.torture.system import ManagedProcess, System

MAX_SECONDS = 3.0
MAX_ANSWERS_LOST = 6
IDLE_AFTER = "200ms"
POSTGRES_STOPPED = "PostgreSQL (immediate stop)"
POSTGRES_KILLED = "PostgreSQL (kill -9)"


@dataclass
class FaultCounts:
    """Faults injected: processes killed, by name, and all other faults, by kind."""

    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)


class FaultInjector:
    """Faults drawn by seed, injected one at a time from the main thread, which alone may start processes."""

    def __init__(self, system: System, random_source: Random, counts: FaultCounts) -> None:
        self.counts = counts
        self._system = system
        self.random_source = random_source
        self._stock = StockFaults(system, random_source)
        self._kinds: dict[str, tuple[float, Callable[[], None]]] = {
            "an API process": (3, self._kill_api_process),
            "the API's master": (0.7, self._kill_api_master),
            "the whole API": (0.5, self._kill_api),
            "a worker": (3, self._kill_worker),
            "both workers": (1, self._kill_workers),
            "the simulator": (1.5, self._kill_simulator),
            "PostgreSQL, immediately": (1.5, lambda: self._kill_postgres(signal.SIGQUIT)),
            "PostgreSQL's postmaster": (1, lambda: self._kill_postgres(signal.SIGKILL)),
            "PostgreSQL with all backends": (
                1,
                lambda: self._kill_postgres(signal.SIGKILL, with_backends=True),
            ),
            "a backend of PostgreSQL": (1.5, self._kill_backend),
            "connections to PostgreSQL cut": (2, lambda: self._cut(system.to_database)),
            "idle connections ended": (1, lambda: self._set_for_a_while("idle_session_timeout", IDLE_AFTER)),
            "PostgreSQL read-only": (1, lambda: self._set_for_a_while("default_transaction_read_only", "on")),
            "connections of clients cut": (2, lambda: self._cut(system.to_api)),
            "connections to M-Pesa cut": (1, lambda: self._cut(system.to_mpesa)),
            "PostgreSQL frozen": (1, lambda: self._freeze(system.to_database)),
            "the API frozen": (1, lambda: self._freeze(system.to_api)),
            "M-Pesa frozen": (1, lambda: self._freeze(system.to_mpesa)),
            "answers of PostgreSQL lost": (3, lambda: self._lose_answers(system.to_database)),
            "answers to clients lost": (3, lambda: self._lose_answers(system.to_api)),
            "answers of M-Pesa lost": (1, lambda: self._lose_answers(system.to_mpesa)),
            "an API process suspended": (1, self._suspend_api_process),
            "a worker suspended": (1, self._suspend_worker),
            "listings out of stock": (1.5, self._empty_stock),
        }
        if system.disk is not None:
            self._kinds["the disk full"] = (1.5, self._fill_disk)

    def inject(self) -> str:
        """Inject a fault, wait until it is over, and restart what it killed; return its name."""
        weights = [weight for weight, _ in self._kinds.values()]
        name = self.random_source.choices(list(self._kinds), weights)[0]
        self._kinds[name][1]()
        self._system.restart_dead()
        return name

    def _wait(self) -> None:
        time.sleep(self.random_source.uniform(0.05, MAX_SECONDS))

    def _kill_api_process(self) -> None:
        processes = self._system.api.descendants()
        if processes:
            self._kill_process(self.random_source.choice(processes), "an API process")

    def _kill_api_master(self) -> None:
        self._kill(self._system.api, "the API's master")

    def _kill_api(self) -> None:
        self._system.api.kill(with_descendants=True)
        self.counts.kills["the whole API"] += 1
        self._wait()

    def _kill_worker(self) -> None:
        self._kill(self.random_source.choice(self._system.workers), "a worker")

    def _kill_workers(self) -> None:
        for worker in self._system.workers:
            self._kill(worker, "a worker", waits=False)
        self._wait()

    def _kill_simulator(self) -> None:
        self._kill(self._system.simulator, "the simulator")

    def _kill(self, process: ManagedProcess, name: str, *, waits: bool = True) -> None:
        process.kill()
        self.counts.kills[name] += 1
        if waits:
            self._wait()

    def _kill_process(self, process: psutil.Process, name: str) -> None:
        with suppress(psutil.NoSuchProcess):
            process.kill()
            self.counts.kills[name] += 1

    def _kill_postgres(self, how: signal.Signals, *, with_backends: bool = False) -> None:
        self._system.kill_postgres(how, with_backends=with_backends)
        self.counts.kills[POSTGRES_STOPPED if how == signal.SIGQUIT else POSTGRES_KILLED] += 1
        self._wait()

    def _kill_backend(self) -> None:
        pid = self._system.postgres.pid
        backends = psutil.Process(pid).children() if pid else []
        if backends:
            self._kill_process(self.random_source.choice(backends), "a backend of PostgreSQL")

    def _set_for_a_while(self, setting: str, value: str) -> None:
        """Change a setting of PostgreSQL for a moment, if it runs."""
        if not self._system.postgres.answers():
            return
        configure(self._system.database_url, f"SET {setting} = '{value}'")
        self._wait()
        configure(self._system.database_url, f"RESET {setting}")
        self.counts.faults[f"spells of {setting}"] += 1

    def _cut(self, proxy: TcpProxy) -> None:
        before = proxy.connections_cut
        proxy.cut()
        if self.random_source.random() < 0.5:
            self._wait()
        proxy.restore()
        self.counts.faults["connections cut"] += proxy.connections_cut - before

    def _freeze(self, proxy: TcpProxy) -> None:
        proxy.freeze()
        self._wait()
        proxy.restore()
        self.counts.faults["connections frozen"] += 1

    def _lose_answers(self, proxy: TcpProxy) -> None:
        before = proxy.answers_lost
        proxy.lose_answers(self.random_source.randint(1, MAX_ANSWERS_LOST))
        self._wait()
        proxy.restore()
        self.counts.faults["answers lost"] += proxy.answers_lost - before

    def _suspend_api_process(self) -> None:
        processes = self._system.api.descendants()
        if processes:
            self._suspend(self.random_source.choice(processes))

    def _suspend_worker(self) -> None:
        pid = self.random_source.choice(self._system.workers).pid
        if pid is not None:
            self._suspend(psutil.Process(pid))

    def _suspend(self, process: psutil.Process) -> None:
        """Suspend a process for a moment, as a machine does that is short of memory."""
        with suppress(psutil.NoSuchProcess):
            process.suspend()
            self._wait()
            process.resume()
            self.counts.faults["processes suspended"] += 1

    def _empty_stock(self) -> None:
        self.counts.faults["listings out of stock"] += self._stock.empty()
        self._wait()
        self._stock.refill()

    def _fill_disk(self) -> None:
        disk = self._system.disk
        assert disk is not None
        disk.fill()
        self._wait()
        disk.free()
        self.counts.faults["disk full"] += 1
