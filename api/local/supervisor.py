"""Keep services running: start them in order, restart one that died, stop all in reverse order."""

import json
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from api.local import children
from api.local.problems import LocalRuntimeError
from payments.retry_schedule import RetrySchedule

READY_WITHIN_SECONDS = 60.0
STOP_WITHIN_SECONDS = 15.0
MAX_DEATHS = 8
HEALTHY_AFTER_SECONDS = 2.0
FIRST_PAUSE_SECONDS = 0.2
MAX_PAUSE_SECONDS = 5.0

_POLL_SECONDS = 0.05


class KeepsDying(LocalRuntimeError):
    """A service ended again and again; restarting it does not help."""


class Service(Protocol):
    """A child of ours; `name` is for messages."""

    name: str

    def start(self) -> None:
        """Start it, from the main thread; raise LocalRuntimeError."""

    def stop(self) -> None:
        """Stop it within a bound; harmless if it is not running."""

    def is_running(self) -> bool:
        """Return whether it runs."""

    def is_ready(self) -> bool:
        """Return whether it is ready to serve."""


class Program:
    """A child process, stopped by SIGTERM and killed if it does not end.

    If it `waits`, it reads variables that are known later from its standard input, and does nothing before.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environ: Mapping[str, str],
        ready: Callable[[], bool] | None = None,
        stop_within_seconds: float = STOP_WITHIN_SECONDS,
        *,
        waits: bool = False,
    ) -> None:
        self.name = name
        self._command = command
        self._environ = environ
        self._ready = ready
        self._stop_within_seconds = stop_within_seconds
        self._waits = waits
        self._later: Mapping[str, str] | None = None
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs, else None."""
        return self._child.pid if self._child and self._child.poll() is None else None

    def start(self) -> None:
        """Start the process; it goes on at once if its variables are known."""
        stdin = subprocess.PIPE if self._waits else subprocess.DEVNULL
        self._child = children.spawn(
            self._command, death_signal=signal.SIGTERM, environ=self._environ, stdin=stdin
        )
        if self._later is not None:
            self.go_on(self._later)

    def go_on(self, variables: Mapping[str, str]) -> None:
        """Give a process that waits the rest of its variables, and the same to each that follows it."""
        self._later = variables
        assert self._child is not None
        assert self._child.stdin is not None
        with (
            suppress(BrokenPipeError),
            self._child.stdin as pipe,
        ):  # Of one that has ended; the supervisor sees it.
            pipe.write(json.dumps(dict(variables)).encode())

    def stop(self) -> None:
        """Ask it to end, and kill it if it takes too long."""
        if self._child is not None:
            children.stop(self._child, signal.SIGTERM, self._stop_within_seconds)
            if self._child.stdin is not None:
                self._child.stdin.close()

    def is_running(self) -> bool:
        """Return whether the process runs."""
        return self.pid is not None

    def is_ready(self) -> bool:
        """Return whether the process runs and, if there is a probe, says that it is ready."""
        return self.is_running() and (self._ready is None or self._ready())


@dataclass
class _Watched:
    """A service, how often it died in a row, and when it started and starts next (monotonic seconds)."""

    service: Service
    deaths: int = 0
    started_at: float = 0.0
    start_at: float | None = None

    def is_healthy(self, now: float) -> bool:
        """Whether it has run for a while and is ready."""
        return now - self.started_at >= HEALTHY_AFTER_SECONDS and self.service.is_ready()


class Supervisor:
    """Runs services from the main thread until `stopping` is set. `report` prints a sentence.

    A service that dies is restarted, after a pause that doubles from `first_pause_seconds` on. One that dies
    MAX_DEATHS times without having been healthy in between is given up.
    """

    def __init__(
        self,
        stopping: threading.Event,
        report: Callable[[str], None],
        first_pause_seconds: float = FIRST_PAUSE_SECONDS,
    ) -> None:
        self._retries = RetrySchedule.doubling(
            timedelta(seconds=first_pause_seconds), timedelta(seconds=MAX_PAUSE_SECONDS)
        )
        self._stopping = stopping
        self._report = report
        self._watched: list[_Watched] = []

    def start(self, service: Service, *, stop_last: bool = False) -> None:
        """Start a service without waiting for it; raise LocalRuntimeError."""
        watched = _Watched(service, started_at=time.monotonic())
        self._watched.insert(0 if stop_last else len(self._watched), watched)
        service.start()

    def wait_until_ready(self) -> None:
        """Return once every service is ready, or stopping is set; raise LocalRuntimeError."""
        deadline = time.monotonic() + READY_WITHIN_SECONDS
        waiting = [watched.service for watched in self._watched]
        while waiting and not self._stopping.is_set():
            ended = [service.name for service in waiting if not service.is_running()]
            if ended:
                raise LocalRuntimeError(f"{ended[0]} ended while it was starting; see its output above.")
            waiting = [service for service in waiting if not service.is_ready()]
            if waiting and time.monotonic() > deadline:
                raise LocalRuntimeError(
                    f"{waiting[0].name} was not ready after {READY_WITHIN_SECONDS:.0f} s; see its output above."
                )
            self._stopping.wait(_POLL_SECONDS if waiting else 0)

    def watch(self) -> None:
        """Restart services that die until stopping is set; raise KeepsDying."""
        while not self._stopping.wait(_POLL_SECONDS):
            for watched in self._watched:
                self._check(watched, time.monotonic())

    def stop(self) -> None:
        """Stop everything, the last started first but for those to stop last, each within its bound."""
        while self._watched:
            self._watched.pop().service.stop()

    def _check(self, watched: _Watched, now: float) -> None:
        if watched.start_at is not None:
            if now >= watched.start_at:
                watched.start_at, watched.started_at = None, now
                watched.service.start()
        elif not watched.service.is_running():
            watched.start_at = now + self._pause_after_death(watched)
        elif watched.deaths and watched.is_healthy(now):
            watched.deaths = 0

    def _pause_after_death(self, watched: _Watched) -> float:
        """Count a death and return how many seconds to wait before the next start."""
        name = watched.service.name
        watched.deaths += 1
        if watched.deaths == MAX_DEATHS:
            raise KeepsDying(
                f"{name} has ended {MAX_DEATHS} times in a row, so everything is being stopped: "
                "fix the error above, then start again."
            )
        pause = self._retries.pause_after(watched.deaths).total_seconds()
        self._report(f"{name} has ended by itself; it is restarted in {pause:g} s.")
        return pause
