"""Virtual time and deterministic scheduling: actions run one at a time, interleaved and killed as the seed decides.

An action runs in a greenlet, to its end or until it pauses at one of its steps (a statement, a request) while others
run. Nothing runs in parallel, so the seed alone determines the order.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import log
from random import Random

from greenlet import getcurrent, greenlet

from ledger.errors import ConnectionLost, Unavailable
from tests.simulation.fault_odds import NO_FAULTS, FaultOdds

START_TIME = datetime(2026, 11, 16, 5, 0, tzinfo=UTC)
"""Monday, 08:00 in Nairobi."""

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.001, 12.0
_PAUSE_RANGE = log(MAX_PAUSE_SECONDS / MIN_PAUSE_SECONDS)

Action = Callable[[], None]


class Crash(BaseException):
    """The process of this action was killed; no exception handler may swallow that."""


@dataclass(eq=False)
class Process:
    """One API or worker process; `incarnation` goes up with each kill, `clock_offset` is the error of its clock."""

    name: str
    incarnation: int = 1
    is_up: bool = True
    clock_offset: timedelta = timedelta()


class Actor:
    """Who runs an action: one incarnation of a process, with the random source of that action."""

    __slots__ = ("incarnation", "process", "random")

    def __init__(self, process: Process, random: Random) -> None:
        self.process = process
        self.random = random
        self.incarnation = process.incarnation


class Scheduler:
    """The virtual clock, the queue of actions, the faults of steps, and the log of the run."""

    def __init__(self, odds: FaultOdds) -> None:
        self.odds = odds
        self.elapsed = 0.0
        self.log: list[tuple[object, ...]] = []
        self.fault_counts: dict[str, int] = {}
        self.actor: Actor | None = None
        self.pauses_off = 0
        self.on_kill: Callable[[Process], None] = lambda _: None
        self.step_odds = odds
        self._queue: list[tuple[float, int, Action]] = []
        self._order = 0
        self._now = START_TIME
        self._main = getcurrent()
        self._paused: dict[greenlet, Actor] = {}

    def now(self) -> datetime:
        """Return the virtual time, aware, in UTC, by the clock of the acting process."""
        return self._now if self.actor is None else self._now + self.actor.process.clock_offset

    def note(self, what: str, *about: object) -> None:
        """Write one line of the log."""
        self.log.append((self.elapsed, what, *about))

    def count_fault(self, fault: str, *about: object) -> None:
        """Log and count a fault that was injected."""
        self.fault_counts[fault] = self.fault_counts.get(fault, 0) + 1
        self.note(fault, *about)

    def call_later(self, seconds: float, action: Action) -> None:
        """Run an action after some virtual seconds."""
        self._order += 1
        heappush(self._queue, (self.elapsed + seconds, self._order, action))

    def end_step_faults(self) -> None:
        """Stop crashes, timeouts and pauses from now on."""
        self.step_odds = NO_FAULTS

    def run(self, until_seconds: float) -> None:
        """Run every action that is due until a moment."""
        queue = self._queue
        while queue and queue[0][0] <= until_seconds:
            self.elapsed, _, action = heappop(queue)
            self._now = START_TIME + timedelta(seconds=self.elapsed)
            action()
        self.elapsed = until_seconds
        self._now = START_TIME + timedelta(seconds=self.elapsed)

    def close(self) -> None:
        """Kill all paused actions."""
        for task, actor in list(self._paused.items()):
            actor.incarnation = -1
            self.resume(task)

    def run_as(self, actor: Actor, work: Action) -> None:
        """Run `work` as an actor, until it is done or paused."""
        self._switch_to(greenlet(self._perform, self._main), actor, work)

    def wait(self, seconds: float) -> None:
        """Let others run for a while, unless pauses are off. Raises Crash if killed meanwhile."""
        if self.actor is not None and not self.pauses_off:
            task = getcurrent()
            self.call_later(seconds, lambda: self.resume(task))
            self.suspend()

    def suspend(self) -> None:
        """Let others run until this action is resumed. Raises Crash if killed meanwhile."""
        assert self.actor is not None
        self._paused[getcurrent()] = self.actor
        self._main.switch()
        self.check_alive()

    def resume(self, task: greenlet) -> None:
        """Continue a paused action."""
        actor = self._paused.pop(task, None)
        if actor is not None:
            self._switch_to(task, actor)

    def check_alive(self) -> None:
        """Raise Crash if the acting process was killed since the action began."""
        actor = self.actor
        if actor is not None and actor.incarnation != actor.process.incarnation:
            raise Crash

    def before_step(self, what: str) -> bool:
        """Draw the fault of a step about to be taken; return whether its answer will be lost.

        Raises Crash, and Unavailable if the step is not to be taken.
        """
        actor = self.actor
        if actor is None:
            return False
        if actor.incarnation != actor.process.incarnation:
            raise Crash
        draw = actor.random.random()
        if draw >= self.step_odds.any_step_fault:
            return False
        return self._inject_fault(actor, what, draw)

    def lose_answer(self, what: str) -> None:
        """The step took effect and its answer is lost: the connection broke, or the process was killed."""
        actor = self.actor
        assert actor is not None
        self.count_fault("answer lost", actor.process.name, what)
        if actor.random.random() < 0.5:
            self.kill(actor.process)
            raise Crash
        raise ConnectionLost

    def kill(self, process: Process) -> None:
        """Kill a process; `on_kill` sees to its restart."""
        process.incarnation += 1
        process.is_up = False
        self.count_fault("killed", process.name)
        self.on_kill(process)

    def _inject_fault(self, actor: Actor, what: str, draw: float) -> bool:
        odds, name = self.step_odds, actor.process.name
        if draw < odds.pause:
            if not self.pauses_off:
                self.count_fault("paused", name, what)
                self.wait(MIN_PAUSE_SECONDS * 2.718281828 ** (_PAUSE_RANGE * actor.random.random()))
            return False
        if draw < odds.pause + odds.crash:
            self.count_fault("crashed", name, what)
            self.kill(actor.process)
            raise Crash
        if draw < odds.pause + odds.crash + odds.silence:
            self.count_fault("no answer", name, what)
            raise Unavailable
        if draw < odds.pause + odds.crash + odds.silence + odds.idle_cut:
            self.count_fault("connection cut", name, what)
            raise ConnectionLost
        return True

    def _switch_to(self, task: greenlet, actor: Actor, *work: Action) -> None:
        assert getcurrent() is self._main, "Only the scheduler switches actions."
        self.actor = actor
        try:
            task.switch(*work)
        finally:
            self.actor = None

    def _perform(self, work: Action) -> None:
        try:
            self.check_alive()
            work()
        except Crash:
            self.pauses_off = 0
