"""One HTTP exchange with Daraja: bounded in time and size, never repeated, and honest about how far it came.

A session of `requests`, with an adapter of our own: the one of `requests` goes through five layers of connection, pool
and response, which took four times as long as the exchange itself.
"""

import http.client
import io
import socket
import ssl
import time
from collections import defaultdict, deque
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass
from functools import lru_cache
from http import HTTPStatus
from select import POLLIN, poll
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import BaseAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH

from daraja.untrusted import MAX_BYTES

_MAX_IDLE_SECONDS = 30.0
"""Middleboxes drop idle connections; one idle for longer is not trusted with a payment."""


class NotSent(Exception):
    """No byte of the request has left: no address, no connection, or no TLS. The argument says which, in a word."""


class AnswerLost(Exception):
    """The request may have arrived and no whole answer came back. The argument says how, in a word."""


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP answer as it came; `body` is bounded in length, `headers` ignores case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_html(self) -> bool:
        """Say whether a web page came where JSON was due: an edge or an outage speaks, and not Daraja."""
        return "html" in self.headers.get("Content-Type", "").lower() or self.body.lstrip()[:1] == b"<"


def new_session(pool_size: int, max_idle_seconds: float = _MAX_IDLE_SECONDS) -> requests.Session:
    """Make the keep-alive session that all threads of a process share.

    No retries, no proxies or passwords from the environment, no cookies (an edge sets them, and threads would
    mix them).
    """
    session = requests.Session()
    session.trust_env = False
    adapter = _Adapter(pool_size, max_idle_seconds)
    for scheme in ("https://", "http://"):
        session.mount(scheme, adapter)
    return session


