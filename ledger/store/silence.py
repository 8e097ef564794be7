"""Notices a server that hangs: it answers nothing and closes nothing, and libpq would wait for it without an end.

A limit on statements is the server's own, and keepalives are answered by the system of a machine whose server is
frozen. So where a connection has been lent for long, another to the same server is opened as a probe. If that gets no
answer either, all who wait for this server lose the connection, as when it dies, and nobody is lent one until a probe
of any server of the database is answered.
"""

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from operator import itemgetter
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
        """Probe the server of the connection that has been lent for longest, if that is long; or any, after silence."""
        now = monotonic()
        if self.is_silent:
            if self._answers():
                self.is_silent = False
                _log.warning("database_answers_again")
            else:
                self._hang_up()
            return
        with self._lock:
            first = min(self._lent.items(), key=itemgetter(1), default=(None, now))
            server = _server_of(first[0]) if first[0] is not None else None
        if server is None or now - max(first[1], self._probed_at) <= LENT_FOR_LONG_SECONDS:
            return
        self._probed_at = now
        if not self._answers(**server, target_session_attrs="any"):
            self.is_silent = True
            _log.warning("database_is_silent")
            self._hang_up(server)

    def _run(self) -> None:
        while not self._stopped.wait(LOOK_EVERY_SECONDS):
            try:
                self.look()
            except Exception:  # noqa: BLE001 - the watch has to outlive a fault of a probe
                _log.exception("database_not_probed")

    def _answers(self, **server: str | int) -> bool:
        """Say whether a new connection is let in, or refused: either is an answer."""
        try:
            self._connect(connect_timeout=PROBE_SECONDS, **server).close()
        except psycopg.OperationalError as error:
            return not isinstance(error, psycopg.errors.ConnectionTimeout)
        return True

    def _hang_up(self, server: Mapping[str, str | int] | None = None) -> None:
        """End the connections to a server, or all, so that those who wait get an error."""
        with self._lock:  # Held, so that none is closed meanwhile and its descriptor becomes another's.
            for connection in self._lent:
                if server in (None, _server_of(connection)):
                    with (
                        suppress(OSError, psycopg.OperationalError),
                        socket.socket(fileno=os.dup(connection.fileno())) as shared,
                    ):
                        shared.shutdown(socket.SHUT_RDWR)


def _server_of(connection: psycopg.Connection[Any]) -> dict[str, str | int] | None:
    """Return how to connect to the server of a connection, None if that is lost already."""
    try:
        info = connection.info
        found: dict[str, str | int] = {"host": info.host, "hostaddr": info.hostaddr, "port": info.port}
    except psycopg.OperationalError:
        return None
    return found
