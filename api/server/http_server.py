"""The web server of one process: one thread at a time leads, the others answer.

The thread that leads waits for all sockets. It reads heads and bodies under deadlines, before a slot of work is taken,
and then answers the first whole request itself, while another leads (api/server/threads.py). So no request passes from
thread to thread, and a client that sends or reads slowly holds nothing but its socket. One that long-polls or streams
holds no thread either (api/server/suspended.py).
"""

import socket
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Lock
from time import monotonic

import structlog

from api.http.framework.error_responses import bare_refusal
from api.http.streaming.long_poll import REQUEST_SLOT, RequestSlot
from api.server.connection import Connection, Deadlines, State
from api.server.http1 import RefusedRequest, Request
from api.server.lanes import Lane, Lanes, opens_checkout
from api.server.open_connections import TIMED, ConnectionLimits, OpenConnections
from api.server.suspended import SuspendedRequest, SuspendedRequests
from api.server.threads import Threads
from api.server.wsgi import Environ, Headers, Wsgi, call, environ_of, response, stream_head

TICK_SECONDS = 0.25
LOG_EVERY_SECONDS = 10.0

_ANSWERED = (State.DRAINING, State.UNREAD)
_log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Task:
    """A request that is to be answered."""

    connection: Connection
    request: Request
    lane: Lane
    was_suspended: bool = False


