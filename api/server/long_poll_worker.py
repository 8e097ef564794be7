"""gunicorn's threaded worker, which can also set requests aside: a client that waits for news then holds no thread.

A thread that has answered a request stays with its connection for a moment: the next request mostly comes soon, and
need not travel through the main loop, which costs as much as a small request itself.

The application says so by what it leaves in the request's Place. The worker's main loop, which watches idle
connections anyway, watches these too. A poll is answered by letting its request through the application again; a
stream is written to from here. Written for gunicorn 27: it leans on how ThreadWorker passes a connection between its
loop and its threads, and tests/api/server/test_long_poll_worker.py holds the two together.
"""

from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import formatdate
from functools import partial
from select import POLLIN, poll
from selectors import EVENT_READ
from socket import MSG_PEEK, SHUT_WR
from threading import Semaphore, local
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from api.http.streaming.long_poll import REQUEST_SLOT, RequestSlot, SuspendedAnswer

RESUMED_AT_ONCE = 4
"""How many threads may answer those who waited, so that the others go on serving whoever comes."""

LINGER_MILLISECONDS = 100
"""How long a thread waits for its connection's next request before it lets the main loop watch for it."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Suspended(Exception):
    """The application wants this request to wait; its response is not to be sent."""


class SuspendedConnection:
    """A connection whose client waits. The main loop, which alone touches sockets, does what the notifier calls."""

    def __init__(self, worker: "LongPollWorker", conn: Any, request: Any, slot: RequestSlot) -> None:
        assert slot.held is not None
        self.worker = worker
        self.conn = conn
        self.request = request
        self.held: SuspendedAnswer = slot.held
        self.opening = slot.opening

    def resume(self) -> None:
        """Answer the request now, as if it had just come."""
        self.worker.method_queue.defer(self.worker.resume, self)

    def send(self, data: bytes) -> None:
        """Send a part of the answer; a client that does not read is cut off."""
        self.worker.method_queue.defer(self.worker.send, self, data)

    def close(self) -> None:
        """End the answer."""
        self.worker.method_queue.defer(self.worker.end, self)


class RequestAgain:
    """A parser that gives a request once more, then steps back for the connection's own."""

    def __init__(self, conn: Any, request: Any) -> None:
        self._conn = conn
        self._parser = conn.parser
        self._request = request

    def __next__(self) -> Any:
        self._conn.parser = self._parser
        return self._request


class LongPollWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn comes without types
    """A ThreadWorker whose application may set requests aside."""

    alive: bool
    wsgi: Wsgi

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._of_thread = local()
        self._suspended: set[SuspendedConnection] = set()
        self._to_resume: deque[SuspendedConnection] = deque()
        self._resumed: set[Any] = set()
        self._room_to_linger = Semaphore(0)

    def let_linger(self, most: int) -> None:
        """Let so many threads at once stay with their connections; by default none does."""
        self._room_to_linger = Semaphore(most)

    def load_wsgi(self) -> None:
        """Load the application, and offer each of its requests a Place."""
        super().load_wsgi()
        self.wsgi = self._offering_a_slot(self.wsgi)

    def handle(self, conn: Any) -> Any:
        """Answer a connection's request, and those that come right behind it. In one of the worker's threads."""
        is_kept = super().handle(conn)
        while is_kept is True and self._has_more(conn):
            is_kept = super().handle(conn)
        return is_kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Let the application answer; note a request that it wants to wait. In one of the worker's threads."""
        slot = RequestSlot(was_suspended=conn in self._resumed)
        self._of_thread.slot = slot
        try:
            return super().handle_request(req, conn)
        except Suspended:
            conn.suspended = SuspendedConnection(self, conn, req, slot)
            conn.head = self._of_thread.head
            return False
        finally:
            self._of_thread.slot = None

    def finish_request(self, conn: Any, fs: Any) -> None:
        """Go on after a thread has done its part: keep the connection, close it, or set it aside."""
        self._resumed.discard(conn)
        self._resume_more()
        suspended: SuspendedConnection | None = conn.__dict__.pop("suspended", None)
        if suspended is None:
            super().finish_request(conn, fs)
        else:
            self._suspend(suspended, conn.__dict__.pop("head"))

    def set_accept_enabled(self, enabled: bool) -> None:
        """Take new connections, or none; when the worker stops, answer those who wait before it counts who is left."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._let_all_go()

    def is_parent_alive(self) -> bool:
        """Say whether the master lives; without it the worker stops."""
        self.alive = self.alive and super().is_parent_alive()
        return bool(self.alive)

    def resume(self, suspended: SuspendedConnection) -> None:
        """Have a request answered, as soon as one of the threads for it is free."""
        if self._take(suspended):
            self._to_resume.append(suspended)
            self._resume_more()

    def send(self, suspended: SuspendedConnection, data: bytes) -> None:
        """Send a part of a stream; drop a client that has gone or does not read."""
        if suspended not in self._suspended:
            return
        try:
            is_sent = suspended.conn.sock.send(data) == len(data)
        except OSError:
            is_sent = False
        if not is_sent:
            self._drop(suspended)

    def end(self, suspended: SuspendedConnection) -> None:
        """End a stream: what was sent arrives, then the connection closes."""
        if suspended in self._suspended:
            with suppress(OSError):  # The client was quicker.
                suspended.conn.sock.shutdown(SHUT_WR)
            self._drop(suspended)

    def _offering_a_slot(self, application: Wsgi) -> Wsgi:
        def offered(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            slot: RequestSlot | None = getattr(self._of_thread, "slot", None)
            if slot is None:  # HTTP/2: its connections carry several requests and cannot be set aside.
                return application(environ, start_response)

            def noting(status: str, headers: list[tuple[str, str]], *error: Any) -> Any:
                self._of_thread.head = status, headers
                return start_response(status, headers, *error)

            environ[REQUEST_SLOT] = slot
            answer = application(environ, noting)
            if slot.held is None:
                return answer
            close = getattr(answer, "close", None)
            if close is not None:
                close()
            raise Suspended

        return offered

    def _has_more(self, conn: Any) -> bool:
        """Wait a moment for a connection's next request, where not too many threads do so already."""
        if not self.alive or conn in self._resumed or conn.parser.unreader.buf.getvalue():
            return False
        if not self._room_to_linger.acquire(blocking=False):
            return False
        try:
            next_request = poll()
            next_request.register(conn.sock, POLLIN)
            return bool(next_request.poll(LINGER_MILLISECONDS))
        finally:
            self._room_to_linger.release()

    def _suspend(self, suspended: SuspendedConnection, head: tuple[str, list[tuple[str, str]]]) -> None:
        conn = suspended.conn
        conn.sock.settimeout(0)
        self._suspended.add(suspended)
        self.poller.register(conn.sock, EVENT_READ, partial(self._on_readable, suspended))
        if suspended.opening:
            self.send(suspended, _head(*head) + suspended.opening)
        if suspended in self._suspended:
            suspended.held.start(suspended)
        if not self.alive:
            self._let_go(suspended)

    def _on_readable(self, suspended: SuspendedConnection, sock: Any) -> None:
        """The client has gone; or it sends its next request already, which stays where it is until its turn."""
        try:
            has_gone = not sock.recv(1, MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            has_gone = True
        if has_gone:
            self._drop(suspended)
        else:
            self.poller.unregister(sock)

    def _drop(self, suspended: SuspendedConnection) -> None:
        if self._take(suspended):
            self.nr_conns -= 1
            suspended.conn.close()

    def _take(self, suspended: SuspendedConnection) -> bool:
        """Stop watching a connection; return whether it was watched."""
        if suspended not in self._suspended:
            return False
        self._suspended.remove(suspended)
        suspended.held.leave()
        with suppress(KeyError):  # Its client has sent more, and it was left alone since.
            self.poller.unregister(suspended.conn.sock)
        return True

    def _resume_more(self) -> None:
        while self._to_resume and len(self._resumed) < RESUMED_AT_ONCE:
            suspended = self._to_resume.popleft()
            suspended.conn.parser = RequestAgain(suspended.conn, suspended.request)
            self._resumed.add(suspended.conn)
            self.enqueue_req(suspended.conn)

    def _let_go(self, suspended: SuspendedConnection) -> None:
        if suspended.opening:
            self.end(suspended)
        else:
            self.resume(suspended)

    def _let_all_go(self) -> None:
        for suspended in list(self._suspended):
            self._let_go(suspended)


def _head(status: str, headers: list[tuple[str, str]]) -> bytes:
    """Return the head of an answer that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Date: {formatdate(usegmt=True)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")
