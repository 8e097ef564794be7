"""Things to do later: one thread, one heap, and whatever clock it is given."""

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import datetime

from daraja.simulator.kenya_time import Clock

MAX_ENTRIES = 100_000
"""Beyond this the network answers "busy" to new pushes."""
_MAX_NAP_SECONDS = 1.0
"""The clock may be moved by a test without telling us, so never sleep through to a far-off moment."""

Task = Callable[[], None]


class Scheduler:
    """Runs each action once its moment has come: by its own thread, or when `run_due` is called."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: list[tuple[datetime, int, Task]] = []
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._running = threading.RLock()
        self._stopping = False
        self._thread: threading.Thread | None = None

    @property
    def is_full(self) -> bool:
        """Whether no more should be planned."""
        return len(self._entries) >= MAX_ENTRIES

    def at(self, moment: datetime, action: Task) -> None:
        """Plan an action; those of one moment run in the order in which they were planned."""
        with self._changed:
            heapq.heappush(self._entries, (moment, next(self._order), action))
            if self._entries[0][0] == moment:
                self._changed.notify()

    def run_due(self) -> int:
        """Run every action whose moment has come, earliest first, and return how many ran.

        Returns after those that another thread has begun, too: then nothing that was due is still to be done.
        """
        ran = 0
        with self._running:
            while (action := self._take_due()) is not None:
                action()
                ran += 1
        return ran

    def clear(self) -> None:
        """Forget everything planned."""
        with self._changed:
            self._entries.clear()

    def start(self) -> None:
        """Begin to run actions on a thread of our own."""
        self._stopping = False
        self._thread = threading.Thread(target=self._keep_time, name="simulator-timetable", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is still planned stays undone."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _take_due(self) -> Task | None:
        with self._changed:
            if self._entries and self._entries[0][0] <= self._clock():
                return heapq.heappop(self._entries)[2]
            return None

    def _keep_time(self) -> None:
        while self._wait_for_due():
            self.run_due()

    def _wait_for_due(self) -> bool:
        with self._changed:
            while not self._stopping:
                if not self._entries:
                    self._changed.wait()
                    continue
                seconds = (self._entries[0][0] - self._clock()).total_seconds()
                if seconds <= 0:
                    return True
                self._changed.wait(min(seconds, _MAX_NAP_SECONDS))
            return False
