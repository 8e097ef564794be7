"""The processes of a web server: one that watches, and the workers that serve."""

import gc
import os
import select
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol

import structlog

from api.http.middleware.logging import keep_loggers

SILENT_SECONDS = 30.0
"""A worker that gives no sign of life for so long is killed."""

_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_RESTART_AFTER_SECONDS = 1.0
_LAST_WORDS_SECONDS = 2.0
_log = structlog.get_logger(__name__)


class Server(Protocol):
    """What runs in a worker."""

    def run(self) -> None:
        """Serve until it is stopped."""

    def stop(self) -> None:
        """Begin to stop. A signal handler calls this."""


class Worker:
    """A child process, and when it started and was last heard of."""

    def __init__(self, pid: int, alive: int) -> None:
        self.pid = pid
        self.alive = alive
        """The file descriptor on which it says that it is alive."""
        self.started = self.heard = monotonic()


class WorkerProcesses:
    """Keeps `count` workers running. `make_server` runs in each, and is given what to call as a sign of life; `on_end`
    is called with the process id of each that has ended.
    """

    def __init__(
        self,
        count: int,
        make_server: Callable[[Callable[[], None]], Server],
        *,
        grace_seconds: float,
        on_end: Callable[[int], None],
    ) -> None:
        self._count = count
        self._make_server = make_server
        self._grace_seconds = grace_seconds
        self._on_end = on_end
        self._workers: dict[int, Worker] = {}
        self._not_before = 0.0
        self._stop_by: float | None = None
        self._is_urgent = False
        self._woken, self._waker = socket.socketpair()

    def run(self, on_stopping: Callable[[], None]) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP, and until the workers have ended, which have the grace time for it.

        A second signal kills them. `on_stopping` is called before the first worker is told to stop.
        """
        for sock in (self._woken, self._waker):
            sock.setblocking(False)  # noqa: FBT003 - as sockets have it
        for number in (*_STOPPING, signal.SIGCHLD):
            signal.signal(number, self._on_signal)
        signal.set_wakeup_fd(self._waker.fileno())
        gc.freeze()  # A worker's collector writes to what it looks at, and would have a copy of all that was imported.
        while self._stop_by is None:
            self._start_missing()
            self._wait()
        on_stopping()
        self._signal_all(signal.SIGTERM)
        while self._workers:
            if self._is_urgent or monotonic() > self._stop_by + _LAST_WORDS_SECONDS:
                self._signal_all(signal.SIGKILL)
            self._wait()

    def _on_signal(self, number: int, _frame: object) -> None:
        if number in _STOPPING:
            self._is_urgent = self._stop_by is not None
            self._stop_by = self._stop_by or monotonic() + self._grace_seconds

    def _wait(self) -> None:
        """Wait a moment for a signal, a sign of life or a worker's end, and take note of it."""
        alive = {worker.alive: worker for worker in self._workers.values()}
        readable, _, _ = select.select([self._woken.fileno(), *alive], [], [], 1.0)
        for source in readable:
            if source not in alive:
                self._woken.recv(4_096)
            elif os.read(source, 4_096):
                alive[source].heard = monotonic()
        self._bury()
        for worker in self._workers.values():
            if monotonic() - worker.heard > SILENT_SECONDS:
                _log.error("web_worker_silent", pid=worker.pid)
                os.kill(worker.pid, signal.SIGKILL)

    def _bury(self) -> None:
        for worker in list(self._workers.values()):
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if not pid:
                continue
            del self._workers[pid]
            os.close(worker.alive)
            self._on_end(pid)
            if self._stop_by is None:
                _log.error("web_worker_ended", pid=pid, exit_code=os.waitstatus_to_exitcode(status))
                if monotonic() - worker.started < _RESTART_AFTER_SECONDS:
                    self._not_before = monotonic() + _RESTART_AFTER_SECONDS

    def _start_missing(self) -> None:
        while len(self._workers) < self._count and monotonic() >= self._not_before and self._stop_by is None:
            self._start()

    def _start(self) -> None:
        reader, writer = os.pipe()
        sys.stdout.flush()
        sys.stderr.flush()
        master = os.getpid()
        pid = os.fork()
        if not pid:
            os.close(reader)
            self._serve_in_child(writer, master)
        os.close(writer)
        os.set_blocking(reader, False)
        self._workers[pid] = Worker(pid, reader)

    def _serve_in_child(self, alive: int, master: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number in (signal.SIGINT, signal.SIGHUP):  # A terminal sends them to all processes.
                signal.signal(number, signal.SIG_IGN)
            os.set_blocking(alive, False)
            keep_loggers()

            def show_life() -> None:
                if os.getppid() != master:
                    server.stop()
                with suppress(BlockingIOError, BrokenPipeError):
                    os.write(alive, b".")

            server = self._make_server(show_life)
            signal.signal(signal.SIGTERM, lambda *_: server.stop())
            if self._stop_by is not None:  # A signal came before this line.
                server.stop()
            server.run()
            code = 0
        except BaseException:  # noqa: BLE001 - nothing may return into the code of the first process
            _log.exception("web_worker_failed")
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # Threads that hang must not hold the process.

    def _signal_all(self, number: signal.Signals) -> None:
        for pid in self._workers:
            os.kill(pid, number)
