"""Tasks to run later: one thread, one heap, and an injected clock."""

import heapq
import itertools
import threading
from collections.abc import Callable
from datetime import datetime

from daraja.simulator.kenya_time import Clock

MAX_ENTRIES = 100_000
"""Beyond this new pushes are answered "busy"."""
_MAX_NAP_SECONDS = 1.0
"""A test may move the clock without notice, so the thread never sleeps for longer."""

Task = Callable[[], None]


class Scheduler:
    """Runs each task when its moment has come: on its own thread, or when `run_due` is called."""

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
        """Whether so much is scheduled that no more requests should be accepted."""
        return len(self._entries) >= MAX_ENTRIES

    def at(self, moment: datetime, task: Task) -> None:
        """Schedule a task; those of one moment run in the order in which they were scheduled."""
        with self._changed:
            heapq.heappush(self._entries, (moment, next(self._order), task))
            if self._entries[0][0] == moment:
                self._changed.notify()

    def run_due(self) -> int:
        """Run every task that is due, earliest first, and return how many ran.

        Also waits for the task that another thread is running, so that nothing due is left undone.
        """
        ran = 0
        with self._running:
            while (task := self._take_due()) is not None:
                task()
                ran += 1
        return ran

    def clear(self) -> None:
        """Forget every scheduled task."""
        with self._changed:
            self._entries.clear()

    def start(self) -> None:
        """Start the thread that runs the tasks."""
        self._stopping = False
        self._thread = threading.Thread(target=self._work, name="simulator-scheduler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; what is still scheduled does not run."""
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

    def _work(self) -> None:
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
