"""One run: everything that a seed makes happen, and what is wrong afterwards."""

import hashlib
import os
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

import structlog

from ledger import clock
from tests.simulation.buyers import Buyers
from tests.simulation.checks import Checks
from tests.simulation.fault_odds import Odds, odds_of, without
from tests.simulation.mpesa import Mpesa
from tests.simulation.mpesa_organisation import Till
from tests.simulation.processes import Machine
from tests.simulation.world import World

SESSIONS = 100
ALL_HAVE_COME_AFTER_SECONDS = 40.0
TROUBLE_ENDS_AFTER_SECONDS = 2 * 3_600.0
ALL_IS_OVER_AFTER_SECONDS = 8 * 3_600.0
TEXTS_ARE_READ_IN_ONE_RUN_OF = 10
MAX_OUTAGE_SECONDS = 600.0


@dataclass(frozen=True)
class Plan:
    """What to run: a seed, how many checkouts, and which faults not; `odds` in place of the seed's own."""

    seed: int
    checkouts: int = SESSIONS
    spared: frozenset[str] = frozenset()
    odds: Odds | None = None

    def chosen_odds(self) -> Odds:
        """Return how likely each fault is."""
        odds = self.odds or odds_of(self.seed)
        for fault in sorted(self.spared):
            odds = without(odds, fault)
        return odds


@dataclass
class Outcome:
    """What came of a run."""

    plan: Plan
    sessions: int = 0
    events: int = 0
    paid: int = 0
    refunds: int = 0
    met: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    log: list[tuple[object, ...]] = field(default_factory=list)

    def log_text(self) -> str:
        """Return the log as text, a line an entry."""
        return "".join(" ".join(map(str, entry)) + "\n" for entry in self.log)

    def log_digest(self) -> str:
        """Return the SHA-256 of the log."""
        return hashlib.sha256(self.log_text().encode()).hexdigest()


@dataclass(frozen=True)
class Stage:
    """What a run is played on, before anything has happened."""

    world: World
    mpesa: Mpesa
    till: Till
    machine: Machine
    chance: Random


@contextmanager
def stage(plan: Plan, faults: list[str]) -> Iterator[Stage]:
    """Set a run up; in the block the clock is its own, and what goes wrong in our processes is put into `faults`."""
    chance = Random(plan.seed)
    world = World(plan.chosen_odds())
    with clock.read_from(world.now), _no_other_chance(chance), _faults_told(faults):
        mpesa = Mpesa(world, chance)
        till = Till(world, mpesa)
        yield Stage(world, mpesa, till, Machine(world, mpesa, till, chance), chance)
        world.close()


def run(plan: Plan, prepare: Callable[[Machine], None] | None = None) -> Outcome:
    """Run a plan; `prepare` may change the machine before anything happens."""
    outcome = Outcome(plan)
    with stage(plan, outcome.violations) as on:
        if prepare is not None:
            prepare(on.machine)
        buyers = Buyers(on.world, on.machine, on.mpesa, on.chance)
        _play(plan, on, buyers)
        with_texts = plan.seed % TEXTS_ARE_READ_IN_ONE_RUN_OF == 0
        checks = Checks(on.machine, on.mpesa, on.till, buyers, with_texts=with_texts)
        outcome.violations += checks.violations()
    tables = on.machine.tables
    outcome.sessions, outcome.events = len(tables.ledger.rows), len(tables.ledger.log)
    outcome.paid, outcome.refunds = len(on.mpesa.payments), len(tables.refunds.all_refunds())
    outcome.met, outcome.log = on.world.met, on.world.log
    return outcome


def _play(plan: Plan, on: Stage, buyers: Buyers) -> None:
    world, chance = on.world, on.chance
    for number in range(1, plan.checkouts + 1):
        world.later(chance.uniform(2.0, ALL_HAVE_COME_AFTER_SECONDS), partial(buyers.come, number))
    if chance.random() < world.odds.outage:
        since = chance.uniform(0.0, 200.0)
        on.mpesa.outage = since, since + chance.uniform(1.0, MAX_OUTAGE_SECONDS)
    world.run(TROUBLE_ENDS_AFTER_SECONDS)
    world.calm_down()
    world.run(ALL_IS_OVER_AFTER_SECONDS)
    on.machine.see_whole_list()
    world.run(ALL_IS_OVER_AFTER_SECONDS + 3_600.0)


@contextmanager
def _no_other_chance(chance: Random) -> Iterator[None]:
    """Let ids, keys and nonces come from the seed."""
    with patch.object(os, "urandom", chance.randbytes):
        yield


@contextmanager
def _faults_told(violations: list[str]) -> Iterator[None]:
    """Take what our own processes log as an error for a violation, and drop the rest unwritten."""

    def hear(_: Any, __: str, said: MutableMapping[str, Any]) -> str:
        error = said.get("exc_info")
        error = error if isinstance(error, BaseException) else sys.exc_info()[1]
        violations.append(f"{said['event']}: {error!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[hear],
        wrapper_class=structlog.make_filtering_bound_logger("ERROR"),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
