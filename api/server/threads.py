"""The threads of a server: one at a time leads, that is waits for what there is to do, and the others do it.

A task is done by the thread that has led to it, while another leads. Polls, where nothing else is to be done, are
answered before that thread leads on: two would take the interpreter from each other at each socket, for answers that
are made sooner than that. If it does not come back soon, because the database is slow, another leads.

Of the threads that have nothing to do, the one that was busy last leads next: its memory is in the processor's caches.
One that nobody has needed for a minute ends, so that a crowd that is gone holds no memory.
"""

from collections.abc import Callable
from itertools import count
from threading import Event, Lock, Thread
from typing import Generic

import structlog

from api.server.lanes import Lane, Lanes, T

ABSENT_SECONDS = 0.05
"""Another thread leads where the one that leads has answered polls for so long, or at most for twice as long."""

IDLE_SECONDS = 60.0

_log = structlog.get_logger(__name__)


class Threads(Generic[T]):
    """At most `most` threads that take tasks from `lanes` and `do` them, and `lead` while there are none.

    There have to be more than slots and tasks that may have released theirs: one leads.
    """

    def __init__(
        self, lanes: Lanes[T], lead: Callable[[], None], do: Callable[[T], None], *, most: int
    ) -> None:
        self._lanes = lanes
        self._lead = lead
        self._do = do
        self._most = most
        self._counting = Lock()
        self._running = self._idle = 0
        self._names = count(1)
        self._is_led = False
        self._waiting: list[Lock] = []
        """Of each thread that waits to lead, what it waits for. The last one is the next."""
        self._done_here: T | None = None
        """What the thread that leads does meanwhile."""
        self._stopped = Event()

    def run(self) -> None:
        """Work until `stop` is called; the tasks that are being done then are left to their threads."""
        self._start()
        seen: T | None = None
        while not self._stopped.wait(ABSENT_SECONDS):
            if seen is not None:
                self._relieve(seen)
            seen = self._done_here

    def stop(self) -> None:
        """Take no more tasks."""
        self._stopped.set()

    def _start(self) -> None:
        self._running += 1
        self._idle += 1
        Thread(target=self._work, name=f"web-{next(self._names)}", daemon=True).start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            task = self._lanes.take()
            if task is None:
                if not self._wait_to_lead():
                    return
                task = self._next_task()
            if task is None:
                continue
            with self._counting:
                self._be_busy()
            try:
                self._do(task)
            finally:
                self._lanes.finish()
            with self._counting:
                self._idle += 1

    def _be_busy(self) -> None:
        self._idle -= 1
        if not self._idle and self._running < self._most:
            self._start()

    def _wait_to_lead(self) -> bool:
        """Return True once this thread leads; False if it has been idle for long, and is counted no more."""
        with self._counting:
            if not self._is_led:
                self._is_led = True
                return True
            turn = Lock()
            turn.acquire()
            self._waiting.append(turn)
        if turn.acquire(timeout=IDLE_SECONDS):
            return True
        with self._counting:
            if turn not in self._waiting:
                return True  # Another thread gave it the lead just now.
            self._waiting.remove(turn)
            self._running -= 1
            self._idle -= 1
            return False

    def _stop_leading(self) -> None:
        """Let the thread lead that was busy last, or else the next one that has nothing to do."""
        with self._counting:
            if self._waiting:
                self._waiting.pop().release()
            else:
                self._is_led = False

    def _next_task(self) -> T | None:
        """Lead until there is a task, and return it in its slot; None once the threads stop, or another leads."""
        while not self._stopped.is_set():
            task = self._lanes.take()
            if task is None:
                try:
                    self._lead()
                except Exception:  # noqa: BLE001 - the next round goes on with the other connections
                    _log.exception("web_server_fault")
            elif task.lane is not Lane.POLLS or self._lanes.has_task():
                self._stop_leading()
                return task
            elif not self._do_here(task):
                return None
        self._stop_leading()
        return None

    def _do_here(self, task: T) -> bool:
        """Do a task while nobody leads; return whether this thread has to lead on."""
        self._done_here = task
        try:
            self._do(task)
        finally:
            self._lanes.finish()
        with self._counting:
            if self._done_here is task:
                self._done_here = None
                return True
            self._idle += 1
            return False

    def _relieve(self, absent: T) -> None:
        """Let another thread lead, if the one that leads still does this."""
        with self._counting:
            if self._done_here is not absent:
                return
            self._done_here = None
            self._be_busy()
        self._stop_leading()