class HttpServer:
    """Serves an application on a listening socket. `read_ahead` is given the environments of polls before it is called.

    `on_tick` is called every TICK_SECONDS. `refusal_headers` gives what the server's own refusal of a request carries
    besides.
    """

    def __init__(
        self,
        listener: socket.socket,
        application: Wsgi,
        lanes: Lanes[Task],
        deadlines: Deadlines,
        limits: ConnectionLimits,
        *,
        threads: int,
        grace_seconds: float,
        on_tick: Callable[[], None],
        read_ahead: Callable[[Sequence[Environ]], None],
        refusal_headers: Callable[[Request], Headers],
    ) -> None:
        self._listener = listener
        self._port = listener.getsockname()[1]
        self._application = application
        self._read_ahead = read_ahead
        self._refusal_headers = refusal_headers
        self._lanes = lanes
        self._deadlines = deadlines
        self._threads = Threads(lanes, self._lead, self._do, most=threads)
        self._grace_seconds = grace_seconds
        self._on_tick = on_tick
        self._selector = DefaultSelector()
        self._watching = Lock()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._connections = OpenConnections(limits)
        self._next_tick = self._next_log = 0.0
        self._stop_by: float | None = None
        self._suspended = SuspendedRequests(self)
        lanes.on_room = self._wake

    def run(self) -> None:
        """Serve until `stop` was called, and then until all clients are answered or the grace time is over."""
        for sock in (self._listener, self._wake_reader, self._wake_writer):
            sock.setblocking(False)  # noqa: FBT003 - as sockets have it
        for sock in (self._listener, self._wake_reader):
            self._selector.register(sock, EVENT_READ, None)
        self._threads.run()

    def stop(self) -> None:
        """Accept no more, and answer those who wait. A signal handler may call this."""
        self.call_soon(self._begin_to_stop)

    @property
    def is_stopping(self) -> bool:
        """Whether connections end with their next answer."""
        return self._stop_by is not None

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have the thread that leads call something. Any thread may call this."""
        self._calls.append(call)
        self._wake()

    def watch(self, connection: Connection, state: State) -> None:
        """Watch a connection for what its state awaits."""
        event = EVENT_WRITE if state is State.WRITING else EVENT_READ
        with self._watching:
            if not connection.watched_for:
                self._selector.register(connection.sock, event, connection)
            elif connection.watched_for != event:
                self._selector.modify(connection.sock, event, connection)
            connection.watched_for = event
            connection.state = state  # Last: from now on, the thread that leads may do anything with it.

    def unwatch(self, connection: Connection) -> None:
        """Watch a connection no more, if it is watched."""
        with self._watching:
            self._unwatch(connection)

    def answer_again(self, connection: Connection, request: Request) -> None:
        """Have the application answer a request that has waited."""
        connection.state = State.BUSY
        self._lanes.put(Task(connection, request, Lane.RESUMED, was_suspended=True))

    def drain(self, connection: Connection) -> None:
        """Close a connection once its client has read everything."""
        try:
            connection.start_draining()
        except OSError:
            self.close(connection)
        else:
            self.watch(connection, State.DRAINING)

    def close(self, connection: Connection) -> None:
        """Close a connection."""
        self.unwatch(connection)
        connection.state = State.CLOSED
        connection.close()
        self._connections.discard(connection)

    def _unwatch(self, connection: Connection) -> None:
        if connection.watched_for:
            self._selector.unregister(connection.sock)
            connection.watched_for = 0

    def _do(self, task: Task) -> None:
        if task.lane is Lane.POLLS:
            self._answer_polls(task)
        else:
            self._answer(task, self._environ_of(task))

    def _lead(self) -> None:
        for key, _ in self._selector.select(TICK_SECONDS):
            if key.data is not None:
                self._on_event(key.data)
            elif key.fileobj is self._listener:
                self._accept()
            else:
                with suppress(BlockingIOError):
                    self._wake_reader.recv(4_096)
        while self._calls:
            self._calls.popleft()()
        now = monotonic()
        if now >= self._next_tick:
            self._next_tick = now + TICK_SECONDS
            self._tick(now)

    def _on_event(self, connection: Connection) -> None:
        state = connection.state
        try:
            if state is State.READING:
                self._read(connection)
            elif state is State.BUSY:
                self._leave(connection)
            elif state is State.SUSPENDED:
                self._suspended.on_readable(connection)
            elif state is State.WRITING and connection.go_on_writing():
                self._after_writing(connection)
            elif state is State.DRAINING and not connection.drain():
                self._end(connection)
        except OSError:
            self.close(connection)

    def _leave(self, connection: Connection) -> None:
        """Leave what a client does until its request is answered. Few do anything, so only then it is not watched."""
        with self._watching:
            if connection.state is State.BUSY:
                self._unwatch(connection)

    def _read(self, connection: Connection) -> None:
        if not connection.receive():
            connection.reader.end(RefusedRequest("BAD_REQUEST"))
        reader = connection.reader
        if reader.ready or reader.is_over:
            self._proceed(connection)

    def _proceed(self, connection: Connection) -> None:
        """Go on with a connection: with its next request, or without one."""
        reader = connection.reader
        connection.state = State.BUSY
        if reader.ready:
            request = reader.ready.popleft()
            opens = opens_checkout(request.method, request.target)
            if not self._lanes.put(Task(connection, request, request.lane), opens_checkout=opens):
                self._refuse(connection, RefusedRequest("SERVER_BUSY"), request)
        elif reader.refusal is not None:
            self._refuse(connection, reader.refusal, reader.refused)
        elif reader.is_over or (self.is_stopping and connection.reader.current is None):
            self.drain(connection)
        else:
            connection.expect_request()
            self.watch(connection, State.READING)

    def _answer_polls(self, first: Task) -> None:
        """Answer a poll, and those that have arrived meanwhile, by one read of the database."""
        tasks = [first, *self._lanes.take_polls()]
        environs = [self._environ_of(task) for task in tasks]
        try:
            self._read_ahead(environs)
        except Exception:  # noqa: BLE001 - each is read by itself then, and the faulty one fails alone
            _log.exception("polls_not_read_together")
        for task, environ in zip(tasks, environs, strict=True):
            self._answer(task, environ)

    def _environ_of(self, task: Task) -> Environ:
        slot = RequestSlot(was_suspended=task.was_suspended)
        return environ_of(task.request, task.connection.address, self._port, slot, self._lanes.released)

    def _answer(self, task: Task, environ: Environ) -> None:
        try:
            self._send_answer(task, environ)
        except Exception:  # noqa: BLE001 - a fault of ours costs its own connection alone
            _log.exception("request_not_answered")
            self.close(task.connection)

    def _send_answer(self, task: Task, environ: Environ) -> None:
        connection, request, slot = task.connection, task.request, environ[REQUEST_SLOT]
        try:
            head, body = call(self._application, environ)
        except Exception:  # noqa: BLE001 - a fault of ours is one answer, and no more
            _log.exception("request_failed")
            self._refuse(connection, RefusedRequest("INTERNAL_ERROR"), request)
            return
        if slot.held is not None:
            opening = stream_head(head) + slot.opening if slot.opening else b""
            waits = SuspendedRequest(self._suspended, connection, request, slot.held, opening)
            self.call_soon(partial(self._suspended.add, waits))
        elif request.cut is not None:
            self._refuse(connection, request.cut, request)
        else:
            closes = not request.keeps_connection or self.is_stopping
            self._send(connection, response(head, body, request, closes=closes), closes=closes)

    def _refuse(self, connection: Connection, refusal: RefusedRequest, request: Request | None) -> None:
        """Answer a request, as far as one has been read, without the application."""
        self._connections.ended_early[refusal.code.lower()] += 1
        (status, headers), body = bare_refusal(refusal.code)
        if request is not None:
            headers += self._refusal_headers(request)
        self._send(connection, response((status, headers), body, None, closes=True), closes=True)

    def _send(self, connection: Connection, data: bytes, *, closes: bool) -> None:
        try:
            is_sent = connection.start_writing(data, closes=closes)
        except OSError:
            self.close(connection)
            return
        if is_sent:
            self._after_writing(connection)
        else:
            self.watch(connection, State.WRITING)

    def _after_writing(self, connection: Connection) -> None:
        if connection.closes_after_writing:
            self.drain(connection)
        else:
            self._proceed(connection)

    def _end(self, connection: Connection) -> None:
        """Close a connection whose client sends no more, once it has read everything."""
        self.unwatch(connection)
        connection.state = State.UNREAD
        if not connection.unread_bytes():
            self.close(connection)

    def _accept(self) -> bool:
        """Accept a connection; return whether there was one."""
        try:
            sock, (address, *_) = self._listener.accept()
        except BlockingIOError:
            return False  # Another process was quicker.
        except OSError:
            self._make_room()  # There are no more file descriptors.
            return False
        sock.setblocking(False)  # noqa: FBT003 - as sockets have it
        connection = Connection(sock, address, self._deadlines)
        if not self._connections.add(connection):
            self._connections.ended_early["connections_of_an_address"] += 1
            self.close(connection)
            return True
        self.watch(connection, State.READING)
        if self._connections.in_excess(len(self._suspended)):
            self._make_room()
        return True

    def _make_room(self) -> None:
        for connection in self._connections.soonest_over():
            self._connections.ended_early["connections_of_the_process"] += 1
            self.close(connection)

    def _tick(self, now: float) -> None:
        self._on_tick()
        for connection in self._connections:
            if connection.state in TIMED and now >= connection.deadline:
                self._on_deadline(connection)
            elif connection.state is State.UNREAD and not connection.unread_bytes():
                self.close(connection)
        for connection in self._connections.beyond_unsent_bytes():
            self._connections.ended_early["unsent_bytes_of_the_process"] += 1
            self.close(connection)
        if self._stop_by is not None:
            has_open = any(connection.state not in _ANSWERED for connection in self._connections)
            if now >= self._stop_by or not has_open:
                self._threads.stop()
        if now >= self._next_log:
            self._next_log = now + LOG_EVERY_SECONDS
            self._connections.log_ended_early()

    def _on_deadline(self, connection: Connection) -> None:
        reader = connection.reader
        if connection.state is State.READING and reader.current is not None:
            reader.end(RefusedRequest("REQUEST_TIMEOUT"))
            self._proceed(connection)
            return
        if connection.unsent_bytes or connection.unread_bytes():
            self._connections.ended_early["answer_not_read"] += 1
        self.close(connection)

    def _begin_to_stop(self) -> None:
        if self._stop_by is not None:
            return
        self._stop_by = monotonic() + self._grace_seconds
        while self._accept():
            pass  # These clients have connected, and count on an answer.
        self._selector.unregister(self._listener)
        self._listener.close()
        self._suspended.release_all()
        for connection in self._connections:
            self._on_event(connection)
            if connection.state is State.READING and connection.reader.current is None:
                self.drain(connection)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # So many bytes wait there that it wakes anyway.
            self._wake_writer.send(b"\0")
