"""The web server of one process: one thread at a time leads, the others answer.

The thread that leads waits for all sockets. It reads heads and bodies under deadlines, before a slot of work is taken,
and then answers the first whole request itself, while another leads. So no request passes from thread to thread, and a
client that sends or reads slowly holds nothing but its socket. One that long-polls or streams holds no thread either
(api/server/suspended.py).
"""

import socket
from collections import Counter, deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from heapq import nsmallest
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector
from threading import Event, Lock, Thread
from time import monotonic

import structlog

from api.http.framework.error_responses import bare_refusal
from api.http.framework.waiting import WHILE_WAITING
from api.http.streaming.long_poll import RequestSlot
from api.server.connection import Connection, ConnectionLimits, Deadlines, State
from api.server.http1 import RefusedRequest, Request
from api.server.lanes import Lane, Lanes, opens_checkout
from api.server.suspended import SuspendedRequest, SuspendedRequests
from api.server.wsgi import Wsgi, call, environ_of, response, stream_head

TICK_SECONDS = 0.25
LOG_EVERY_SECONDS = 10.0

MAX_UNSENT_BYTES = 64 << 20
"""How much of all answers together a process keeps for clients that read slowly."""

_EVICTED_AT_ONCE = 16
_TIMED = (State.READING, State.WRITING, State.DRAINING, State.UNREAD)
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
    """Serves an application on a listening socket. There have to be more threads than slots and requests that may have
    released theirs: one leads. `on_tick` is called every TICK_SECONDS.
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
    ) -> None:
        self._listener = listener
        self._port = listener.getsockname()[1]
        self._application = application
        self._lanes = lanes
        self._deadlines = deadlines
        self._limits = limits
        self._threads = threads
        self._grace_seconds = grace_seconds
        self._on_tick = on_tick
        self._is_unlimited = lru_cache(maxsize=10_000)(limits.is_unlimited)
        self._leading = Lock()
        self._started = self._idle = 0
        self._selector = DefaultSelector()
        self._calls: deque[Callable[[], None]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._counting = Lock()
        self._connections: set[Connection] = set()
        self._of_address = Counter[str]()
        self._ended_early = Counter[str]()
        self._next_tick = self._next_log = 0.0
        self._stop_by: float | None = None
        self._stopped = Event()
        self._suspended = SuspendedRequests(self)
        lanes.on_room = self._wake

    def run(self) -> None:
        """Serve until `stop` was called, and then until all clients are answered or the grace time is over."""
        for sock in (self._listener, self._wake_reader, self._wake_writer):
            sock.setblocking(False)  # noqa: FBT003 - as sockets have it
        for sock in (self._listener, self._wake_reader):
            self._selector.register(sock, EVENT_READ, None)
        self._start_thread()
        self._stopped.wait()

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
        self._selector.register(connection.sock, event, connection)
        connection.state = state  # Last: from now on, the thread that leads may do anything with it.

    def unwatch(self, connection: Connection) -> None:
        """Watch a connection no more."""
        self._selector.unregister(connection.sock)

    def answer_again(self, connection: Connection, request: Request) -> None:
        """Have the application answer a request that has waited."""
        connection.state = State.BUSY
        self._lanes.put(Task(connection, request, Lane.RESUMED, was_suspended=True))

    def drain(self, connection: Connection) -> None:
        """Close a connection, which is not watched, once its client has read everything."""
        try:
            connection.start_draining()
        except OSError:
            self.close(connection)
        else:
            self.watch(connection, State.DRAINING)

    def close(self, connection: Connection) -> None:
        """Close a connection, which is not watched."""
        connection.state = State.CLOSED
        connection.close()
        with self._counting:
            self._connections.discard(connection)
            self._of_address[connection.address] -= 1
            if not self._of_address[connection.address]:
                del self._of_address[connection.address]

    def _start_thread(self) -> None:
        self._started += 1
        self._idle += 1
        Thread(target=self._work, name=f"web-{self._started}", daemon=True).start()

    def _work(self) -> None:
        while (task := self._next_task()) is not None:
            with self._counting:
                self._idle -= 1
                if not self._idle and self._started < self._threads:
                    self._start_thread()
            try:
                self._answer(task)
            except Exception:  # noqa: BLE001 - a fault of ours costs its own connection alone
                _log.exception("request_not_answered")
                self.close(task.connection)
            finally:
                self._lanes.finish()
            with self._counting:
                self._idle += 1

    def _next_task(self) -> Task | None:
        """Return a task to answer, in its slot; lead until there is one. None once the server has stopped."""
        task = self._lanes.take()
        if task is not None:
            return task
        with self._leading:
            while not self._stopped.is_set():
                task = self._lanes.take()
                if task is not None:
                    return task
                try:
                    self._lead()
                except Exception:  # noqa: BLE001 - the next round goes on with the other connections
                    _log.exception("web_server_fault")
        return None

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
        if state is State.SUSPENDED:
            self._suspended.on_readable(connection)
            return
        try:
            if state is State.READING:
                self._read(connection)
            elif state is State.WRITING and connection.go_on_writing():
                self.unwatch(connection)
                self._after_writing(connection)
            elif state is State.DRAINING and not connection.drain():
                self._end(connection)
        except OSError:
            self._hang_up(connection)

    def _read(self, connection: Connection) -> None:
        if not connection.receive():
            connection.reader.end(RefusedRequest("BAD_REQUEST"))
        reader = connection.reader
        if reader.ready or reader.is_over:
            self.unwatch(connection)
            self._proceed(connection)

    def _proceed(self, connection: Connection) -> None:
        """Go on with a connection that is not watched: with its next request, or without one."""
        reader = connection.reader
        connection.state = State.BUSY
        if reader.ready:
            request = reader.ready.popleft()
            opens = opens_checkout(request.method, request.target)
            if not self._lanes.put(Task(connection, request, request.lane), opens_checkout=opens):
                self._refuse(connection, RefusedRequest("SERVER_BUSY"))
        elif reader.refusal is not None:
            self._refuse(connection, reader.refusal)
        elif reader.is_over or (self.is_stopping and connection.reader.current is None):
            self.drain(connection)
        else:
            connection.expect_request()
            self.watch(connection, State.READING)

    def _answer(self, task: Task) -> None:
        connection, request = task.connection, task.request
        slot = RequestSlot(was_suspended=task.was_suspended)
        environ = environ_of(request, connection.address, self._port, slot)
        environ[WHILE_WAITING] = self._lanes.released
        try:
            head, body = call(self._application, environ)
        except Exception:  # noqa: BLE001 - a fault of ours is one answer, and no more
            _log.exception("request_failed")
            self._refuse(connection, RefusedRequest("INTERNAL_ERROR"))
            return
        if slot.held is not None:
            opening = stream_head(head) + slot.opening if slot.opening else b""
            waits = SuspendedRequest(self._suspended, connection, request, slot.held, opening)
            self.call_soon(partial(self._suspended.add, waits))
        elif request.cut is not None:
            self._refuse(connection, request.cut)
        else:
            closes = not request.keeps_connection or self.is_stopping
            self._send(connection, response(head, body, request, closes=closes), closes=closes)

    def _refuse(self, connection: Connection, refusal: RefusedRequest) -> None:
        self._ended_early[refusal.code.lower()] += 1
        head, body = bare_refusal(refusal.code)
        self._send(connection, response(head, body, None, closes=True), closes=True)

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

    def _hang_up(self, connection: Connection) -> None:
        if connection.state is not State.UNREAD:
            self.unwatch(connection)
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
        with self._counting:
            self._connections.add(connection)
            self._of_address[address] += 1
            are_many = self._of_address[address] > self._limits.of_an_address
        if are_many and not self._is_unlimited(address):
            self._ended_early["connections_of_an_address"] += 1
            self.close(connection)
            return True
        self.watch(connection, State.READING)
        if len(self._connections) - len(self._suspended) > self._limits.most:
            self._make_room()
        return True

    def _make_room(self) -> None:
        """Close the connections that have the least time left, of those whose client we wait for."""
        timed = [connection for connection in list(self._connections) if connection.state in _TIMED]
        for connection in nsmallest(_EVICTED_AT_ONCE, timed, key=lambda connection: connection.deadline):
            self._ended_early["connections_of_the_process"] += 1
            self._hang_up(connection)

    def _tick(self, now: float) -> None:
        self._on_tick()
        connections = list(self._connections)
        for connection in connections:
            if connection.state in _TIMED and now >= connection.deadline:
                self._on_deadline(connection)
            elif connection.state is State.UNREAD and not connection.unread_bytes():
                self.close(connection)
        self._bound_unsent(connections)
        if self._stop_by is not None:
            has_open = any(connection.state not in _ANSWERED for connection in list(self._connections))
            if now >= self._stop_by or not has_open:
                self._stopped.set()
        if now >= self._next_log:
            self._next_log = now + LOG_EVERY_SECONDS
            self._log_ended_early()

    def _bound_unsent(self, connections: list[Connection]) -> None:
        writing = [connection for connection in connections if connection.state is State.WRITING]
        unsent = sum(connection.unsent_bytes for connection in writing)
        for connection in sorted(writing, key=lambda connection: connection.deadline):
            if unsent <= MAX_UNSENT_BYTES:
                return
            unsent -= connection.unsent_bytes
            self._ended_early["unsent_bytes_of_the_process"] += 1
            self._hang_up(connection)

    def _on_deadline(self, connection: Connection) -> None:
        reader = connection.reader
        if connection.state is State.READING and reader.current is not None:
            reader.end(RefusedRequest("REQUEST_TIMEOUT"))
            self.unwatch(connection)
            self._proceed(connection)
            return
        if connection.unsent_bytes or connection.unread_bytes():
            self._ended_early["answer_not_read"] += 1
        self._hang_up(connection)

    def _begin_to_stop(self) -> None:
        if self._stop_by is not None:
            return
        self._stop_by = monotonic() + self._grace_seconds
        while self._accept():
            pass  # These clients have connected, and count on an answer.
        self._selector.unregister(self._listener)
        self._listener.close()
        self._suspended.release_all()
        for connection in list(self._connections):
            self._on_event(connection)
            if connection.state is State.READING and connection.reader.current is None:
                self.unwatch(connection)
                self.drain(connection)

    def _wake(self) -> None:
        with suppress(BlockingIOError):  # So many bytes wait there that it wakes anyway.
            self._wake_writer.send(b"\0")

    def _log_ended_early(self) -> None:
        if self._ended_early:
            _log.warning("connections_ended_early", **dict(self._ended_early))
            self._ended_early.clear()
