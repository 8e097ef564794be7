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
from api.setting_rules import CALLBACK_PATH
from api.settings import Settings
from ledger.store.role_names import DEFAULT_ROLES
from tests.bench.lifecycles import Buyer
from tests.support.ports import LOCALHOST, free_port
from tests.support.proxy import DatabaseProxy, TcpProxy
from tests.support.waiting import wait_until
from tests.torture.disk import SmallDisk, may_mount, small_disk
from tests.torture.replication import ReplicatedPostgres, of_several

READY_WITHIN_SECONDS = 60
STOP_WITHIN_SECONDS = 20
GONE_WITHIN_SECONDS = 30
WORKERS = 2

_COMMAND = (sys.executable, "-m", "api.cli")
_DATA_WITHIN_SECONDS = 600
_KEPT_FROM_DISK = "database-kept"


class ManagedProcess:
    """One process that is started, killed and restarted: a `command` of daftari, which appends to `log`."""

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
        """Start it; call this from the main thread."""
        with self.log.open("ab") as output:
            self._child = children.spawn(
                [*_COMMAND, *self.command], death_signal=signal.SIGTERM, environ=self._environ, output=output
            )

    def is_ready(self) -> bool:
        """Say whether it runs and is ready."""
        return self.pid is not None and (self._ready is None or self._ready())

    def descendants(self) -> list[psutil.Process]:
        """Return the processes below it that run now."""
        if self.pid is None:
            return []
        with suppress(psutil.NoSuchProcess):
            return list(psutil.Process(self.pid).children(recursive=True))
        return []

    def kill(self, *, with_descendants: bool = False) -> None:
        """Kill it with SIGKILL, and its descendants if asked; harmless if it does not run."""
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
class SimulatorOptions:
    """Options of the simulator: pay prompts after some seconds, or chaos by a seed."""

    auto_approve_seconds: float | None = 0
    chaos_seed: int | None = None

    def arguments(self) -> list[str]:
        """Return them as arguments of `daftari simulator`."""
        if self.chaos_seed is not None:
            return ["--chaos", str(self.chaos_seed)]
        return (
            [] if self.auto_approve_seconds is None else ["--auto-approve", f"{self.auto_approve_seconds:g}"]
        )


