"""Keeps callers off a service that does not answer: buyers hear at once, and no more payments end up in doubt."""

import math
from datetime import datetime, timedelta
from threading import Lock

from payments.retry_schedule import RetrySchedule

MAX_FAILURES = 20
"""Calls in a row without an answer that could be understood; chance does not do that."""

MIN_OPEN = timedelta(seconds=5)
MAX_OPEN = timedelta(seconds=20)
"""It takes this long at most to find out that the service is back; until then the shop sells nothing."""

_SCHEDULE = RetrySchedule.doubling(MIN_OPEN, MAX_OPEN)


class CircuitBreaker:
    """Counts the failures of one service, for one process. Safe to share between threads.

    After MAX_FAILURES in a row it opens: no caller may call for a while. Then it is half-open: one call finds out for
    all, and if it fails, the circuit stays open for longer. Calls that were under way when the circuit opened do not
    count, however many fail.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._failures = 0
        self._is_half_open = False
        self._open_until: datetime | None = None

    def seconds_to_wait(self, now: datetime) -> int | None:
        """Return for how many seconds not to call; None if this caller may call now."""
        with self._lock:
            if self._open_until is None:
                return None
            if now < self._open_until:
                return math.ceil((self._open_until - now).total_seconds())
            self._open_until = now + MIN_OPEN  # One caller goes; the others wait for its result.
            self._is_half_open = True
            return None

    def record_success(self) -> None:
        """The service gave an answer that could be understood."""
        with self._lock:
            self._failures, self._open_until, self._is_half_open = 0, None, False

    def record_failure(self, now: datetime) -> None:
        """The service could not be reached, or gave no answer that could be understood."""
        with self._lock:
            if self._open_until is not None and not self._is_half_open:
                return
            self._failures += 1
            self._is_half_open = False
            if self._failures >= MAX_FAILURES:
                self._open_until = now + _SCHEDULE.pause_after(self._failures - MAX_FAILURES + 1)
