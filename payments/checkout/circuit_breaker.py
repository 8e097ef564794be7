"""Keeping callers off a service that has fallen silent: a quick word to a buyer, and not one more payment in doubt."""

import math
from datetime import datetime, timedelta
from threading import Lock

MOST_SILENCES = 20
"""So many calls in a row without a word that could be understood; chance does not do that."""

SHORTEST_REST = timedelta(seconds=5)
LONGEST_REST = timedelta(seconds=20)
"""So late, at most, is it found out that the service is back: each second more is a shop that sells nothing."""


class Breaker:
    """Counts the silences of one service, for one process. Safe to share between threads.

    After MOST_SILENCES in a row nobody may call for a while; then one call finds out for all. Where it finds silence,
    the next while is longer. Calls that were under way when the first while began say nothing new, however many.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._silences = 0
        self._is_finding_out = False
        self._rests_until: datetime | None = None

    def seconds_to_wait(self, now: datetime) -> int | None:
        """Return for how many seconds not to call; None where this caller may call now."""
        with self._lock:
            if self._rests_until is None:
                return None
            if now < self._rests_until:
                return math.ceil((self._rests_until - now).total_seconds())
            self._rests_until = now + SHORTEST_REST  # One goes; the others wait for what it finds.
            self._is_finding_out = True
            return None

    def note_answer(self) -> None:
        """The service said something that could be understood."""
        with self._lock:
            self._silences, self._rests_until, self._is_finding_out = 0, None, False

    def note_silence(self, now: datetime) -> None:
        """The service could not be reached, or said nothing that could be understood."""
        with self._lock:
            if self._rests_until is not None and not self._is_finding_out:
                return
            self._silences += 1
            self._is_finding_out = False
            if self._silences >= MOST_SILENCES:
                longer = 2 ** min(self._silences - MOST_SILENCES, 10)
                self._rests_until = now + min(SHORTEST_REST * longer, LONGEST_REST)
