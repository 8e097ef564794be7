"""A TCP proxy in front of PostgreSQL that can be cut, frozen, or made to fail at a chosen statement."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict

from tests.support.ports import LOCALHOST

_CHUNK = 65_536


class _Line:
    """One client's connection and ours to the server behind it."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.loses_answer = False

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class DatabaseProxy:
    """Forwards to the server of a database URL; `url` leads through it."""

    def __init__(self, database_url: str) -> None:
        self._target = conninfo_to_dict(database_url)
        self._listener = socket.create_server((LOCALHOST, 0))
        parts = urlsplit(database_url)
        query = dict(parse_qsl(parts.query))
        query |= {"host": LOCALHOST, "port": str(self._listener.getsockname()[1]), "sslmode": "disable"}
        user = f"{quote(str(self._target['user']))}@" if self._target.get("user") else ""
        self.url = urlunsplit(parts._replace(netloc=user, query=urlencode(query)))
        self._lock = Lock()
        self._lines: set[_Line] = set()
        self._is_cut = False
        self._flows = Event()
        self._flows.set()
        self._statements_left: int | None = None
        self._answer_is_lost = False
        Thread(target=self._accept, daemon=True).start()

    @property
    def has_broken(self) -> bool:
        """Whether the statement chosen by `break_at` has come."""
        return self._statements_left == 0

    def cut(self) -> None:
        """Drop every connection, and every new one at once."""
        with self._lock:
            self._is_cut = True
            lines, self._lines = self._lines, set()
        for line in lines:
            line.close()

    def freeze(self) -> None:
        """Let nothing through, and say nothing: as a server that hangs."""
        self._flows.clear()

    def restore(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._is_cut = False
            self._statements_left = None
        self._flows.set()

    def break_at(self, statement: int, *, answer_is_lost: bool) -> None:
        """Cut at the n-th message of any client from now, from 1: before the server sees it, or before its answer."""
        with self._lock:
            self._statements_left = statement
            self._answer_is_lost = answer_is_lost

    def close(self) -> None:
        """Stop listening and drop all connections."""
        self._flows.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            Thread(target=self._open, args=(client,), daemon=True).start()

    def _open(self, client: socket.socket) -> None:
        if self._is_cut:
            client.close()
            return
        line = _Line(client, self._dial())
        with self._lock:
            self._lines.add(line)
        Thread(target=self._pump, args=(line, line.server, line.client), daemon=True).start()
        self._pump(line, line.client, line.server)

    def _dial(self) -> socket.socket:
        host, port = str(self._target.get("host") or LOCALHOST), self._target.get("port") or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server

    def _pump(self, line: _Line, source: socket.socket, sink: socket.socket) -> None:
        from_client = source is line.client
        try:
            while chunk := source.recv(_CHUNK):
                self._flows.wait()
                if from_client and self._breaks_here(line):
                    self.cut()
                    return
                if not from_client and line.loses_answer:
                    self.cut()
                    return
                sink.sendall(chunk)
        except OSError:
            return
        finally:
            line.close()
            with self._lock:
                self._lines.discard(line)

    def _breaks_here(self, line: _Line) -> bool:
        with self._lock:
            if not self._statements_left:
                return False
            self._statements_left -= 1
            if self._statements_left:
                return False
            line.loses_answer = self._answer_is_lost
            return not self._answer_is_lost


@contextmanager
def proxy_before(database_url: str) -> Iterator[DatabaseProxy]:
    """Lend a proxy in front of a database."""
    proxy = DatabaseProxy(database_url)
    try:
        yield proxy
    finally:
        proxy.close()
