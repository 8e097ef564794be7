"""A whole Daftari, each process a child of ours to be killed, with a proxy on each connection between them."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from socket import create_connection
from types import MappingProxyType

import psutil  # type: ignore[import-untyped]  # it comes without types

from api.local import children
from api.local.databases import migrate_database
from api.local.local_settings import local_settings
from api.local.local_simulator import SIMULATOR_CREDENTIALS
from api.local.ports import answers_http, http_url
from api.local.postgres import ClusterOptions, EmbeddedPostgres
from api.local.problems import LocalRuntimeError
from api.settings import CALLBACK_PATH, Settings
from tests.bench.lifecycles import Buyer
from tests.support.ports import LOCALHOST, free_port
from tests.support.proxy import DatabaseProxy, TcpProxy
from tests.support.waiting import wait_until
from tests.torture.disk import SmallDisk, may_mount, small_disk

READY_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 20
GONE_WITHIN_SECONDS = 30
WORKERS = 2

_COMMAND = (sys.executable, "-m", "api.cli")
_DATA_WITHIN_SECONDS = 600
_KEPT_FROM_DISK = "database-kept"


class Part:
    """One process that we start, kill and start again: a `command` of daftari. All its lives write to `log`."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        log: Path,
        ready: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self.log = log
        self.command = command
        self._environ = dict(environ)
        self._ready = ready
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start it, from the main thread."""
        with self.log.open("ab") as output:
            self._child = children.spawn(
                [*_COMMAND, *self.command], death_signal=signal.SIGTERM, environ=self._environ, output=output
            )

    def is_ready(self) -> bool:
        """Say whether it runs and does its work."""
        return self.pid is not None and (self._ready is None or self._ready())

    def descendants(self) -> list[psutil.Process]:
        """Return the processes below it that run now."""
        if self.pid is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self.pid).children(recursive=True))
        return []

    def kill(self, *, with_descendants: bool = False) -> None:
        """Kill it without warning, and all that is below it where asked; harmless when it does not run."""
        below = self.descendants() if with_descendants else []
        if self._child is not None:
            self._child.kill()
            self._child.wait(GONE_WITHIN_SECONDS)
        for process in below:
            with suppress(psutil.NoSuchProcess):
                process.kill()

    def stop(self) -> None:
        """Stop it as an operator does."""
        if self._child is not None:
            children.stop(self._child, signal.SIGTERM, STOP_WITHIN_SECONDS)


@dataclass(frozen=True)
class Habits:
    """What the simulated M-Pesa does by itself: pay after so many seconds, or chaos by a seed."""

    auto_approve_seconds: float | None = 0
    chaos_seed: int | None = None

    def arguments(self) -> list[str]:
        """Return them as arguments of `daftari simulator`."""
        if self.chaos_seed is not None:
            return ["--chaos", str(self.chaos_seed)]
        return (
            [] if self.auto_approve_seconds is None else ["--auto-approve", f"{self.auto_approve_seconds:g}"]
        )


class Machine:
    """PostgreSQL, simulator, API and two workers, and the proxies before the first three.

    `front` is where clients and M-Pesa's callbacks come in, `to_mpesa` the way from us to M-Pesa, `to_database` the way
    of all our processes to PostgreSQL; `disk` is PostgreSQL's own small one, or None. Set `is_kept` and its folder
    stays when it is stopped.
    """

    def __init__(
        self,
        postgres: EmbeddedPostgres,
        disk: SmallDisk | None,
        habits: Habits,
        settings: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.folder = folder
        self.disk = disk
        self.postgres = postgres
        self.api_port, self.simulator_port = free_port(), free_port()
        self.front = TcpProxy(partial(create_connection, (LOCALHOST, self.api_port)))
        self.to_mpesa = TcpProxy(partial(create_connection, (LOCALHOST, self.simulator_port)))
        self.proxies = [self.front, self.to_mpesa]
        self.parts: list[Part] = []
        self.is_kept = False
        self._habits = habits
        self._settings = dict(settings)

    def start(self) -> None:
        """Start everything and return when all of it is ready. Call it from the main thread."""
        self.database_url = self.postgres.start()
        self.to_database = DatabaseProxy(self.database_url)
        self.proxies.append(self.to_database)
        self.environ = self._environment()
        migrate_database(self.database_url)
        self.simulator = self._part(
            "simulator",
            self._simulator_command(self._habits),
            partial(answers_http, LOCALHOST, self.simulator_port, "/simulator/api/health"),
        )
        self.api = self._part("serve", ["serve"], partial(answers_http, LOCALHOST, self.api_port, "/readyz"))
        self.workers = [self._part(f"work-{number}", ["work"]) for number in range(1, WORKERS + 1)]
        self.make_sure_all_run()

    @property
    def settings(self) -> Settings:
        """The settings of every process, but for the database's address: ours leads around the proxy."""
        return local_settings({**self.environ, "DATABASE_URL": self.database_url})

    def make_buyers(self, count: int) -> list[Buyer]:
        """Return so many buyers, users 1 to `count`, each with a filled cart and a token."""
        tokens = self.folder / "buyers.jsonl"
        self.run("demo-data", "--users", str(count), "--tokens-file", str(tokens))
        with tokens.open(encoding="utf-8") as lines:
            return [Buyer(**json.loads(line)) for line in lines]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `daftari` on the database itself, past the proxy; return what it said."""
        return subprocess.run(
            [*_COMMAND, *arguments],
            env={**self.environ, "DATABASE_URL": self.database_url},
            capture_output=True,
            text=True,
            check=False,
            timeout=_DATA_WITHIN_SECONDS,
        )

    def start_what_is_down(self) -> list[str]:
        """Start what does not run, once; return the names of what still does not."""
        down = []
        if self.postgres.pid is None:
            try:
                self.postgres.stop()
                self.postgres.start()
            except (LocalRuntimeError, OSError):
                down.append("PostgreSQL")
        for part in self.parts:
            if part.pid is None:
                part.start()
        return down

    def make_sure_all_run(self) -> None:
        """Start what does not run until everything is ready, whatever it takes within a bound."""

        def all_ready() -> bool:
            return not self.start_what_is_down() and all(part.is_ready() for part in self.parts)

        wait_until(all_ready, f"all parts are ready (see the logs in {self.folder})", READY_WITHIN_SECONDS)

    def let_simulator(self, habits: Habits) -> None:
        """Start the simulator anew, with other habits; its books stay."""
        self.simulator.stop()
        self.simulator.command = self._simulator_command(habits)
        self.make_sure_all_run()

    def heal(self) -> None:
        """Take all troubles of the ways and of the disk away."""
        for proxy in self.proxies:
            proxy.restore()
        if self.disk is not None:
            self.disk.free()

    def kill_postgres(self, how: signal.Signals, *, with_backends: bool = False) -> None:
        """Stop PostgreSQL at once: SIGQUIT is its immediate shutdown, SIGKILL leaves it no time for anything."""
        pid = self.postgres.pid
        if pid is None:
            return
        server = psutil.Process(pid)
        backends = server.children(recursive=True)
        server.send_signal(how)
        for backend in backends if with_backends else []:
            with suppress(psutil.NoSuchProcess):
                backend.send_signal(how)
        wait_until(lambda: self.postgres.pid is None, "PostgreSQL is gone", GONE_WITHIN_SECONDS)

    def stop(self) -> None:
        """Stop everything, in the order in which nothing misses anything."""
        for part in reversed(self.parts):
            part.stop()
        for proxy in self.proxies:
            proxy.close()
        self.postgres.stop()

    def _simulator_command(self, habits: Habits) -> list[str]:
        return ["simulator", "--state-file", str(self.folder / "mpesa"), *habits.arguments()]

    def _part(self, name: str, command: Sequence[str], ready: Callable[[], bool] | None = None) -> Part:
        part = Part(name, command, self.environ, self.folder / f"{name}.log", ready)
        self.parts.append(part)
        return part

    def _environment(self) -> dict[str, str]:
        """Return our environment without the settings of the user who runs this, and with those of the system."""
        settings = ("DAFTARI_", "MPESA_", "DATABASE_URL")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(settings)}
        return kept | {
            **SIMULATOR_CREDENTIALS,
            "DATABASE_URL": self.to_database.url,
            "DAFTARI_DATA_DIR": str(self.folder / "data"),
            "DAFTARI_PORT": str(self.api_port),
            "DAFTARI_SIMULATOR_PORT": str(self.simulator_port),
            "DAFTARI_LOG_FORMAT": "json",
            "DAFTARI_VERIFY_HOURS": "0",
            "MPESA_BASE_URL": http_url(LOCALHOST, self.to_mpesa.port),
            "MPESA_CALLBACK_URL": http_url(LOCALHOST, self.front.port) + CALLBACK_PATH,
            **self._settings,
        }


@contextmanager
def running_machine(
    habits: Habits,
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    parent: Path | None = None,
    has_small_disk: bool = False,
    is_durable: bool = True,
) -> Iterator[Machine]:
    """Lend a running machine in a new folder below `parent`; `settings` are those of its processes.

    Unless `is_durable`, PostgreSQL confirms what it has not written yet.
    """
    bin_folder = os.environ.get("DAFTARI_POSTGRES_BIN")
    options = ClusterOptions(durable=is_durable, bin_folder=Path(bin_folder) if bin_folder else None)
    folder = Path(tempfile.mkdtemp(prefix="daftari-torture-", dir=parent))
    folder.chmod(0o711)
    machine = None
    try:
        with ExitStack() as stack:
            wanted = has_small_disk and may_mount()
            disk = stack.enter_context(small_disk(folder / "database")) if wanted else None
            postgres = EmbeddedPostgres(folder / "database", options)
            machine = Machine(postgres, disk, habits, settings, folder)
            stack.callback(_put_away, machine)
            machine.start()
            yield machine
    finally:
        if machine is None or not machine.is_kept:
            shutil.rmtree(folder)


@contextmanager
def kept_machine(folder: Path) -> Iterator[dict[str, str]]:
    """Start PostgreSQL on the data that a run left, and lend the variables by which commands find them."""
    databases = [folder / name for name in (_KEPT_FROM_DISK, "database")]
    with EmbeddedPostgres(next(each for each in databases if each.is_dir())) as server:
        yield {"DATABASE_URL": server.database_url, "DAFTARI_DATA_DIR": str(folder / "data")}


def _put_away(machine: Machine) -> None:
    """Stop a machine, and take its data off a disk that is about to go where they are to be kept."""
    machine.stop()
    if machine.is_kept and machine.disk is not None:
        kept = machine.folder / _KEPT_FROM_DISK
        subprocess.run(["cp", "-a", str(machine.disk.folder), str(kept)], check=True)
