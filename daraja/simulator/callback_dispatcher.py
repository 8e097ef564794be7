"""Posts callbacks over HTTP: each once, from a few threads, with a time-out, never repeated whatever the answer."""

import http.client
import logging
import queue
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from daraja.simulator.simulator_settings import SimulatorSettings

CONTENT_TYPE = "application/json;charset=UTF-8"
MAX_WAITING = 10_000
"""Beyond this new pushes are answered "busy"."""
_REUSE_SECONDS = 1.0
"""A connection idle for longer may be closing at the other end just now, which would lose a callback."""
_MAX_ANSWER_BYTES = 65_536

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class QueuedDelivery:
    """One body to post; `when_done` is called with the HTTP status as text, or `timeout`, or `unreachable`."""

    url: str = field(repr=False)
    body: bytes = field(repr=False)
    when_done: Callable[[str], None]


class CallbackDispatcher:
    """A pool of threads that post deliveries in the order in which they were sent."""

    def __init__(self, settings: SimulatorSettings) -> None:
        self._workers = settings.callback_workers
        self._timeout_seconds = settings.callback_timeout_seconds
        self._shortcode = settings.shortcode
        self._queue: queue.SimpleQueue[QueuedDelivery | None] = queue.SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._undelivered = 0
        self._settled = threading.Condition()

    @property
    def is_full(self) -> bool:
        """Whether so much is queued that no more requests should be accepted."""
        return self._queue.qsize() >= MAX_WAITING

    def send(self, queued: QueuedDelivery) -> None:
        """Queue a delivery and return at once."""
        with self._settled:
            self._undelivered += 1
        self._queue.put(queued)

    def send_and_wait(self, queued: QueuedDelivery) -> None:
        """Post a delivery on the caller's own thread."""
        with self._settled:
            self._undelivered += 1
        self._deliver(queued, _Connection(self._shortcode, self._timeout_seconds))

    def ask(self, url: str, body: bytes, timeout_seconds: float) -> tuple[str, bytes]:
        """Post on the caller's own thread; return the status as `when_done` has it, and the answer's body or b""."""
        connection = _Connection(self._shortcode, timeout_seconds)
        try:
            return connection.post(url, body)
        finally:
            connection.close()

    def wait_until_idle(self, timeout_seconds: float) -> bool:
        """Wait until every delivery was posted or has failed; return False if the time runs out first."""
        with self._settled:
            return self._settled.wait_for(lambda: self._undelivered == 0, timeout_seconds)

    def start(self) -> None:
        """Start the threads."""
        for number in range(self._workers):
            thread = threading.Thread(target=self._work, name=f"simulator-callbacks-{number}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Let each thread finish its delivery; those still queued are dropped."""
        self._drop_waiting()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join(self._timeout_seconds * 3)
        self._threads.clear()

    def _drop_waiting(self) -> None:
        while True:
            try:
                self._queue.get_nowait()
            except queue.Empty:
                return
            self._count_one_done()

    def _work(self) -> None:
        connection = _Connection(self._shortcode, self._timeout_seconds)
        while (queued := self._queue.get()) is not None:
            self._deliver(queued, connection)
        connection.close()

    def _deliver(self, queued: QueuedDelivery, connection: "_Connection") -> None:
        status, _ = connection.post(queued.url, queued.body)
        _log.info("callback posted: %s", status)
        queued.when_done(status)
        self._count_one_done()

    def _count_one_done(self) -> None:
        with self._settled:
            self._undelivered -= 1
            self._settled.notify_all()


class _Connection:
    """One thread's last connection, kept for the next delivery to the same host."""

    def __init__(self, shortcode: str, timeout_seconds: float) -> None:
        self._shortcode = shortcode
        self._timeout_seconds = timeout_seconds
        self._kept: http.client.HTTPConnection | None = None
        self._kept_for = ("", "")
        self._used_at = 0.0

    def post(self, url: str, body: bytes) -> tuple[str, bytes]:
        """Post once; return the status and the answer's body. A failure is a status here, not an exception."""
        parts = urlsplit(url)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        headers = {"Content-Type": CONTENT_TYPE, "BusinessShortCode": self._shortcode}
        try:
            connection = self._connect(parts.scheme, parts.netloc)
            connection.request("POST", target, body, headers)
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
    """Tell whether the other end of an idle connection has closed it, or has sent something unasked."""
    if connection is None or connection.sock is None:
        return False
    poll = select.poll()
    poll.register(connection.sock, select.POLLIN)
    return bool(poll.poll(0))
