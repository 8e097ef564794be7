"""Connections to the hosts of webhook endpoints, kept for a moment for the next message.

Of an answer the head is read. A connection is kept where what follows the head is short and its length is told; what
follows is passed over, and where it does not come to its end in time the connection is not used again.
"""

import asyncio
import re
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from uuid import UUID

CONNECT_SECONDS = 5.0
MAX_HEAD_BYTES = 32 << 10
MAX_HEADS = 5
"""An answer may be preceded by informational ones."""

MAX_BODY_BYTES = 16 << 10
"""Beyond so much no answer is passed over: its connection ends."""

IDLE_SECONDS = 2.0
"""For so long a connection waits for the next message. Many servers end theirs after 5 seconds."""

MAX_AGE_SECONDS = 60.0
"""Then the host is looked up anew, which may have moved."""

_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: [^\r\n]*)?\r\n")
_LENGTH = re.compile(r"[0-9]{1,9}")
_END_OF_HEAD = b"\r\n\r\n"
_FINAL = 200
_WITHOUT_BODY = (204, 304)


class NotPosted(Exception):
    """There was no answer; `reason` says why in a few words of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class ConnectionEnded(NotPosted):
    """The other side ended the connection before it had answered anything."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The head of an answer: its status, and Retry-After as it was sent, "" without one."""

    status: int
    retry_after: str


class Origin(NamedTuple):
    """Where connections lead: to a host by its name, which TLS verifies, and a port; and whose they are.

    Endpoints share no connection: what one answers can never be taken for the answer of another.
    """

    owner: UUID
    is_encrypted: bool
    host: str
    port: int


class Connections:
    """Opens connections, and keeps those that can be used again. It belongs to one event loop."""

    def __init__(self, tls: Callable[[], ssl.SSLContext]) -> None:
        self._tls = tls
        self._idle: dict[Origin, list[Connection]] = {}

    def kept(self, origin: Origin) -> "Connection | None":
        """Return a connection that is ready for the next message, if one was kept."""
        idle = self._idle.get(origin, [])
        while idle:
            connection = idle.pop()
            if connection.is_ready:
                return connection
            connection.abort()
        return None

    async def open(self, origin: Origin, addresses: Sequence[str]) -> "Connection":
        """Connect to the first address that answers: by its number, so that no name service is asked once more.

        Raises OSError.
        """
        failure = OSError()
        for address in addresses:
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    _, connection = await asyncio.get_running_loop().create_connection(
                        Connection,
                        address,
                        origin.port,
                        ssl=self._tls() if origin.is_encrypted else None,
                        server_hostname=origin.host if origin.is_encrypted else None,
                    )
                    return connection
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
        raise failure

    def keep(self, origin: Origin, connection: "Connection") -> None:
        """Keep a connection for IDLE_SECONDS, if it can be used again."""
        loop = asyncio.get_running_loop()
        if not connection.may_be_kept or loop.time() - connection.opened_at > MAX_AGE_SECONDS:
            connection.abort()
            return
        self._idle.setdefault(origin, []).append(connection)
        loop.call_later(IDLE_SECONDS, self._end_if_idle, origin, connection, connection.answers)

    def _end_if_idle(self, origin: Origin, connection: "Connection", answers: int) -> None:
        idle = self._idle.get(origin, [])
        if connection.answers == answers and connection in idle:
            idle.remove(connection)
            connection.abort()
        if not idle:
            self._idle.pop(origin, None)


class Connection(asyncio.Protocol):
    """One connection. `answers` is how many it has given."""

    def __init__(self) -> None:
        self.opened_at = asyncio.get_running_loop().time()
        self.answers = 0
        self._transport: asyncio.Transport | None = None
        self._awaited: asyncio.Future[Reply] | None = None
        self._received = bytearray()
        self._heads = 0
        self._left: int | None = None

    @property
    def may_be_kept(self) -> bool:
        """Whether what follows the last head has an end that is worth to wait for."""
        return self._left is not None and self._transport is not None and not self._transport.is_closing()

    @property
    def is_ready(self) -> bool:
        """Whether the last answer came to its end, and nothing after it."""
        return self._left == 0 and self.may_be_kept

    async def ask(self, request: bytes) -> Reply:
        """Send a request; return the head of its answer. Raises NotPosted, ConnectionEnded, OSError."""
        assert self._transport is not None
        awaited: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._awaited = awaited
        self._received, self._heads, self._left = bytearray(), 0, None
        self._transport.write(request)
        reply = await awaited
        self.answers += 1
        return reply

    def abort(self) -> None:
        """End the connection: not in order, which would wait for the other side."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Know where to write."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read a head, or pass over what follows one."""
        if self._awaited is None or self._awaited.done():
            self._pass_over(len(data))
            return
        self._received += data
        try:
            while (reply := self._next_head()) is not None:
                if reply.status >= _FINAL:
                    self._awaited.set_result(reply)
                    self._pass_over(len(self._received))
                    return
        except NotPosted as failure:
            self._awaited.set_exception(failure)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell who waits for an answer."""
        if self._awaited is None or self._awaited.done():
            return
        if not self._received and not isinstance(exc, ssl.SSLError):
            self._awaited.set_exception(ConnectionEnded("the connection was closed without an answer"))
        else:
            closed = NotPosted("the connection was closed without an answer")
            self._awaited.set_exception(exc if isinstance(exc, OSError) else closed)

    def _pass_over(self, count: int) -> None:
        if self._left is not None:
            self._left -= count
        if self._left is None or self._left < 0:
            self._left = None
            self.abort()

    def _next_head(self) -> Reply | None:
        """Take a head from what was received; None if it is not there as a whole."""
        end = self._received.find(_END_OF_HEAD)
        if end < 0 <= len(self._received) - MAX_HEAD_BYTES or end > MAX_HEAD_BYTES:
            raise NotPosted("the head of the answer is too long")
        if end < 0:
            return None
        head = bytes(self._received[: end + len(_END_OF_HEAD)])
        del self._received[: len(head)]
        status, self._heads = _STATUS.match(head), self._heads + 1
        if status is None or self._heads > MAX_HEADS:
            raise NotPosted("the answer is not HTTP")
        headers = _headers_of(head[status.end() :])
        code = int(status[2])
        self._left = _length_of_body(code, headers) if status[1] == b"1" else None
        return Reply(code, headers.get("retry-after", ""))


def _headers_of(lines: bytes) -> dict[str, str]:
    """Return headers by their names in lower case; what is no header is left out."""
    found: dict[str, str] = {}
    for line in lines.decode("latin-1").split("\r\n"):
        name, colon, text = line.partition(":")
        if colon:
            name = name.lower()
            found[name] = f"{found[name]}, {text.strip()}" if name in found else text.strip()
    return found


def _length_of_body(status: int, headers: dict[str, str]) -> int | None:
    """Return how much follows a head, None where its connection is not worth to be kept."""
    if "close" in headers.get("connection", "").lower() or "transfer-encoding" in headers:
        return None
    text = "0" if status in _WITHOUT_BODY else headers.get("content-length", "")
    length = int(text) if _LENGTH.fullmatch(text) else None
    return None if length is None or length > MAX_BODY_BYTES else length
