"""gunicorn's threaded worker, which can also suspend requests: a client that long-polls then holds no thread.

The application suspends a request through its RequestSlot. The worker's main loop, which watches idle connections
anyway, watches suspended ones too. A poll is answered by passing its request through the application again; a stream
is written from here.

A thread that has answered a request lingers on its connection for a moment: the next request usually comes soon, and
the way through the main loop costs as much as a small request.

Written for gunicorn 27: it depends on how ThreadWorker passes a connection between its loop and its threads, which
tests/api/server/test_long_poll_worker.py checks.
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
"""How many threads may answer suspended requests, so that the others keep serving new ones."""

LINGER_MILLISECONDS = 100
"""How long a thread waits for its connection's next request before the main loop watches for it."""

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Suspended(Exception):
    """The application suspends this request; its response must not be sent."""


class SuspendedConnection:
    """A connection whose client waits. The notifier calls it; the main loop alone touches its socket."""

    def __init__(self, worker: "LongPollWorker", conn: Any, request: Any, slot: RequestSlot) -> None:
        assert slot.held is not None
        self.worker = worker
        self.conn = conn
        self.request = request
        self.held: SuspendedAnswer = slot.held
        self.opening = slot.opening

    def resume(self) -> None:
        """Answer the request now, as if it had just arrived."""
        self.worker.method_queue.defer(self.worker.resume, self)

    def send(self, data: bytes) -> None:
        """Send a part of the response; drop a client that does not read."""
        self.worker.method_queue.defer(self.worker.send, self, data)

    def close(self) -> None:
        """End the response."""
        self.worker.method_queue.defer(self.worker.end, self)


class RequestAgain:
    """A parser that yields a request once more, then restores the connection's own parser."""

    def __init__(self, conn: Any, request: Any) -> None:
        self._conn = conn
        self._parser = conn.parser
        self._request = request

    def __next__(self) -> Any:
        self._conn.parser = self._parser
        return self._request


class LongPollWorker(ThreadWorker):  # type: ignore[misc]  # gunicorn comes without types
    """A ThreadWorker whose application can suspend requests."""

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
        """Let up to `most` threads at once linger on their connections; by default none does."""
        self._room_to_linger = Semaphore(most)

    def load_wsgi(self) -> None:
        """Load the application, and offer each of its requests a RequestSlot."""
        super().load_wsgi()
        self.wsgi = self._offering_a_slot(self.wsgi)

    def handle(self, conn: Any) -> Any:
        """Answer a connection's request, and those that follow at once. Runs in one of the worker's threads."""
        is_kept = super().handle(conn)
        while is_kept is True and self._has_more(conn):
            is_kept = super().handle(conn)
        return is_kept

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Let the application answer or suspend a request. Runs in one of the worker's threads."""
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
        """Keep a connection, close it, or suspend it, after a thread has handled its request."""
        self._resumed.discard(conn)
        self._resume_more()
        suspended: SuspendedConnection | None = conn.__dict__.pop("suspended", None)
        if suspended is None:
            super().finish_request(conn, fs)
        else:
            self._suspend(suspended, conn.__dict__.pop("head"))

    def set_accept_enabled(self, enabled: bool) -> None:
        """Accept connections or not; when the worker stops, answer suspended requests first."""
        super().set_accept_enabled(enabled)
        if not self.alive:
            self._release_all()

    def is_parent_alive(self) -> bool:
        """Return whether the master lives; without it the worker stops."""
        self.alive = self.alive and super().is_parent_alive()
        return bool(self.alive)

    def resume(self, suspended: SuspendedConnection) -> None:
        """Answer a suspended request as soon as a thread for it is free."""
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
            if slot is None:  # HTTP/2: its connections carry several requests and cannot be suspended.
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
        """Wait a moment for a connection's next request, unless too many threads do so already."""
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
            self._release(suspended)

    def _on_readable(self, suspended: SuspendedConnection, sock: Any) -> None:
        """Drop a client that has gone; leave a next request that it sends already until this one is answered."""
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
        with suppress(KeyError):  # Its client has sent more, so it is not watched.
            self.poller.unregister(suspended.conn.sock)
        return True

    def _resume_more(self) -> None:
        while self._to_resume and len(self._resumed) < RESUMED_AT_ONCE:
            suspended = self._to_resume.popleft()
            suspended.conn.parser = RequestAgain(suspended.conn, suspended.request)
            self._resumed.add(suspended.conn)
            self.enqueue_req(suspended.conn)

    def _release(self, suspended: SuspendedConnection) -> None:
        if suspended.opening:
            self.end(suspended)
        else:
            self.resume(suspended)

    def _release_all(self) -> None:
        for suspended in list(self._suspended):
            self._release(suspended)


def _head(status: str, headers: list[tuple[str, str]]) -> bytes:
    """Return the head of a response that ends with its connection."""
    lines = [f"HTTP/1.1 {status}", f"Date: {formatdate(usegmt=True)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers if name.lower() != "content-length"]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")