class System:
    """PostgreSQL, simulator, API and two workers, and the proxies before the first three.

    `to_api` is where clients and M-Pesa's callbacks come in, `to_mpesa` leads from us to M-Pesa, `to_database` from
    all our processes to PostgreSQL, the primary if there is a replica; `disk` is PostgreSQL's own small one, or None.
    Set `is_kept` to keep the folder after the stop.
    """

    def __init__(
        self,
        postgres: EmbeddedPostgres | ReplicatedPostgres,
        disk: SmallDisk | None,
        options: SimulatorOptions,
        settings: Mapping[str, str],
        folder: Path,
    ) -> None:
        self.folder = folder
        self.disk = disk
        self.postgres = postgres
        self.api_port, self.simulator_port = free_port(), free_port()
        self.to_api = TcpProxy(partial(create_connection, (LOCALHOST, self.api_port)))
        self.to_mpesa = TcpProxy(partial(create_connection, (LOCALHOST, self.simulator_port)))
        self.proxies = [self.to_api, self.to_mpesa]
        self.processes: list[ManagedProcess] = []
        self.is_kept = False
        self._options = options
        self._settings = dict(settings)

    def start(self) -> None:
        """Start everything and return when all is ready. Call this from the main thread."""
        self.database_url = self.postgres.start()
        urls = self.postgres.urls if isinstance(self.postgres, ReplicatedPostgres) else [self.database_url]
        self.to_servers = [DatabaseProxy(url) for url in urls]
        self.to_database = self.to_servers[-1]
        self.proxies += self.to_servers
        self.environ = self._environment()
        migrate_database(self.database_url, DEFAULT_ROLES)
        self.simulator = self._process(
            "simulator",
            self._simulator_command(self._options),
            partial(answers_http, LOCALHOST, self.simulator_port, "/simulator/api/health"),
        )
        self.api = self._process(
            "serve", ["serve"], partial(answers_http, LOCALHOST, self.api_port, "/readyz")
        )
        self.workers = [self._process(f"work-{number}", ["work"]) for number in range(1, WORKERS + 1)]
        self.start_all()

    @property
    def settings(self) -> Settings:
        """The settings of every process, with the database's own URL in place of the proxy's."""
        return local_settings({**self.environ, "DATABASE_URL": self.database_url})

    def make_buyers(self, count: int) -> list[Buyer]:
        """Return buyers, users 1 to `count`, each with a filled cart and a token."""
        tokens = self.folder / "buyers.jsonl"
        self.run("demo-data", "--users", str(count), "--tokens-file", str(tokens))
        with tokens.open(encoding="utf-8") as lines:
            return [Buyer(**json.loads(line)) for line in lines]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command of `daftari` on the database itself, past the proxy; return its output."""
        return subprocess.run(
            [*_COMMAND, *arguments],
            env={**self.environ, "DATABASE_URL": self.database_url},
            capture_output=True,
            text=True,
            check=False,
            timeout=_DATA_WITHIN_SECONDS,
        )

    def restart_dead(self) -> list[str]:
        """Try once to start what does not run; return the names of what still does not."""
        down = []
        if self.postgres.pid is None:
            try:
                self.postgres.stop()
                self.postgres.start()
            except (LocalRuntimeError, OSError):
                down.append("PostgreSQL")
        for process in self.processes:
            if process.pid is None:
                process.start()
        return down

    def start_all(self) -> None:
        """Start what does not run until all is ready, within a bound."""

        def all_ready() -> bool:
            return not self.restart_dead() and all(process.is_ready() for process in self.processes)

        wait_until(
            all_ready, f"all processes are ready (see the logs in {self.folder})", READY_WITHIN_SECONDS
        )

    def restart_simulator(self, options: SimulatorOptions) -> None:
        """Restart the simulator with other options; its books stay."""
        self.simulator.stop()
        self.simulator.command = self._simulator_command(options)
        self.start_all()

    def end_faults(self) -> None:
        """Remove all faults of connections and of the disk."""
        for proxy in self.proxies:
            proxy.restore()
        if self.disk is not None:
            self.disk.free()

    def kill_postgres(self, how: signal.Signals, *, with_backends: bool = False) -> None:
        """Stop PostgreSQL by SIGQUIT, its immediate shutdown, or by SIGKILL."""
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
        """Stop everything, dependants first."""
        for process in reversed(self.processes):
            process.stop()
        for proxy in self.proxies:
            proxy.close()
        self.postgres.stop()

    def _simulator_command(self, options: SimulatorOptions) -> list[str]:
        return ["simulator", "--state-file", str(self.folder / "mpesa"), *options.arguments()]

    def _process(
        self, name: str, command: Sequence[str], ready: Callable[[], bool] | None = None
    ) -> ManagedProcess:
        managed = ManagedProcess(name, command, self.environ, self.folder / f"{name}.log", ready)
        self.processes.append(managed)
        return managed

    def _environment(self) -> dict[str, str]:
        """Return our environment without the settings of the user who runs this, and with those of the system."""
        settings = ("DAFTARI_", "MPESA_", "DATABASE_URL")
        kept = {name: text for name, text in os.environ.items() if not name.startswith(settings)}
        return kept | {
            **SIMULATOR_CREDENTIALS,
            "DATABASE_URL": of_several([proxy.url for proxy in self.to_servers]),
            "DAFTARI_DATA_DIR": str(self.folder / "data"),
            "DAFTARI_PORT": str(self.api_port),
            "DAFTARI_SIMULATOR_PORT": str(self.simulator_port),
            "DAFTARI_LOG_FORMAT": "json",
            "DAFTARI_VERIFY_HOURS": "0",
            "MPESA_BASE_URL": http_url(LOCALHOST, self.to_mpesa.port),
            "MPESA_CALLBACK_URL": http_url(LOCALHOST, self.to_api.port) + CALLBACK_PATH,
            **self._settings,
        }


@contextmanager
def running_system(
    options: SimulatorOptions,
    settings: Mapping[str, str] = MappingProxyType({}),
    *,
    parent: Path | None = None,
    has_small_disk: bool = False,
    has_replica: bool = False,
    is_durable: bool = True,
) -> Iterator[System]:
    """Run a system in a new folder below `parent`; `settings` are those of its processes.

    Unless `is_durable`, PostgreSQL commits without flushing to disk. `has_replica` gives it a synchronous replica.
    """
    bin_folder = os.environ.get("DAFTARI_POSTGRES_BIN")
    cluster_options = ClusterOptions(durable=is_durable, bin_folder=Path(bin_folder) if bin_folder else None)
    folder = Path(tempfile.mkdtemp(prefix="daftari-torture-", dir=parent))
    folder.chmod(0o711)
    system = None
    try:
        with ExitStack() as stack:
            is_mounted = has_small_disk and may_mount()
            disk = stack.enter_context(small_disk(folder / "database")) if is_mounted else None
            kind = ReplicatedPostgres if has_replica else EmbeddedPostgres
            postgres = kind(folder / "database", cluster_options)
            system = System(postgres, disk, options, settings, folder)
            stack.callback(_stop_and_keep, system)
            system.start()
            yield system
    finally:
        if system is None or not system.is_kept:
            shutil.rmtree(folder)


@contextmanager
def kept_database(folder: Path) -> Iterator[dict[str, str]]:
    """Start PostgreSQL on the data of a kept run; yield the variables by which commands find them."""
    databases = [folder / name for name in (_KEPT_FROM_DISK, "database")]
    with EmbeddedPostgres(next(each for each in databases if each.is_dir())) as server:
        yield {"DATABASE_URL": server.database_url, "DAFTARI_DATA_DIR": str(folder / "data")}


def _stop_and_keep(system: System) -> None:
    """Stop a system; if it is kept, copy its data off the disk that is about to be unmounted."""
    system.stop()
    if system.is_kept and system.disk is not None:
        kept = system.folder / _KEPT_FROM_DISK
        subprocess.run(["cp", "-a", str(system.disk.folder), str(kept)], check=True)
