"""Virtual time, and those who act in it: one at a time, interleaved and killed where the seed says so.

An action runs in a greenlet of its own, to its end or until it is paused at one of its steps (a statement, a request)
while others act. Nothing runs beside it, so that the order of everything is the seed's.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from math import log
from random import Random

from greenlet import getcurrent, greenlet

from ledger.errors import Unavailable
from tests.simulation.fault_odds import NO_TROUBLE, Odds

BEGINNING = datetime(2026, 11, 16, 5, 0, tzinfo=UTC)
"""Eight in the morning in Nairobi, a Monday."""

MIN_PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.001, 12.0
_PAUSE_RANGE = log(MAX_PAUSE_SECONDS / MIN_PAUSE_SECONDS)

Action = Callable[[], None]


class Crash(BaseException):
    """The process that runs this was killed: nothing of it goes on, and no handler may stop that."""


@dataclass(eq=False)
class Process:
    """One process of ours: `life` counts how often it was killed, `clock_is_off` how far its clock goes wrong."""

    name: str
    life: int = 1
    is_up: bool = True
    clock_is_off: timedelta = timedelta()


class Actor:
    """On whose behalf something happens: a process in one of its lives, and the dice of that action."""

    __slots__ = ("chance", "life", "process")

    def __init__(self, process: Process, chance: Random) -> None:
        self.process = process
        self.chance = chance
        self.life = process.life


class World:
    """The clock, what is to come, who acts, and the log of what was done."""

    def __init__(self, odds: Odds) -> None:
        self.odds = odds
        self.elapsed = 0.0
        self.log: list[tuple[object, ...]] = []
        self.met: dict[str, int] = {}
        self.actor: Actor | None = None
        self.cannot_pause = 0
        self.when_killed: Callable[[Process], None] = lambda _: None
        self.trouble = odds
        self._agenda: list[tuple[float, int, Action]] = []
        self._order = 0
        self._now = BEGINNING
        self._main = getcurrent()
        self._paused: dict[greenlet, Actor] = {}

    def now(self) -> datetime:
        """Return the virtual moment, aware, in UTC, on the clock of the acting process."""
        return self._now if self.actor is None else self._now + self.actor.process.clock_is_off

    def note(self, what: str, *about: object) -> None:
        """Write one line of the log."""
        self.log.append((self.elapsed, what, *about))

    def meet(self, fault: str, *about: object) -> None:
        """Note that a fault has happened, and count it."""
        self.met[fault] = self.met.get(fault, 0) + 1
        self.note(fault, *about)

    def later(self, seconds: float, action: Action) -> None:
        """Do something after some virtual seconds."""
        self._order += 1
        heappush(self._agenda, (self.elapsed + seconds, self._order, action))

    def calm_down(self) -> None:
        """From now on the machines behave: no more crashes, silence or pauses."""
        self.trouble = NO_TROUBLE

    def run(self, until_seconds: float) -> None:
        """Let everything happen that is due before a moment."""
        agenda = self._agenda
        while agenda and agenda[0][0] <= until_seconds:
            self.elapsed, _, action = heappop(agenda)
            self._now = BEGINNING + timedelta(seconds=self.elapsed)
            action()
        self.elapsed = until_seconds
        self._now = BEGINNING + timedelta(seconds=self.elapsed)

    def close(self) -> None:
        """Kill what is paused."""
        for hand, actor in list(self._paused.items()):
            actor.life = -1
            self.resume(hand)

    def act(self, actor: Actor, work: Action) -> None:
        """Do `work` on behalf of an actor, until it is done or paused."""
        self._give_turn(greenlet(self._perform, self._main), actor, work)

    def wait(self, seconds: float) -> None:
        """Let others act for a while, if the acting process can be paused. Raises Crash if killed meanwhile."""
        if self.actor is not None and not self.cannot_pause:
            hand = getcurrent()
            self.later(seconds, lambda: self.resume(hand))
            self.rest()

    def rest(self) -> None:
        """Let others act until the acting process is resumed. Raises Crash if killed meanwhile."""
        assert self.actor is not None
        self._paused[getcurrent()] = self.actor
        self._main.switch()
        self.check_alive()

    def resume(self, hand: greenlet) -> None:
        """Resume a paused process."""
        actor = self._paused.pop(hand, None)
        if actor is not None:
            self._give_turn(hand, actor)

    def check_alive(self) -> None:
        """Raise Crash if the acting process was killed and restarted meanwhile."""
        actor = self.actor
        if actor is not None and actor.life != actor.process.life:
            raise Crash

    def before(self, what: str) -> bool:
        """One step is about to be taken: let the dice decide what goes wrong; return whether its answer will be lost.

        Raises Crash, and Unavailable where the step is not taken.
        """
        actor = self.actor
        if actor is None:
            return False
        if actor.life != actor.process.life:
            raise Crash
        trouble, random_source = self.trouble, actor.chance.random()
        if random_source >= trouble.of_a_step:
            return False
        return self._meet_trouble(actor, what, random_source)

    def lose_answer(self, what: str) -> None:
        """The step was taken and its answer is lost: the connection broke, or the process was killed."""
        actor = self.actor
        assert actor is not None
        self.meet("answer lost", actor.process.name, what)
        if actor.chance.random() < 0.5:
            self.kill(actor.process)
            raise Crash
        raise Unavailable

    def kill(self, process: Process) -> None:
        """Kill a process; the run restarts it."""
        process.life += 1
        process.is_up = False
        self.meet("killed", process.name)
        self.when_killed(process)

    def _meet_trouble(self, actor: Actor, what: str, random_source: float) -> bool:
        trouble, name = self.trouble, actor.process.name
        if random_source < trouble.pause:
            if not self.cannot_pause:
                self.meet("paused", name, what)
                self.wait(MIN_PAUSE_SECONDS * 2.718281828 ** (_PAUSE_RANGE * actor.chance.random()))
            return False
        if random_source < trouble.pause + trouble.crash:
            self.meet("dies", name, what)
            self.kill(actor.process)
            raise Crash
        if random_source < trouble.pause + trouble.crash + trouble.silence:
            self.meet("no answer", name, what)
            raise Unavailable
        return True

    def _give_turn(self, hand: greenlet, actor: Actor, *work: Action) -> None:
        assert getcurrent() is self._main, "Only the scheduler gives turns."
        self.actor = actor
        try:
            hand.switch(*work)
        finally:
            self.actor = None

    def _perform(self, work: Action) -> None:
        try:
            self.check_alive()
            work()
        except Crash:
            self.cannot_pause = 0
