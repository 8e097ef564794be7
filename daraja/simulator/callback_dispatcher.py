"""Delivers callbacks: each once, from a few threads, with a time-out, and never again whatever comes back."""

import http.client
import logging
import queue
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from daraja.simulator.callback_bodies import CONTENT_TYPE

MAX_WAITING = 10_000
"""Beyond this the network answers "busy" to new pushes."""
_REUSE_SECONDS = 1.0
"""An idle connection older than this may be closing at the other end just now, which would lose a callback."""
_MAX_ANSWER_BYTES = 65_536

_log = logging.getLogger(__name__)

WhenDone = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class QueuedDelivery:
    """One callback to post; `when_done` is told the HTTP status as text, or `timeout`, or `unreachable`."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    shortcode: str
    when_done: WhenDone


class CallbackDispatcher:
    """A pool of threads that post parcels in the order in which they were handed over."""

    def __init__(self, workers: int, timeout_seconds: float) -> None:
        self._workers = workers
        self._timeout_seconds = timeout_seconds
        self._parcels: queue.SimpleQueue[QueuedDelivery | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._undelivered = 0
        self._settled = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether so much is waiting that nothing more should be promised."""
        return self._parcels.qsize() >= MAX_WAITING

    def send(self, queued: QueuedDelivery) -> None:
        """Hand a parcel over and return at once."""
        with self._settled:
            self._undelivered += 1
        self._parcels.put(queued)

    def send_and_wait(self, queued: QueuedDelivery) -> None:
        """Post a parcel on the caller's own thread."""
        with self._settled:
            self._undelivered += 1
        self._deliver(queued, _Connections(self._timeout_seconds))

    def ask(self, queued: QueuedDelivery, timeout_seconds: float) -> tuple[str, bytes]:
        """Post a parcel on the caller's own thread and return its fate and what was answered, b"" where nothing was."""
        connections = _Connections(timeout_seconds)
        try:
            return connections.exchange(queued)
        finally:
            connections.close()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until every parcel handed over has met its fate; return False where the time runs out first."""
        with self._settled:
            return self._settled.wait_for(lambda: self._undelivered == 0, timeout_seconds)

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"simulator-courier-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let each thread finish what it is posting; what still waits is left unposted."""
        self._drop_waiting()
        for _ in self._threads:
            self._parcels.put(None)
        for thread in self._threads:
            thread.join(self._timeout_seconds * 3)
        self._threads.clear()

    def _drop_waiting(self) -> None:
        while True:
            try:
                self._parcels.get_nowait()
            except queue.Empty:
                return
            self._count_one_done()

    def _work(self) -> None:
        connections = _Connections(self._timeout_seconds)
        while (queued := self._parcels.get()) is not None:
            self._deliver(queued, connections)
        connections.close()

    def _deliver(self, queued: QueuedDelivery, connections: "_Connections") -> None:
        delivery_fault = connections.post(queued)
        _log.info("callback posted: %s", delivery_fault)
        queued.when_done(delivery_fault)
        self._count_one_done()

    def _count_one_done(self) -> None:
        with self._settled:
            self._undelivered -= 1
            self._settled.notify_all()


class _Connections:
    """One thread's last connection, kept for the next parcel to the same host."""

    def __init__(self, timeout_seconds: float) -> None:
        self._timeout_seconds = timeout_seconds
        self._kept: http.client.HTTPConnection | None = None
        self._kept_for = ("", "")
        self._used_at = 0.0

    def post(self, queued: QueuedDelivery) -> str:
        """Post once and return the fate."""
        return self.exchange(queued)[0]

    def exchange(self, queued: QueuedDelivery) -> tuple[str, bytes]:
        """Post once; return the fate and the answer's body. A failure is an answer here, not an error of ours."""
        parts = urlsplit(queued.url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": CONTENT_TYPE, "BusinessShortCode": queued.shortcode}
        try:
            connection = self._connect(parts.scheme, parts.netloc)
            connection.request("POST", target, queued.body, headers)
            response = connection.getresponse()
            answered = response.read(_MAX_ANSWER_BYTES)
            if len(answered) == _MAX_ANSWER_BYTES:
                self.close()
        except TimeoutError:
            self.close()
            return "timeout", b""
        except (OSError, http.client.HTTPException):
            self.close()
            return "unreachable", b""
        self._used_at = time.monotonic()
        return str(response.status), answered

    def close(self) -> None:
        """Close the kept connection."""
        if self._kept is not None:
            self._kept.close()
            self._kept = None

    def _connect(self, scheme: str, netloc: str) -> http.client.HTTPConnection:
        idle_too_long = time.monotonic() - self._used_at > _REUSE_SECONDS
        if idle_too_long or self._kept_for != (scheme, netloc) or has_gone(self._kept):
            self.close()
        if self._kept is None:
            kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
            self._kept = kind(netloc, timeout=self._timeout_seconds)
            self._kept_for = (scheme, netloc)
        return self._kept


def has_gone(connection: http.client.HTTPConnection | None) -> bool:
    """Tell whether the other end of an idle connection has closed it, or said something nobody asked for."""
    if connection is None or connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
