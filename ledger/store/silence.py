"""Notices a server that hangs: it answers nothing and closes nothing, and libpq would wait for it without an end.

A limit on statements is the server's own, and keepalives are answered by the system of a machine whose server is
frozen. So where a connection has been lent for long, another is opened as a probe. If that gets no answer either,
all who wait lose the connection, as when a server dies, and nobody is lent one until a probe is answered.
"""

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from time import monotonic
from typing import Any

import psycopg
import structlog

LENT_FOR_LONG_SECONDS = 3.0
PROBE_SECONDS = 5
"""An overloaded server takes long to let a connection in; one that hangs never does."""

LOOK_EVERY_SECONDS = 1.0
_log = structlog.get_logger(__name__)


class SilenceWatch:
    """Watches the connections that are lent. `connect` opens a probe, given its `connect_timeout`.

    Safe to share between threads; starts one of its own with the first connection.
    """

    def __init__(self, connect: Callable[..., psycopg.Connection[Any]]) -> None:
        self._connect = connect
        self._lock = Lock()
        self._lent: dict[psycopg.Connection[Any], float] = {}
        self._thread: Thread | None = None
        self._stopped = Event()
        self._probed_at = 0.0
        self.is_silent = False
        """Whether the last probe got no answer."""

    def add(self, connection: psycopg.Connection[Any]) -> None:
        """Watch a connection that is lent now."""
        with self._lock:
            self._lent[connection] = monotonic()
            if self._thread is None:
                self._thread = Thread(target=self._run, name="silence-watch", daemon=True)
                self._thread.start()

    def discard(self, connection: psycopg.Connection[Any]) -> None:
        """Watch a connection no more; it may be closed then."""
        with self._lock:
            self._lent.pop(connection, None)

    @contextmanager
    def watching(self, connection: psycopg.Connection[Any]) -> Iterator[None]:
        """Watch a connection for the length of a block."""
        self.add(connection)
        try:
            yield
        finally:
            self.discard(connection)

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def look(self) -> None:
        """Probe the server if a connection has been lent for long, or the last probe got no answer."""
        now = monotonic()
        with self._lock:
            lent_for_long = any(now - since > LENT_FOR_LONG_SECONDS for since in self._lent.values())
        if not self.is_silent and (not lent_for_long or now - self._probed_at < LENT_FOR_LONG_SECONDS):
            return
        self._probed_at = now
        was_silent, self.is_silent = self.is_silent, not self._answers()
        if self.is_silent != was_silent:
            _log.warning("database_is_silent" if self.is_silent else "database_answers_again")
        if self.is_silent:
            self._hang_up(now)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the watch has to outlive a fault of a probe
                _log.exception("database_not_probed")

    def _answers(self) -> bool:
        """Say whether a new connection is let in, or refused: either is an answer."""
        try:
            self._connect(connect_timeout=PROBE_SECONDS).close()
        except psycopg.OperationalError as error:
            return not isinstance(error, psycopg.errors.ConnectionTimeout)
        return True

    def _hang_up(self, lent_before: float) -> None:
        """End the connections that were lent before the probe, so that those who wait for them get an error."""
        with self._lock:  # Held, so that none is closed meanwhile and its descriptor becomes another's.
            for connection, since in self._lent.items():
                if since < lent_before and not connection.closed:
                    with (
                        suppress(OSError, psycopg.OperationalError),
                        socket.socket(fileno=os.dup(connection.fileno())) as shared,
                    ):
                        shared.shutdown(socket.SHUT_RDWR)
