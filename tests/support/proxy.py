"""A TCP proxy that can be cut, frozen, made to lose answers, or made to fail at a chosen message."""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Event, Lock, Thread
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from psycopg.conninfo import conninfo_to_dict

from ledger.store.database import Database
from tests.support.ports import LOCALHOST

_CHUNK = 65_536
IMPATIENT_SECONDS = 0.1


class _Link:
    """A client's connection, and its connection to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.loses_answer = False
        self.cuts_all = False

    def close(self) -> None:
        for end in (self.client, self.server):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class TcpProxy:
    """Listens on `port` of this machine and forwards to what `dial` connects to.

    If the server cannot be reached, the client's connection is closed.
    """

    def __init__(self, dial: Callable[[], socket.socket]) -> None:
        self._dial = dial
        self._listener = socket.create_server((LOCALHOST, 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self.connections_cut = 0
        self.answers_lost = 0
        self.on_bytes: Callable[[object, bool, bytes], None] = lambda *_: None
        """Called with what passes: a connection, whether its client sent it, and the bytes."""
        self._lock = Lock()
        self._links: set[_Link] = set()
        self._is_cut = False
        self._flows = Event()
        self._flows.set()
        self._messages_left: int | None = None
        self._answer_is_lost = False
        self._breaks_one = False
        self._answers_to_lose = 0
        Thread(target=self._accept, daemon=True).start()

    @property
    def has_broken(self) -> bool:
        """Whether the message of `break_at` has come."""
        return self._messages_left == 0

    def cut(self) -> None:
        """Close every connection, and every new one at once."""
        with self._lock:
            self._is_cut = True
            links, self._links = self._links, set()
            self.connections_cut += len(links)
        for link in links:
            link.close()

    def freeze(self) -> None:
        """Let nothing through, like a server that hangs."""
        self._flows.clear()

    def restore(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._is_cut = False
            self._messages_left = None
            self._answers_to_lose = 0
        self._flows.set()

    def break_at(self, message: int, *, answer_is_lost: bool) -> None:
        """Cut at the n-th message of any client from now, from 1: before the server sees it, or before its answer."""
        with self._lock:
            self._messages_left = message
            self._answer_is_lost = answer_is_lost
            self._breaks_one = False

    def break_one_at(self, message: int) -> None:
        """Cut the connection of the n-th message of any client from now, from 1, before the server sees it."""
        self.break_at(message, answer_is_lost=False)
        self._breaks_one = True

    def lose_answers(self, count: int) -> None:
        """Forward the next `count` messages, and close each connection before its answer."""
        with self._lock:
            self._answers_to_lose = count

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
        try:
            link = _Link(client, self._dial())
        except OSError:
            client.close()
            return
        with self._lock:
            self._links.add(link)
        Thread(target=self._pump, args=(link, link.server, link.client), daemon=True).start()
        self._pump(link, link.client, link.server)

    def _pump(self, link: _Link, source: socket.socket, sink: socket.socket) -> None:
        from_client = source is link.client
        try:
            while chunk := source.recv(_CHUNK):
                self._flows.wait()
                if from_client and self._is_break(link):
                    if not self._breaks_one:
                        self.cut()
                    return
                if not from_client and link.loses_answer:
                    self._lose(link)
                    return
                self.on_bytes(link, from_client, chunk)
                sink.sendall(chunk)
        except OSError:
            return
        finally:
            link.close()
            with self._lock:
                self._links.discard(link)

    def _lose(self, link: _Link) -> None:
        with self._lock:
            self.answers_lost += 1
        if link.cuts_all:
            self.cut()

    def _is_break(self, link: _Link) -> bool:
        with self._lock:
            if self._answers_to_lose:
                self._answers_to_lose -= 1
                link.loses_answer = True
            if not self._messages_left:
                return False
            self._messages_left -= 1
            if self._messages_left:
                return False
            link.loses_answer = link.cuts_all = self._answer_is_lost
            return not self._answer_is_lost


class DatabaseProxy(TcpProxy):
    """Forwards to the server of a database URL; `url` leads through it."""

    def __init__(self, database_url: str) -> None:
        self._target = conninfo_to_dict(database_url)
        super().__init__(self._dial_postgres)
        parts = urlsplit(database_url)
        query = dict(parse_qsl(parts.query))
        query |= {"host": LOCALHOST, "port": str(self.port), "sslmode": "disable"}
        user = f"{quote(str(self._target['user']))}@" if self._target.get("user") else ""
        self.url = urlunsplit(parts._replace(netloc=user, query=urlencode(query)))

    def _dial_postgres(self) -> socket.socket:
        host, port = str(self._target.get("host") or LOCALHOST), self._target.get("port") or 5432
        if not host.startswith("/"):
            return socket.create_connection((host, int(port)))
        server = socket.socket(socket.AF_UNIX)
        server.connect(f"{host}/.s.PGSQL.{port}")
        return server


@contextmanager
def cut_off(proxy: DatabaseProxy, database: Database) -> Iterator[None]:
    """Cut a database off while a block runs: who wants a connection meanwhile is refused sooner than it would be."""
    patience, database.pool.timeout = database.pool.timeout, IMPATIENT_SECONDS
    proxy.cut()
    try:
        yield
    finally:
        proxy.restore()
        database.pool.timeout = patience


@contextmanager
def proxy_before(database_url: str) -> Iterator[DatabaseProxy]:
    """Lend a proxy in front of a database."""
    proxy = DatabaseProxy(database_url)
    try:
        yield proxy
    finally:
        proxy.close()
