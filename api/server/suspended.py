"""Requests that wait for a change: their clients long-poll or stream, and hold no thread.

The application suspends a request through its RequestSlot. The thread that leads the server watches its socket, and
alone touches it. A poll is answered by passing its request through the application again; a stream is written from
here.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from socket import MSG_PEEK
from typing import Protocol

from api.http.streaming.long_poll import SuspendedAnswer
from api.server.connection import Connection, State
from api.server.http1 import Request


class Server(Protocol):
    """What suspended requests need of their server. Its methods are called by the thread that leads."""

    @property
    def is_stopping(self) -> bool:
        """Whether nobody may wait any more."""

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have the thread that leads call something. Any thread may call this."""

    def watch(self, connection: Connection, state: State) -> None:
        """Watch a connection for what its state awaits."""

    def unwatch(self, connection: Connection) -> None:
        """Watch a connection no more."""

    def answer_again(self, connection: Connection, request: Request) -> None:
        """Have the application answer a request that has waited."""

    def drain(self, connection: Connection) -> None:
        """Close a connection once its client has read everything."""

    def close(self, connection: Connection) -> None:
        """Close a connection at once."""


@dataclass(eq=False)
class SuspendedRequest:
    """A request whose client waits, as the change notifier knows it. `opening` begins the answer of a stream."""

    requests: "SuspendedRequests"
    connection: Connection
    request: Request
    held: SuspendedAnswer
    opening: bytes

    def resume(self) -> None:
        """Answer the request now, as if it had just arrived."""
        self.requests.call_soon(partial(self.requests.resume, self))

    def send(self, data: bytes) -> None:
        """Send a part of the response; drop a client that does not read."""
        self.requests.call_soon(partial(self.requests.send, self, data))

    def close(self) -> None:
        """End the response."""
        self.requests.call_soon(partial(self.requests.end, self))


class SuspendedRequests:
    """The suspended requests of one server. Only the thread that leads calls its methods, `call_soon` excepted."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._of: dict[Connection, SuspendedRequest] = {}
        self.call_soon = server.call_soon

    def __len__(self) -> int:
        return len(self._of)

    def add(self, suspended: SuspendedRequest) -> None:
        """Let a request wait, or end it at once if the server stops."""
        self._of[suspended.connection] = suspended
        self._server.watch(suspended.connection, State.SUSPENDED)
        if suspended.opening:
            self.send(suspended, suspended.opening)
        if suspended.connection in self._of:
            suspended.held.start(suspended)
            if self._server.is_stopping:
                self._release(suspended)

    def resume(self, suspended: SuspendedRequest) -> None:
        """Answer a request, unless its client has gone."""
        if self._take(suspended):
            self._server.answer_again(suspended.connection, suspended.request)

    def send(self, suspended: SuspendedRequest, data: bytes) -> None:
        """Send a part of a stream; drop a client that has gone, or has not read what was sent before."""
        if suspended.connection not in self._of:
            return
        is_sent = False
        with suppress(OSError):
            is_sent = suspended.connection.sock.send(data) == len(data)
        if not is_sent:
            self._drop(suspended)

    def end(self, suspended: SuspendedRequest) -> None:
        """End a stream."""
        if self._take(suspended):
            self._server.drain(suspended.connection)

    def on_readable(self, connection: Connection) -> None:
        """Drop a client that has gone; leave a next request until this one is answered."""
        suspended = self._of[connection]
        try:
            has_gone = not connection.sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            has_gone = True
        if has_gone:
            self._drop(suspended)
        else:
            self._server.unwatch(connection)

    def release_all(self) -> None:
        """Answer every poll and end every stream, because the server stops."""
        for suspended in list(self._of.values()):
            self._release(suspended)

    def _release(self, suspended: SuspendedRequest) -> None:
        if suspended.opening:
            self.end(suspended)
        else:
            self.resume(suspended)

    def _drop(self, suspended: SuspendedRequest) -> None:
        if self._take(suspended):
            self._server.close(suspended.connection)

    def _take(self, suspended: SuspendedRequest) -> bool:
        if self._of.pop(suspended.connection, None) is None:
            return False
        suspended.held.leave()
        return True
