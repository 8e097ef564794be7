"""Keep a machine's services running: start them in turn, start one that died again, stop all of them in reverse."""

import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from api.local import children
from api.local.postgres import EmbeddedPostgres
from api.local.problems import LocalRuntimeError

READY_WITHIN_SECONDS = 60.0
STOP_WITHIN_SECONDS = 15.0
MAX_DEATHS = 8
WELL_AFTER_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 5.0

_BETWEEN_LOOKS_SECONDS = 0.05


class KeepsDying(LocalRuntimeError):
    """A service ended again and again; starting it once more would not help."""


class Service(Protocol):
    """Something that runs beside us. `name` is what people call it."""

    name: str

    def start(self) -> None:
        """Start it, from the main thread; raise LocalRuntimeError where that cannot work."""

    def stop(self) -> None:
        """Stop it within a bound; harmless when it is not running."""

    def is_running(self) -> bool:
        """Say whether it runs."""

    def is_ready(self) -> bool:
        """Say whether it does its work already."""


class PostgresService:
    """The embedded PostgreSQL as a service."""

    name = "PostgreSQL"

    def __init__(self, server: EmbeddedPostgres) -> None:
        self._server = server

    def start(self) -> None:
        """Start it anew, and clear up first what a dead one left."""
        self._server.stop()
        self._server.start()

    def stop(self) -> None:
        """Stop it as its fast shutdown does."""
        self._server.stop()

    def is_running(self) -> bool:
        """Say whether the postmaster runs."""
        return self._server.pid is not None

    def is_ready(self) -> bool:
        """Say whether it answers; start() has seen to that."""
        return self.is_running()


class Program:
    """A child process of ours, told to end by SIGTERM and killed when it does not."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        ready: Callable[[], bool] | None = None,
        stop_within_seconds: float = STOP_WITHIN_SECONDS,
    ) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._ready = ready
        self._stop_within_seconds = stop_within_seconds
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start the process."""
        self._child = children.spawn(self._command, death_signal=signal.SIGTERM, environ=self._environ)

    def stop(self) -> None:
        """Ask it to end, and kill it when it takes too long."""
        if self._child is not None:
            children.stop(self._child, signal.SIGTERM, self._stop_within_seconds)

    def is_running(self) -> bool:
        """Say whether the process runs."""
        return self.pid is not None

    def is_ready(self) -> bool:
        """Ask the process itself, where there is a way to."""
        return self.is_running() and (self._ready is None or self._ready())


@dataclass
class _Watched:
    """A service, how often it died in a row without having been well, and (monotonic seconds) its next start."""

    service: Service
    deaths: int = 0
    started_at: float = 0.0
    start_at: float | None = None

    def is_well(self, now: float) -> bool:
        """Whether it has lived a little and does its work."""
        return now - self.started_at >= WELL_AFTER_SECONDS and self.service.is_ready()


class Supervisor:
    """Runs services from the main thread until `stopping` is set. `tell` shows a sentence to a person.

    A service that dies is started again, however often somebody kills it. Only one that dies again and again without
    having been well in between is given up; the pause before its next start doubles, from `first_pause_seconds` on.
    """

    def __init__(
        self,
        stopping: threading.Event,
        tell: Callable[[str], None],
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._first_pause_seconds = first_pause_seconds
        self._stopping = stopping
        self._tell = tell
        self._watched: list[_Watched] = []

    def start(self, service: Service) -> None:
        """Start a service, and do not wait for it; raise LocalRuntimeError."""
        self._watched.append(_Watched(service, started_at=time.monotonic()))
        service.start()

    def wait_until_ready(self) -> None:
        """Return when all that was started is ready, or when we are told to stop; raise LocalRuntimeError."""
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        waiting = [watched.service for watched in self._watched]
        while waiting and not self._stopping.is_set():
            ended = [service.name for service in waiting if not service.is_running()]
            if ended:
                raise LocalRuntimeError(f"{ended[0]} ended while it was starting; it says why above.")
            waiting = [service for service in waiting if not service.is_ready()]
            if waiting and time.monotonic() > deadline:
                raise LocalRuntimeError(
                    f"{waiting[0].name} was not ready after {READY_WITHIN_SECONDS:.0f} s; see what it says above."
                )
            self._stopping.wait(_BETWEEN_LOOKS_SECONDS if waiting else 0)

    def watch(self) -> None:
        """Start again what dies, after a growing pause, until told to stop; raise KeepsDying when it is no use."""
        while not self._stopping.wait(_BETWEEN_LOOKS_SECONDS):
            for watched in self._watched:
                self._look_after(watched, time.monotonic())

    def stop(self) -> None:
        """Stop everything, the last started first, each within its bound."""
        while self._watched:
            self._watched.pop().service.stop()

    def _look_after(self, watched: _Watched, now: float) -> None:
        if watched.start_at is not None:
            if now >= watched.start_at:
                watched.start_at, watched.started_at = None, now
                watched.service.start()
        elif not watched.service.is_running():
            watched.start_at = now + self._pause_after_death(watched)
        elif watched.deaths and watched.is_well(now):
            watched.deaths = 0

    def _pause_after_death(self, watched: _Watched) -> float:
        """Count a death and return how many seconds to wait before the next start."""
        name = watched.service.name
        watched.deaths += 1
        if watched.deaths == MAX_DEATHS:
            raise KeepsDying(
                f"{name} has ended {MAX_DEATHS} times in a row, so everything is being stopped: "
                "put right what it says above, then start again."
            )
        pause = min(self._first_pause_seconds * 2.0 ** (watched.deaths - 1), MAX_PAUSE_SECONDS)
        self._tell(f"{name} has ended by itself; it is started again in {pause:g} s.")
        return pause
