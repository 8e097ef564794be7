"""Responses that wait for a change: long polls, and streams of server-sent events (WHATWG HTML, 9.2).

On a web server that can suspend a request (api/server/suspended.py), a waiting client holds no thread; on others
the request's own thread waits.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from queue import SimpleQueue
from time import monotonic
from typing import Any, Protocol

from flask import Response, g, request

from api.http.framework import json
from api.http.streaming.notifier import ChangeNotifier, Subscriber, expiry_of
from ledger.session.values import Status
from payments.checkout.next_action import NextAction
from projections.sessions import SessionRow

REQUEST_SLOT = "daftari.place"
"""The WSGI key of the RequestSlot of a request, on a server that can suspend it."""

EVENT_STREAM = "text/event-stream"
HEARTBEAT_SECONDS = 15
RECONNECT_AFTER_MILLISECONDS = 2_000

SETTLED = frozenset({Status.ORDER_CREATED, Status.FAILED, Status.EXPIRED})
"""The statuses that end a stream: the buyer waits for nothing after them."""

_HEARTBEAT = b":\n\n"
_RETRY = b"retry: %d\n\n" % RECONNECT_AFTER_MILLISECONDS

Show = Callable[[SessionRow, NextAction], dict[str, Any]]


class Connection(Protocol):
    """The connection to a waiting client. Its methods return at once, and may be called from any thread."""

    def resume(self) -> None:
        """Answer the request now, as if it had just arrived."""

    def send(self, data: bytes) -> None:
        """Send a part of the response; a client that does not read is disconnected."""

    def close(self) -> None:
        """End the response."""


class SuspendedAnswer(Subscriber):
    """A subscriber with a connection to its client, which is known once it starts to wait."""

    connection: Connection

    def __init__(
        self,
        notifier: ChangeNotifier,
        user_id: int,
        seconds: float,
        row: SessionRow | None = None,
        version: int = 0,
    ) -> None:
        super().__init__(user_id, row, version)
        self.ends_at = monotonic() + seconds
        self._notifier = notifier
        notifier.register(self)

    def start(self, connection: Connection) -> None:
        """Begin to wait for this client."""
        self.connection = connection
        self._notifier.start(self)

    def leave(self) -> None:
        """Stop waiting: the client has disconnected."""
        self._notifier.leave(self)


class Poll(SuspendedAnswer):
    """A request that is answered at a change, or when its time is over."""

    def notify(self, row: SessionRow | None, next_action: NextAction | None) -> bool:  # noqa: ARG002 - the view reads them
        """Have the request answered."""
        self.connection.resume()
        return False

    def on_tick(self, now_seconds: float) -> bool:
        """Have the request answered when its time is over."""
        if now_seconds < self.ends_at:
            return True
        self.connection.resume()
        return False


class Stream(SuspendedAnswer):
    """A response that goes on: server-sent events, and heartbeats, until its time is over."""

    _heartbeat_at: float

    def start(self, connection: Connection) -> None:
        """Begin to wait for this client."""
        self._heartbeat_at = monotonic() + HEARTBEAT_SECONDS
        super().start(connection)

    def on_tick(self, now_seconds: float) -> bool:
        """Send a heartbeat to the client and the proxies between; end when the time is over."""
        if now_seconds >= self.ends_at:
            self.connection.close()
            return False
        if now_seconds >= self._heartbeat_at:
            self._heartbeat_at = now_seconds + HEARTBEAT_SECONDS
            self.connection.send(_HEARTBEAT)
        return True


class SessionStream(Stream):
    """The status of a session at the start and at each change, until the session is settled."""

    wants_rows = True

    def __init__(
        self, notifier: ChangeNotifier, row: SessionRow, version: int, seconds: float, show: Show
    ) -> None:
        super().__init__(notifier, row.user_id, seconds, row, version)
        self._show = show

    def notify(self, row: SessionRow | None, next_action: NextAction | None) -> bool:
        """Send the status; end with that of a settled session."""
        assert row is not None
        assert next_action is not None
        self.version, self.expires_at = row.version, expiry_of(row)
        self.connection.send(self.frame(row, next_action))
        if row.session_status in SETTLED:
            self.connection.close()
            return False
        return True

    def frame(self, row: SessionRow, next_action: NextAction) -> bytes:
        """Return a status as one server-sent event."""
        return b"id: %d\ndata: %s\n\n" % (row.version, json.encode(self._show(row, next_action)))


@dataclass
class RequestSlot:
    """What a server that can suspend requests gives each of them, and what it finds there afterwards.

    `was_suspended` says that the request is answered for the second time, after waiting. A view whose request is to
    wait sets `held`; of its response only `opening` is sent, by a stream.
    """

    was_suspended: bool = False
    held: SuspendedAnswer | None = None
    opening: bytes = b""


@dataclass
class ThreadConnection:
    """The connection of a request whose own thread waits, on a server that cannot suspend requests."""

    _parts: SimpleQueue[bytes | None] = field(default_factory=SimpleQueue)

    def resume(self) -> None:
        """Wake the thread, which answers."""
        self._parts.put(None)

    def send(self, data: bytes) -> None:
        """Give the thread something to send."""
        self._parts.put(data)

    def close(self) -> None:
        """Let the thread end the answer."""
        self._parts.put(None)

    def parts(self) -> Iterator[bytes]:
        """Yield what is to be sent, as it comes."""
        while (part := self._parts.get()) is not None:
            yield part


def wait_for_change(
    notifier: ChangeNotifier, read: Callable[[], SessionRow], version: int | None, seconds: float
) -> SessionRow | Response:
    """Return the session's row as `read` returns it, once it is beyond `version`, or after `seconds`.

    Without a version, any change from now on counts. A Response means that the server suspends the request: return
    it, and the view is called again when it is time to answer. Raises as ChangeNotifier.register does.
    """
    row = read()
    known = row.version if version is None else version
    slot: RequestSlot | None = request.environ.get(REQUEST_SLOT)
    is_over = slot is not None and slot.was_suspended
    if is_over or seconds <= 0 or request.method != "GET" or _has_changed(row, known):
        return row
    poll = Poll(notifier, row.user_id, seconds, row, known)
    if slot is not None:
        slot.held = poll
        g.is_suspended = True
        return Response()
    connection = ThreadConnection()
    poll.start(connection)
    assert not list(connection.parts())
    return read()


def stream(
    notifier: ChangeNotifier,
    row: SessionRow,
    next_action: NextAction,
    seen: int | None,
    seconds: float,
    show: Show,
) -> Response:
    """Answer with the session's changes beyond version `seen` as server-sent events, for some seconds at most.

    204 if everything was seen and nothing more comes, which tells an EventSource to stop. Raises as
    ChangeNotifier.register does.
    """
    has_changed = seen is None or _has_changed(row, seen)
    if row.session_status in SETTLED and (not has_changed or (seen is not None and seen >= row.version)):
        return Response(status=204)
    if request.method != "GET":
        return _event_stream(b"")
    held = SessionStream(notifier, row, row.version if has_changed else seen or 0, seconds, show)
    first = held.frame(row, next_action) if has_changed else b""
    if row.session_status in SETTLED:
        held.leave()
        return _event_stream(_RETRY + first)
    return begin_stream(held, first)


def begin_stream(held: Stream, first: bytes = b"") -> Response:
    """Answer with a stream, which begins with `first` and goes on as its notifier has it."""
    opening = _RETRY + first
    slot: RequestSlot | None = request.environ.get(REQUEST_SLOT)
    if slot is not None:
        slot.held, slot.opening = held, opening
        return _event_stream(b"")
    response = _event_stream(_send_from_thread(held, opening))
    response.call_on_close(held.leave)
    return response


def _has_changed(row: SessionRow, version: int) -> bool:
    """Tell whether the session is beyond `version`, or has expired without an event that says so yet."""
    return row.version > version or (row.session_status == Status.EXPIRED and row.ended_at is None)


def _send_from_thread(held: SuspendedAnswer, opening: bytes) -> Iterator[bytes]:
    connection = ThreadConnection()
    held.start(connection)
    yield opening
    yield from connection.parts()


def _event_stream(body: bytes | Iterator[bytes]) -> Response:
    # nginx buffers responses unless this header forbids it.
    return Response(
        body, mimetype=EVENT_STREAM, headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    )
