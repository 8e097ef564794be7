"""The threads of a server: one at a time leads, that is waits for what there is to do, and the others do it.

A task is done by the thread that has led to it, while another leads. Polls, where nothing else is to be done, are
answered before that thread leads on: two would take the interpreter from each other at each socket, for answers that
are made sooner than that. If it does not come back soon, because the database is slow, another leads.
"""

from collections.abc import Callable
from threading import Event, Lock, Thread
from typing import Generic

import structlog

from api.server.lanes import Lane, Lanes, T

ABSENT_SECONDS = 0.05
"""Another thread leads where the one that leads has answered polls for so long, or at most for twice as long."""

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
        self._leading = Lock()
        self._counting = Lock()
        self._started = self._idle = 0
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
        self._started += 1
        self._idle += 1
        Thread(target=self._work, name=f"web-{self._started}", daemon=True).start()

    def _work(self) -> None:
        while not self._stopped.is_set():
            task = self._lanes.take() or self._next_task()
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
        if not self._idle and self._started < self._most:
            self._start()

    def _next_task(self) -> T | None:
        """Lead until there is a task, and return it in its slot; None once the threads stop, or another leads."""
        self._leading.acquire()
        while not self._stopped.is_set():
            task = self._lanes.take()
            if task is None:
                try:
                    self._lead()
                except Exception:  # noqa: BLE001 - the next round goes on with the other connections
                    _log.exception("web_server_fault")
            elif task.lane is not Lane.POLLS or self._lanes.has_task():
                self._leading.release()
                return task
            elif not self._do_here(task):
                return None
        self._leading.release()
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
        self._leading.release()
