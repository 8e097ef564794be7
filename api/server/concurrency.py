"""How many requests of a process are worked on at once, however many threads it has.

A thread that waits for M-Pesa costs nothing; one that computes makes all others slower. So the web server has a thread
for each request that may wait, and a few turns for those that work: who goes to wait hands the turn on, and takes one
again before going on.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from threading import Semaphore, local
from typing import Any

READING = frozenset({"GET", "HEAD", "OPTIONS"})

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class ConcurrencyLimiter:
    """So many turns, and fewer for requests that change something: a crowd of those leaves room for the others."""

    def __init__(self, most: int) -> None:
        self._free = Semaphore(most)
        self._free_to_change = Semaphore(max(1, most // 4))
        self._of_thread = local()

    def limit(self, application: Wsgi) -> Wsgi:
        """Return the application with a turn taken for each request, until its answer is made."""

        def in_turn(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            changes = environ.get("REQUEST_METHOD") not in READING
            self._of_thread.limiter = [self._free_to_change, self._free] if changes else [self._free]
            try:
                with self._all_of(self._of_thread.limiter):
                    return application(environ, start_response)
            finally:
                self._of_thread.limiter = []

        return in_turn

    @contextmanager
    def released(self) -> Iterator[None]:
        """Wait for something without the turn, where this thread has one."""
        limiter = getattr(self._of_thread, "limiter", [])
        for turn in reversed(limiter):
            turn.release()
        try:
            yield
        finally:
            for turn in limiter:
                turn.acquire()

    @contextmanager
    def _all_of(self, limiter: list[Semaphore]) -> Iterator[None]:
        with ExitStack() as held:
            for turn in limiter:
                held.enter_context(turn)
            yield
