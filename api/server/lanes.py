"""Who may compute: bounded queues of whole requests, and the slots in which threads answer them.

A thread that waits for M-Pesa costs nothing; one that computes slows all others. So a process has fewer slots than
threads, and a request that waits for others releases its slot meanwhile. M-Pesa's callbacks and health
checks have slots of their own.
"""

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from threading import Condition, local
from time import monotonic
from typing import Generic, Protocol, TypeVar

from api.http.framework import CALLBACK_PREFIXES

CALLBACK_SLOTS = 4
HEALTH_SLOTS = 1
MAX_QUEUED = 1_000
"""How many requests of a lane wait for a slot; more are refused at once."""

OPENING_WITHIN_SECONDS = 2.0
"""No new checkout is begun while a change has waited for so long: those who have begun to pay come first, and once the
crowd is gone the rest is answered in seconds.
"""

POLL_SLOTS = 1
MAX_POLLS_TOGETHER = 64
"""How many polls one thread answers at most by one read of the database."""

_OPENING_PATH = b"/api/payments/sessions/"
_POLL_BYTES = len(_OPENING_PATH) + 36 + len(b"/status/")
_CALLBACK_PATHS = tuple(prefix.encode() for prefix in CALLBACK_PREFIXES)
_HEALTH_PATHS = (b"/healthz", b"/readyz")
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class Lane(StrEnum):
    """What a request is, to the server."""

    READING = "reading"
    POLLS = "polls"
    """It reads a session's status, as most requests do."""
    CHANGING = "changing"
    RESUMED = "resumed"
    """It has waited for a change, and is answered now."""
    CALLBACKS = "callbacks"
    HEALTH = "health"


def lane_of(method: str, target: bytes) -> Lane:
    """Return the lane of a request that has just arrived."""
    if method == "GET" and len(target) == _POLL_BYTES and target.endswith(b"/status/"):
        return Lane.POLLS if target.startswith(_OPENING_PATH) else Lane.READING
    if method in _READING:
        return Lane.HEALTH if target.startswith(_HEALTH_PATHS) else Lane.READING
    return Lane.CALLBACKS if target.startswith(_CALLBACK_PATHS) else Lane.CHANGING


def opens_checkout(method: str, target: bytes) -> bool:
    """Return whether a request begins a checkout, which can as well begin later."""
    return method == "POST" and target.partition(b"?")[0] == _OPENING_PATH


class _Task(Protocol):
    @property
    def lane(self) -> Lane:
        """What it is to the server."""


T = TypeVar("T", bound=_Task)


class Lanes(Generic[T]):
    """Queues of tasks, and `slots` for buyers' requests: a quarter of them for those that change something, half of
    them for those that have waited, and one for polls, which are answered together. Callbacks and health checks have
    slots beside these. At most `max_waiting` tasks release their slot at once. Safe to share between threads.
    """

    def __init__(self, slots: int, max_waiting: int = 0, clock: Callable[[], float] = monotonic) -> None:
        self._condition = Condition()
        self._free_of_buyers = slots
        self._free = {
            Lane.READING: slots,
            Lane.POLLS: POLL_SLOTS,
            Lane.CHANGING: max(1, slots // 4),
            Lane.RESUMED: max(1, slots // 2),
            Lane.CALLBACKS: CALLBACK_SLOTS,
            Lane.HEALTH: HEALTH_SLOTS,
        }
        self._returning = dict.fromkeys(Lane, 0)
        self._clock = clock
        self._queues: dict[Lane, deque[tuple[int, float, T]]] = {lane: deque() for lane in Lane}
        self._arrivals = 0
        self._may_release = max_waiting
        self._of_thread = local()
        self.on_room: Callable[[], None] = lambda: None
        """Called when a slot has become free and this thread takes no task for it, while some are queued."""

    def put(self, task: T, *, opens_checkout: bool = False) -> bool:
        """Queue a task; return False if its queue is full, or too slow for one that begins a checkout."""
        with self._condition:
            queue = self._queues[task.lane]
            if len(queue) >= MAX_QUEUED and task.lane is not Lane.RESUMED:
                return False
            now = self._clock()
            if opens_checkout and queue and now - queue[0][1] > OPENING_WITHIN_SECONDS:
                return False
            self._arrivals += 1
            queue.append((self._arrivals, now, task))
            return True

    def take(self) -> T | None:
        """Return the task that has waited longest of those with a free slot, in its slot; None if there is none."""
        with self._condition:
            heads = self._heads()
            if not heads:
                return None
            _, lane = min(heads)
            self._add(lane, -1)
            self._of_thread.lane = lane
            return self._queues[lane].popleft()[2]

    def has_task(self) -> bool:
        """Tell whether `take` would return a task."""
        with self._condition:
            return bool(self._heads())

    def take_polls(self) -> list[T]:
        """Return the other polls that are queued, for the thread that has taken one and is in its slot."""
        with self._condition:
            queue = self._queues[Lane.POLLS]
            return [queue.popleft()[2] for _ in range(min(len(queue), MAX_POLLS_TOGETHER - 1))]

    def finish(self) -> None:
        """Release the slot of this thread, which takes another task next."""
        with self._condition:
            self._add(self._of_thread.lane, 1)
            self._of_thread.lane = None

    @contextmanager
    def released(self) -> Iterator[None]:
        """Wait for something without the slot of this thread, if it has one and not too many wait already."""
        lane: Lane | None = getattr(self._of_thread, "lane", None)
        if lane is None or not self._release(lane):
            yield
            return
        try:
            yield
        finally:
            self._return_to(lane)

    def _release(self, lane: Lane) -> bool:
        with self._condition:
            if not self._may_release:
                return False
            self._may_release -= 1
            self._add(lane, 1)
            has_queued = any(self._queues.values())
        if has_queued:
            self.on_room()
        return True

    def _return_to(self, lane: Lane) -> None:
        """Wait for a slot, which new tasks leave to this thread."""
        with self._condition:
            self._returning[lane] += 1
            self._condition.wait_for(
                lambda: self._free[lane] > 0 and (lane not in _OF_BUYERS or self._free_of_buyers > 0)
            )
            self._returning[lane] -= 1
            self._add(lane, -1)
            self._may_release += 1

    def _heads(self) -> list[tuple[int, Lane]]:
        return [(queue[0][0], lane) for lane, queue in self._queues.items() if queue and self._has_room(lane)]

    def _has_room(self, lane: Lane) -> bool:
        """Tell whether a new task may have a slot, beside those that return and can have one."""
        if self._free[lane] <= self._returning[lane]:
            return False
        returning = sum(min(self._returning[other], self._free[other]) for other in _OF_BUYERS)
        return lane not in _OF_BUYERS or self._free_of_buyers > returning

    def _add(self, lane: Lane, slots: int) -> None:
        self._free[lane] += slots
        if lane in _OF_BUYERS:
            self._free_of_buyers += slots
        if slots > 0:
            self._condition.notify_all()


_OF_BUYERS = (Lane.READING, Lane.POLLS, Lane.CHANGING, Lane.RESUMED)
