"""One HTTP exchange with Daraja: bounded in time and size, never repeated, and honest about how far it came.

On connections of http.client: `requests` goes through five layers of connection, pool and response, which took four
times as long as the exchange itself, and has 5 MB of each process that imports it.
"""

import http.client
import io
import re
import socket
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from select import POLLIN, poll
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit, urlunsplit

import certifi

from daraja.untrusted import MAX_BYTES

_MAX_IDLE_SECONDS = 30.0
"""Middleboxes drop idle connections; one idle for longer is not trusted with a payment."""

_VISIBLE = re.compile(r"[!-~]+")
_ONE_LINE = re.compile(r"[ -~\u00a0-\u00ff]+")
"""A line of a request: one that ended early would begin another header, or another request."""


class NotSent(Exception):
    """No byte of the request has left: no address, no connection, or no TLS. The argument says which, in a word."""


class AnswerLost(Exception):
    """The request may have arrived and no whole answer came back. The argument says how, in a word."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer as it came; `body` is bounded in length, `headers` ignores case."""

    status: int
    headers: Mapping[str, str] | http.client.HTTPMessage
    body: bytes

    @property
    def is_html(self) -> bool:
        """Say whether a web page came where JSON was due: an edge or an outage speaks, and not Daraja."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.body.lstrip()[:1] == b"<"


class Transport(Protocol):
    """What sends requests. All threads of a process share one."""

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeouts: tuple[float, float],
        max_bytes: int = MAX_BYTES,
    ) -> Reply:
        """Send one request once; `timeouts` are the seconds to connect and, from then on, to have the whole answer.

        A body longer than `max_bytes` counts as lost. Raise NotSent if provably nothing was written, AnswerLost if
        that is in doubt.
        """
        ...

    def close(self) -> None:
        """Close what is kept."""
        ...


class _Incoming(io.RawIOBase):
    """A socket's incoming side that ends at one deadline, however slowly the bytes drip.

    The deadline is the socket's time-out from now on. `makefile` makes it what a response reads from.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._sock.recv_into(buffer)


class _Response(http.client.HTTPResponse):
    """A response that reads head and body against one deadline."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(_Incoming(sock))  # type: ignore[arg-type]  # of a socket it asks only for makefile

    def begin(self) -> None:
        """Read the head. Raises UnknownProtocol for an interim one, which we never ask for.

        The answer would come after it, and be taken for that of the next request.
        """
        super().begin()
        if self.status < HTTPStatus.OK:
            raise http.client.UnknownProtocol(str(self.status))

    def read_all(self, max_bytes: int) -> bytes:
        """Read the body to its end: only the read that finds nothing more notices a body that was cut short."""
        body = b""
        while part := self.read(max_bytes + 1 - len(body)):
            body += part
            if len(body) > max_bytes:
                raise AnswerLost("AnswerTooLarge")
        if self.length:
            raise AnswerLost(http.client.IncompleteRead.__name__)
        return body


class _Place(NamedTuple):
    """Where requests go: connections to one place are interchangeable."""

    scheme: str
    host: str
    port: int | None


class KeptConnections:
    """A Transport on connections that are kept alive. Safe to share between threads.

    No retries, no redirects, no proxies or passwords from the environment, no cookies (an edge sets them, and threads
    would mix them). Certificates are checked against the file `authorities`, or else against those of Mozilla.
    """

    def __init__(
        self, pool_size: int, max_idle_seconds: float = _MAX_IDLE_SECONDS, authorities: str | None = None
    ) -> None:
        self._pool_size = pool_size
        self._max_idle_seconds = max_idle_seconds
        self._authorities = authorities or certifi.where()
        self._kept: dict[_Place, deque[tuple[float, http.client.HTTPConnection]]] = defaultdict(deque)

    def exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        body: bytes | None,
        timeouts: tuple[float, float],
        max_bytes: int = MAX_BYTES,
    ) -> Reply:
        """Send one request on a kept connection, or on a new one, and read the answer, as Transport says."""
        place, head = _place_and_head(url)
        message = _message(method, head, headers, body)
        connect_seconds, answer_seconds = timeouts
        connection = self._take(place) or self._connect(place, connect_seconds)
        with ExitStack() as failed:
            failed.callback(connection.close)
            try:
                connection.sock.settimeout(answer_seconds)
                with suppress(
                    BrokenPipeError
                ):  # Who does not read to the end may have answered all the same.
                    connection.sock.sendall(message)
                response = _Response(connection.sock)
                response.begin()
                reply = Reply(response.status, response.headers, response.read_all(max_bytes))
            except (http.client.HTTPException, OSError, ValueError) as error:
                raise AnswerLost(type(error).__name__) from None
            if not response.will_close:
                failed.pop_all()
                self._keep(place, connection)
        return reply

    def close(self) -> None:
        """Close what is kept."""
        for place in list(self._kept):
            while connection := self._take(place):
                connection.close()

    def _keep(self, place: _Place, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request, unless there are enough."""
        kept = self._kept[place]
        if len(kept) < self._pool_size:
            kept.append((time.monotonic(), connection))
        else:
            connection.close()

    def _take(self, place: _Place) -> http.client.HTTPConnection | None:
        """Return the connection that was used last, if it is still good."""
        kept = self._kept[place]
        with suppress(IndexError):
            while True:
                used_at, connection = kept.pop()
                if time.monotonic() - used_at < self._max_idle_seconds and not _has_ended(connection.sock):
                    return connection
                connection.close()
        return None

    def _connect(self, place: _Place, seconds: float) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        try:
            if place.scheme == "https":
                context = _tls_context(self._authorities)
                connection = http.client.HTTPSConnection(
                    place.host, place.port, timeout=seconds, context=context
                )
            else:
                connection = http.client.HTTPConnection(place.host, place.port, timeout=seconds)
            with ExitStack() as failed:
                failed.callback(connection.close)
                connection.connect()
                failed.pop_all()
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NotSent(type(error).__name__) from None
        return connection


@lru_cache(maxsize=4)
def _tls_context(authorities: str) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authorities)


def _has_ended(sock: socket.socket) -> bool:
    """Say whether an idle connection has something to read: then the other side has closed it, or speaks unasked."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    watched = poll()
    watched.register(sock, POLLIN)
    return bool(watched.poll(0))


@lru_cache(maxsize=64)
def _place_and_head(url: str) -> tuple[_Place, tuple[str, str]]:
    """Return where a URL leads, and target and host as a request names them. There are some ten, one for each address
    of the API.
    """
    try:
        parts = urlsplit(url)
        place = _Place(parts.scheme, parts.hostname or "", parts.port)
    except ValueError:
        raise NotSent("InvalidURL") from None
    if place.scheme not in {"http", "https"} or not place.host or not _VISIBLE.fullmatch(url):
        raise NotSent("InvalidURL")
    target = urlunsplit(("", "", parts.path or "/", parts.query, ""))
    return place, (target, parts.netloc.rpartition("@")[2])


def _message(method: str, head: tuple[str, str], headers: Mapping[str, str], body: bytes | None) -> bytes:
    target, host = head
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    if not all(map(_ONE_LINE.fullmatch, lines)):
        raise NotSent("InvalidHeader")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + (body or b"")