def exchange(
    session: requests.Session,
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
    try:
        request = copy(_prepared(method, url))
        request.prepare_headers(headers)
        adapter = session.get_adapter(url)
    except requests.RequestException as error:
        raise NotSent(type(error).__name__) from None
    request.body = body
    try:
        with adapter.send(request, stream=True, timeout=timeouts, verify=session.verify or True) as response:
            return Reply(response.status_code, response.raw.headers, _body(response.raw, max_bytes))
    except (http.client.HTTPException, OSError, ValueError) as error:
        raise AnswerLost(type(error).__name__) from None


def _body(raw: Any, max_bytes: int) -> bytes:
    """Read the body to its end: only the read that finds nothing more notices a body that was cut short."""
    body = b""
    while part := raw.read(max_bytes + 1 - len(body)):
        body += part
        if len(body) > max_bytes:
            raise AnswerLost("AnswerTooLarge")
    if raw.length:
        raise AnswerLost(http.client.IncompleteRead.__name__)
    return body


@lru_cache(maxsize=64)
def _prepared(method: str, url: str) -> requests.PreparedRequest:
    """Return a request without headers and body. There are some ten, one for each address of the API."""
    prepared = requests.PreparedRequest()
    prepared.prepare(method, url)
    return prepared


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
    """A response that reads head and body against one deadline, and then gives its connection back."""

    def __init__(self, adapter: "_Adapter", key: "_Key", connection: http.client.HTTPConnection) -> None:
        super().__init__(_Incoming(connection.sock))  # type: ignore[arg-type]  # of a socket it asks only for makefile
        self._adapter, self._key, self._connection = adapter, key, connection

    def begin(self) -> None:
        """Read the head. Raises UnknownProtocol for an interim one, which we never ask for.

        The answer would come after it, and be taken for that of the next request.
        """
        super().begin()
        if self.status < HTTPStatus.OK:
            raise http.client.UnknownProtocol(str(self.status))

    def close(self) -> None:
        """Keep the connection if it has no more to say and both sides want it, else close it; requests calls this."""
        is_whole = self.isclosed()
        super().close()
        if is_whole and not self.will_close and not self.length:
            self._adapter.keep(self._key, self._connection)
        else:
            self._connection.close()


_Key = tuple[str, str, bool | str]
"""Scheme, host with port, and what certificates are checked against: connections of one key are interchangeable."""


class _Adapter(BaseAdapter):
    """Sends a request on a kept connection, or on a new one. Safe to share between threads."""

    def __init__(self, pool_size: int, max_idle_seconds: float) -> None:
        super().__init__()
        self._pool_size = pool_size
        self._max_idle_seconds = max_idle_seconds
        self._kept: dict[_Key, deque[tuple[float, http.client.HTTPConnection]]] = defaultdict(deque)

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: ARG002 - the body is always left to the caller
        timeout: Any = None,
        verify: bool | str = True,
        cert: Any = None,  # noqa: ARG002 - we have no certificate of our own
        proxies: Any = None,  # noqa: ARG002 - and use no proxy
    ) -> requests.Response:
        """Send the request and read the head of the answer. `timeout` is the seconds to connect, and to be answered.

        Raise NotSent while nothing was written; from then on what http.client and the socket raise.
        """
        parts = urlsplit(str(request.url))
        key = parts.scheme, parts.netloc, verify
        connect_seconds, answer_seconds = timeout
        connection = self._take(key) or _connect(key, parts.hostname or "", parts.port, connect_seconds)
        try:
            connection.sock.settimeout(answer_seconds)
            with suppress(BrokenPipeError):  # Who does not read to the end may have answered all the same.
                connection.sock.sendall(_bytes_of(request, parts.netloc))
            raw = _Response(self, key, connection)
            raw.begin()
        except BaseException:
            connection.close()
            raise
        response = requests.Response()
        response.status_code, response.raw = raw.status, raw
        return response

    def keep(self, key: _Key, connection: http.client.HTTPConnection) -> None:
        """Keep a connection for the next request, unless there are enough."""
        kept = self._kept[key]
        if len(kept) < self._pool_size:
            kept.append((time.monotonic(), connection))
        else:
            connection.close()

    def close(self) -> None:
        """Close what is kept."""
        for key in list(self._kept):
            while connection := self._take(key):
                connection.close()

    def _take(self, key: _Key) -> http.client.HTTPConnection | None:
        """Return the connection that was used last, if it is still good."""
        kept = self._kept[key]
        with suppress(IndexError):
            while True:
                used_at, connection = kept.pop()
                if time.monotonic() - used_at < self._max_idle_seconds and not _has_ended(connection.sock):
                    return connection
                connection.close()
        return None


def _connect(key: _Key, host: str, port: int | None, seconds: float) -> http.client.HTTPConnection:
    scheme, _, verify = key
    connection: http.client.HTTPConnection
    try:
        if scheme == "https":
            connection = http.client.HTTPSConnection(
                host, port, timeout=seconds, context=_tls_context(verify)
            )
        else:
            connection = http.client.HTTPConnection(host, port, timeout=seconds)
        with ExitStack() as failed:
            failed.callback(connection.close)
            connection.connect()
            failed.pop_all()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotSent(type(error).__name__) from None
    return connection


@lru_cache(maxsize=4)
def _tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return a context that checks certificates against a file, or against the authorities of `requests`."""
    return ssl.create_default_context(cafile=verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)


def _has_ended(sock: socket.socket) -> bool:
    """Say whether an idle connection has something to read: then the other side has closed it, or speaks unasked."""
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    watched = poll()
    watched.register(sock, POLLIN)
    return bool(watched.poll(0))


def _bytes_of(request: requests.PreparedRequest, host: str) -> bytes:
    body = request.body or b""
    lines = [f"{request.method} {request.path_url} HTTP/1.1", f"Host: {host.rpartition('@')[2]}"]
    lines += [f"{name}: {value}" for name, value in request.headers.items()]
    lines += [f"Content-Length: {len(body)}", "", ""] if body else ["", ""]
    head = "\r\n".join(lines).encode("latin-1")
    assert isinstance(body, bytes)
    return head + body
