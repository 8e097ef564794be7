"""One HTTP exchange with Daraja: bounded in time and size, never repeated, and honest about how far it came."""

import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, HTTPError, MaxRetryError, NewConnectionError

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


def new_session(pool_size: int) -> requests.Session:
    """Make the keep-alive session that all threads of a process share.

    No retries, no proxies or passwords from the environment, no cookies (an edge sets them, and threads would
    mix them).
    """
    session = requests.Session()
    session.trust_env = False
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter(pool_connections=2, pool_maxsize=pool_size, max_retries=0))
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
        prepared = (
            requests.PreparedRequest()
        )  # Not by the session: to merge its settings takes a fifth of a push.
        prepared.prepare(method, url, headers=headers, data=body)
        response = session.send(prepared, timeout=timeouts, allow_redirects=False, stream=True)
    except requests.RequestException as error:
        if _is_before_writing(error):
            raise NotSent(_manner(error)) from None
        raise AnswerLost(_manner(error)) from None
    except HTTPError as error:
        raise AnswerLost(type(error).__name__) from None
    with response:
        return Reply(response.status_code, response.headers, _body(response, max_bytes))


def _body(response: requests.Response, max_bytes: int) -> bytes:
    """Read the body to its end: only the read that finds nothing more notices a body that was cut short."""
    body = b""
    try:
        while part := response.raw.read(max_bytes + 1 - len(body), decode_content=False):
            body += part
            if len(body) > max_bytes:
                raise AnswerLost("AnswerTooLarge")
    except (HTTPError, OSError) as error:
        raise AnswerLost(type(error).__name__) from None
    return body


def _is_before_writing(error: requests.RequestException) -> bool:
    unusable = requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema
    return isinstance(error, unusable) or isinstance(_reason(error), ConnectTimeoutError)


def _manner(error: requests.RequestException) -> str:
    """Name the class of the innermost cause: enough for a log, and free of addresses."""
    return type(_reason(error) or error).__name__


def _reason(error: requests.RequestException) -> object:
    inner = error.args[0] if error.args else None
    return inner.reason if isinstance(inner, MaxRetryError) else inner


class _DeadlineStream(io.RawIOBase):
    """A socket's incoming side that ends at one deadline, however slowly the bytes drip."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stream = sock.makefile("rb", buffering=0)
        self._deadline = time.monotonic() + (sock.gettimeout() or 0.0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("timed out")
        self._sock.settimeout(remaining)
        return self._stream.readinto(buffer)

    def close(self) -> None:
        self._stream.close()
        super().close()


class _DeadlineResponse(http.client.HTTPResponse):
    """An HTTP response that reads head and body against one deadline: the socket's time-out when reading begins."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp.close()
        self.fp = io.BufferedReader(_DeadlineStream(sock))


class _Connecting(HTTPConnection):
    """What both kinds of connection add: a failure to connect is distinguished from a failure to exchange."""

    response_class = _DeadlineResponse
    _last_used = 0.0

    @property
    def is_connected(self) -> bool:
        return time.monotonic() - self._last_used < _MAX_IDLE_SECONDS and super().is_connected

    def connect(self) -> None:
        try:
            super().connect()
        except NewConnectionError:
            raise
        except (OSError, HTTPError, ssl.CertificateError) as error:
            raise NewConnectionError(self, type(error).__name__) from error

    def request(self, *args: Any, **kwargs: Any) -> None:
        self._last_used = time.monotonic()
        super().request(*args, **kwargs)


class _PlainConnection(_Connecting):
    """An HTTP connection with both."""


class _TlsConnection(_Connecting, HTTPSConnection):
    """An HTTPS connection with both."""


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):
    """The adapter of `requests`, with our kinds of connection."""

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **kwargs: Any) -> None:
        self.poolmanager = urllib3.PoolManager(num_pools=connections, maxsize=maxsize, block=block, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _TlsPool}
