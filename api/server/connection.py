"""One client's connection: what it sends and reads, and until when it must have done so."""

import struct
from array import array
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, auto
from fcntl import ioctl
from socket import SHUT_WR, SO_ERROR, SO_LINGER, SOL_SOCKET, socket
from termios import TIOCOUTQ
from time import monotonic

from api.server.http1 import Request, RequestReader

READ_BYTES = 65_536
BYTES_EACH_TIME = 65_536
SEND_BUFFER_BYTES = 65_536
"""How much of an answer the kernel keeps for a client: it would take megabytes, and keep them after we have closed."""

DRAIN_SECONDS = 2.0
"""How long what a client still sends is read after the last answer, so that it sees the answer and not a reset."""

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_NOTHING = memoryview(b"")
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True)
class Deadlines:
    """How many seconds a client has for a head and for each BYTES_EACH_TIME of a body or an answer, and between two."""

    request_seconds: float
    idle_seconds: float

    def of_bytes(self, count: int) -> float:
        """Return the seconds that a client has for more than so many bytes."""
        return self.request_seconds * (1 + count / BYTES_EACH_TIME)


class State(Enum):
    """Who has a connection: the thread that leads, unless it is BUSY."""

    READING = auto()
    """Its next request is awaited."""
    BUSY = auto()
    """Its request waits for a slot, or a thread answers it."""
    SUSPENDED = auto()
    """Its client waits for a change."""
    WRITING = auto()
    """Its client has not taken the whole answer yet."""
    DRAINING = auto()
    """It has had its last answer."""
    UNREAD = auto()
    """Its client sends no more, and has not read its last answer yet. It is not watched."""
    CLOSED = auto()


class Connection:
    """A connected socket, which never blocks, and the requests that come from it."""

    def __init__(self, sock: socket, address: str, deadlines: Deadlines) -> None:
        self.sock = sock
        self.address = address
        self.reader = RequestReader()
        self.state = State.BUSY
        self.deadline = monotonic() + deadlines.request_seconds
        self.watched_for = 0
        """Of which event the selector tells, of `selectors`; 0 for none."""
        self.closes_after_writing = False
        self._deadlines = deadlines
        self._unsent = _NOTHING
        self._timed: tuple[Request, bool] | None = None
        self._timed_since = 0.0

    def receive(self) -> bool:
        """Read what has arrived; return whether more can come. Raises OSError where the connection is broken."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return True
        if not data:
            return False
        self.reader.feed(data)
        request = self.reader.current
        if request is not None and request.has_head and request.expects_continue:
            request.expects_continue = False
            self.sock.send(_CONTINUE)
        self._set_deadline()
        return True

    def expect_request(self) -> None:
        """Give the client time for its next request, or for the rest of one that has begun."""
        self.deadline = monotonic() + self._deadlines.idle_seconds
        self._timed = None
        self._set_deadline()

    def start_writing(self, data: bytes, *, closes: bool) -> bool:
        """Send an answer; return whether all of it has gone. Raises OSError where the connection is broken."""
        self.closes_after_writing = closes
        self._unsent = memoryview(data)
        self.deadline = monotonic() + self._deadlines.request_seconds
        return self._send() == len(data)

    def go_on_writing(self) -> bool:
        """Send more of an answer to a client that has read; return whether all of it has gone. Raises OSError."""
        self.deadline += self._deadlines.of_bytes(self._send()) - self._deadlines.of_bytes(0)
        return not self._unsent

    @property
    def unsent_bytes(self) -> int:
        """How much of an answer the kernel has not taken yet."""
        return len(self._unsent)

    def start_draining(self) -> None:
        """Send no more. Raises OSError where the connection is broken."""
        unread = self.unread_bytes()
        self.sock.shutdown(SHUT_WR)
        self.deadline = monotonic() + (self._deadlines.of_bytes(unread) if unread else DRAIN_SECONDS)

    def drain(self) -> bool:
        """Throw away what has arrived; return whether more can come. Raises OSError."""
        with suppress(BlockingIOError):
            return bool(self.sock.recv(READ_BYTES))
        return True

    def unread_bytes(self) -> int:
        """Return how much of what the kernel has taken the client has not; 0 where the connection is broken."""
        if self.sock.getsockopt(SOL_SOCKET, SO_ERROR):
            return 0
        unread = array("i", [0])
        ioctl(self.sock, TIOCOUTQ, unread)
        return unread[0]

    def close(self) -> None:
        """Close the socket. What the client has not read is thrown away, or the kernel would keep it for hours."""
        with suppress(OSError):
            if self.unread_bytes():
                self.sock.setsockopt(SOL_SOCKET, SO_LINGER, _RESET)
        self.sock.close()

    def _send(self) -> int:
        try:
            sent = self.sock.send(self._unsent)
        except BlockingIOError:
            return 0
        self._unsent = self._unsent[sent:] if sent < len(self._unsent) else _NOTHING
        return sent

    def _set_deadline(self) -> None:
        request = self.reader.current
        if request is None:
            return
        if self._timed != (request, request.has_head):
            self._timed, self._timed_since = (request, request.has_head), monotonic()
        self.deadline = self._timed_since + self._deadlines.of_bytes(request.body_bytes)
