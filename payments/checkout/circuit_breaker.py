"""Keeping callers off a service that has fallen silent: a quick word to a buyer, and not one more payment in doubt."""

import math
from datetime import datetime, timedelta
from threading import Lock

MAX_FAILURES = 20
"""So many calls in a row without a word that could be understood; chance does not do that."""

MIN_OPEN = timedelta(seconds=5)
MAX_OPEN = timedelta(seconds=20)
"""So late, at most, is it found out that the service is back: each second more is a shop that sells nothing."""


class CircuitBreaker:
    """Counts the silences of one service, for one process. Safe to share between threads.

    After MAX_FAILURES in a row nobody may call for a while; then one call finds out for all. Where it finds silence,
    the next while is longer. Calls that were under way when the first while began say nothing new, however many.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self._is_half_open = False
        self._open_until: datetime | None = None

    def seconds_to_wait(self, now: datetime) -> int | None:
        """Return for how many seconds not to call; None where this caller may call now."""
        with self._lock:
            if self._open_until is None:
                return None
            if now < self._open_until:
                return math.ceil((self._open_until - now).total_seconds())
            self._open_until = now + MIN_OPEN  # One goes; the others wait for what it finds.
            self._is_half_open = True
            return None

    def record_success(self) -> None:
        """The service said something that could be understood."""
        with self._lock:
            self._failures, self._open_until, self._is_half_open = 0, None, False

    def record_failure(self, now: datetime) -> None:
        """The service could not be reached, or said nothing that could be understood."""
        with self._lock:
            if self._open_until is not None and not self._is_half_open:
                return
            self._failures += 1
            self._is_half_open = False
            if self._failures >= MAX_FAILURES:
                longer = 2 ** min(self._failures - MAX_FAILURES, 10)
                self._open_until = now + min(MIN_OPEN * longer, MAX_OPEN)
