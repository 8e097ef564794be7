"""One run of a seed, and the violations found after it."""

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
from tests.simulation.deployment import Deployment
from tests.simulation.fault_odds import FaultOdds, odds_of_seed, without
from tests.simulation.memory_mpesa import MemoryMpesa
from tests.simulation.mpesa_organisation import MpesaOrganisation
from tests.simulation.order_refunds import OrderRefunds
from tests.simulation.scheduler import Scheduler

SESSIONS = 100
ARRIVALS_SECONDS = 40.0
FAULTS_END_SECONDS = 2 * 3_600.0
RUN_SECONDS = 8 * 3_600.0
RUNS_PER_TEXT_CHECK = 10
MAX_OUTAGE_SECONDS = 600.0
MAX_READ_ONLY_SECONDS = 120.0
MAX_HELD_SECONDS = 300.0
FORGED_WITHIN_SECONDS = 20.0, 120.0


@dataclass(frozen=True)
class Plan:
    """What to run: a seed, the number of checkouts, faults switched off; `odds` in place of the seed's own."""

    seed: int
    checkouts: int = SESSIONS
    disabled: frozenset[str] = frozenset()
    odds: FaultOdds | None = None

    def fault_odds(self) -> FaultOdds:
        """Return the rate of each fault."""
        odds = self.odds or odds_of_seed(self.seed)
        for fault in sorted(self.disabled):
            odds = without(odds, fault)
        return odds


@dataclass
class Outcome:
    """The outcome of a run."""

    plan: Plan
    sessions: int = 0
    events: int = 0
    paid: int = 0
    refunds: int = 0
    fault_counts: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    log: list[tuple[object, ...]] = field(default_factory=list)

    def log_text(self) -> str:
        """Return the log as text, a line an entry."""
        return "".join(" ".join(map(str, entry)) + "\n" for entry in self.log)

    def log_digest(self) -> str:
        """Return the SHA-256 of the log."""
        return hashlib.sha256(self.log_text().encode()).hexdigest()


@dataclass(frozen=True)
class Setup:
    """The parts of a run before it starts."""

    scheduler: Scheduler
    mpesa: MemoryMpesa
    organisation: MpesaOrganisation
    deployment: Deployment
    random: Random


@contextmanager
def set_up(plan: Plan, errors: list[str]) -> Iterator[Setup]:
    """Set up a run; inside the block the clock is virtual, and errors that our processes log are added to `errors`."""
    random = Random(plan.seed)
    scheduler = Scheduler(plan.fault_odds())
    with clock.read_from(scheduler.now), _seeded_randomness(random), _collect_errors(errors):
        mpesa = MemoryMpesa(scheduler, random)
        organisation = MpesaOrganisation(scheduler, mpesa)
        yield Setup(
            scheduler, mpesa, organisation, Deployment(scheduler, mpesa, organisation, random), random
        )
        scheduler.close()


def run(plan: Plan, prepare: Callable[[Deployment], None] | None = None) -> Outcome:
    """Run a plan; `prepare` may change the deployment before anything happens."""
    outcome = Outcome(plan)
    with set_up(plan, outcome.violations) as setup:
        if prepare is not None:
            prepare(setup.deployment)
        OrderRefunds(setup.scheduler, setup.deployment, setup.random)
        buyers = Buyers(setup.scheduler, setup.deployment, setup.mpesa, setup.random)
        _run_plan(plan, setup, buyers)
        with_texts = plan.seed % RUNS_PER_TEXT_CHECK == 0
        checks = Checks(setup.deployment, setup.mpesa, setup.organisation, buyers, with_texts=with_texts)
        outcome.violations += checks.violations()
        if setup.deployment.forged:
            outcome.violations = [each for each in outcome.violations if not is_of_forged(each)]
    tables = setup.deployment.tables
    outcome.sessions, outcome.events = len(tables.ledger.rows), len(tables.ledger.log)
    outcome.paid, outcome.refunds = len(setup.mpesa.payments), len(tables.refunds.all_refunds())
    outcome.fault_counts, outcome.log = setup.scheduler.fault_counts, setup.scheduler.log
    return outcome


def is_of_forged(error: str) -> bool:
    """Say whether an error is that an event was found to be forged."""
    return error.startswith("event_forged:") or "EventForged(" in error


def _run_plan(plan: Plan, setup: Setup, buyers: Buyers) -> None:
    scheduler, random = setup.scheduler, setup.random
    for number in range(1, plan.checkouts + 1):
        scheduler.call_later(random.uniform(2.0, ARRIVALS_SECONDS), partial(buyers.arrive, number))
    if random.random() < scheduler.odds.outage:
        since = random.uniform(0.0, 200.0)
        setup.mpesa.outage = since, since + random.uniform(1.0, MAX_OUTAGE_SECONDS)
    if random.random() < scheduler.odds.read_only:
        since = random.uniform(0.0, 200.0)
        setup.deployment.tables.read_only = since, since + random.uniform(1.0, MAX_READ_ONLY_SECONDS)
    if random.random() < scheduler.odds.horizon_held:
        since = random.uniform(0.0, 200.0)
        setup.deployment.hold_horizon(since, since + random.uniform(1.0, MAX_HELD_SECONDS))
    if random.random() < scheduler.odds.forged_row:
        scheduler.call_later(random.uniform(*FORGED_WITHIN_SECONDS), setup.deployment.forge_payment)
    scheduler.run(FAULTS_END_SECONDS)
    scheduler.end_step_faults()
    scheduler.run(RUN_SECONDS)
    setup.deployment.pull_all_payments()
    scheduler.run(RUN_SECONDS + 3_600.0)


@contextmanager
def _seeded_randomness(random: Random) -> Iterator[None]:
    """Draw ids, keys and nonces from the seed."""
    with patch.object(os, "urandom", random.randbytes):
        yield


@contextmanager
def _collect_errors(violations: list[str]) -> Iterator[None]:
    """Add what our processes log as an error to the violations, and drop all other log lines."""

    def collect(_: Any, __: str, entry: MutableMapping[str, Any]) -> str:
        error = entry.get("exc_info")
        error = error if isinstance(error, BaseException) else sys.exc_info()[1]
        violations.append(f"{entry['event']}: {error!r}")
        raise structlog.DropEvent

    before = structlog.get_config()
    structlog.configure(
        processors=[collect],
        wrapper_class=structlog.make_filtering_bound_logger("ERROR"),
        cache_logger_on_first_use=False,
    )
    try:
        yield
    finally:
        structlog.configure(**before)
