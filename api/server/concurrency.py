"""A limit on the requests that a process handles at once, however many threads it has.

A thread that waits for M-Pesa costs nothing; one that computes slows all others. So the web server has a thread for
each request that may wait, and fewer slots for those that compute: a request releases its slot while it waits.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Semaphore, local
from typing import Any

READING = frozenset({"GET", "HEAD", "OPTIONS"})

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ConcurrencyLimiter:
    """`most` slots, a quarter of them for requests that write, so that a crowd of writers leaves room for readers."""

    def __init__(self, most: int) -> None:
        self._free = Semaphore(most)
        self._free_to_change = Semaphore(max(1, most // 4))
        self._of_thread = local()

    def limit(self, application: Wsgi) -> Wsgi:
        """Return the application with a slot acquired for each request until its response is made."""

        def limited(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            changes = environ.get("REQUEST_METHOD") not in READING
            self._of_thread.slots = [self._free_to_change, self._free] if changes else [self._free]
            try:
                with self._all_of(self._of_thread.slots):
                    return application(environ, start_response)
            finally:
                self._of_thread.slots = []

        return limited

    @contextmanager
    def released(self) -> Iterator[None]:
        """Wait for something without the slots of this thread."""
        slots = getattr(self._of_thread, "slots", [])
        for slot in reversed(slots):
            slot.release()
        try:
            yield
        finally:
            for slot in slots:
                slot.acquire()

    @contextmanager
    def _all_of(self, slots: list[Semaphore]) -> Iterator[None]:
        with ExitStack() as held:
            for slot in slots:
                held.enter_context(slot)
            yield
