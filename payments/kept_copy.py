"""When a process reads anew what it keeps a copy of in memory, because every request asks for it.

It reads every READ_EVERY_SECONDS, in whichever request comes first: what was written is known to all processes within
that time. While the database does not answer, the last copy counts for GOOD_FOR_SECONDS; then there is none.
"""

import time
from collections.abc import Callable
from threading import Lock

from ledger.errors import Unavailable

READ_EVERY_SECONDS = 2.0
GOOD_FOR_SECONDS = 60.0


class KeptCopy:
    """Calls `read` when a copy is old. Safe to share between threads.

    One thread reads. The others go on with a copy that still counts, and wait for the reader where none does: after a
    quiet hour as at the start.
    """

    def __init__(self, read: Callable[[], None]) -> None:
        self._read = read
        self._lock = Lock()
        self._tried_at: float | None = None
        self._read_at: float | None = None

    def refresh(self, every_seconds: float = READ_EVERY_SECONDS) -> None:
        """Read if the copy is older than that, with 0 whatever happens.

        Raises Unavailable if it cannot be read and is too old to count.
        """
        waits = every_seconds == 0 or not self._is_good()
        if self._is_due(every_seconds) and self._lock.acquire(blocking=waits):
            try:
                if self._is_due(
                    every_seconds
                ):  # Else another thread has read, or tried to, while this one waited.
                    self._try_to_read()
            finally:
                self._lock.release()
        if not self._is_good():
            raise Unavailable

    def read_next_time(self) -> None:
        """Let the next request read, because this process has just written."""
        self._tried_at = None

    def _is_due(self, every_seconds: float) -> bool:
        return self._tried_at is None or time.monotonic() - self._tried_at >= every_seconds

    def _is_good(self) -> bool:
        return self._read_at is not None and time.monotonic() - self._read_at <= GOOD_FOR_SECONDS

    def _try_to_read(self) -> None:
        now = time.monotonic()
        try:
            self._read()
            self._read_at = now
        except Unavailable:
            if not self._is_good():
                raise
        finally:
            self._tried_at = now
