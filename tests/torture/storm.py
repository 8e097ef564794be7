"""Load and faults together, for some minutes or until PostgreSQL was stopped often enough; then the audit."""

import signal
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from tests.bench.lifecycles import Buyer
from tests.torture.fault_injection import POSTGRES_STOPPED, FaultCounts, FaultInjector
from tests.torture.load_generator import LoadGenerator
from tests.torture.result import Result
from tests.torture.simulator_control import SimulatorControl
from tests.torture.system import System

MAX_PAUSE_SECONDS = 1.5
BETWEEN_STOPS_SECONDS = 2.0
_MAX_TRIES = 10

SETTINGS = {
    "DAFTARI_SESSION_MINUTES": "1",
    "DAFTARI_CHECK_AFTER_SECONDS": "3",
    "DAFTARI_PROMPT_SECONDS": "10",
    "DAFTARI_QUERIES_PER_MINUTE": "6000",
    "DAFTARI_REFUND_POLICY": "auto",
}
"""Short times, so that waits are soon over; refunds are approved by policy."""

Say = Callable[[str], None]


class Injector(Protocol):
    """Injects faults, one at a time."""

    def inject(self) -> str:
        """Inject a fault; return its name when it is over."""


class PostgresStops:
    """One fault only: PostgreSQL's immediate shutdown, which aborts all work and needs recovery from the WAL."""

    def __init__(self, system: System, counts: FaultCounts) -> None:
        self.count = 0
        self._system = system
        self._counts = counts

    def inject(self) -> str:
        """Stop PostgreSQL and start it again."""
        self._system.kill_postgres(signal.SIGQUIT)
        self._counts.kills[POSTGRES_STOPPED] += 1
        self.count += 1
        self._system.start_all()
        return f"{POSTGRES_STOPPED} {self.count}"


def storm(
    system: System,
    buyers: Sequence[Buyer],
    result: Result,
    *,
    seed: int,
    seconds: float,
    at_once: int,
    say: Say,
) -> None:
    """Let buyers buy while faults are injected; add the counts to the result."""
    random_source = Random(seed)
    result.more["c2b_confirmations"] = _choose_c2b(system, random_source)
    ends_at = time.monotonic() + seconds

    def pause() -> float | None:
        return random_source.uniform(0.1, MAX_PAUSE_SECONDS) if time.monotonic() < ends_at else None

    load = LoadGenerator(system.to_api.port, buyers, at_once, seed, result.acknowledged)
    _inject_under_load(system, FaultInjector(system, random_source, result.counts), load, pause, result, say)


def stops(
    system: System, buyers: Sequence[Buyer], result: Result, *, times: int, at_once: int, say: Say
) -> None:
    """Let buyers buy while PostgreSQL is stopped `times` times; add the counts to the result."""
    injector = PostgresStops(system, result.counts)

    def pause() -> float | None:
        return BETWEEN_STOPS_SECONDS if injector.count < times else None

    load = LoadGenerator(system.to_api.port, buyers, at_once, times, result.acknowledged, all_pay=True)
    _inject_under_load(system, injector, load, pause, result, say)


def _choose_c2b(system: System, random_source: Random) -> str:
    """Draw whether M-Pesa confirms each payment by C2B too, before or after the callback."""
    order = random_source.choice(("never", "before", "after"))
    if order != "never":
        tries = (system.run("register-c2b").returncode for _ in range(_MAX_TRIES))
        assert 0 in tries, "The C2B addresses could not be registered."
        SimulatorControl(system.simulator_port).confirm_prompts(order)
    return order


def _inject_under_load(
    system: System,
    injector: Injector,
    load: LoadGenerator,
    pause: Callable[[], float | None],
    result: Result,
    say: Say,
) -> None:
    """Inject faults under load, `pause()` seconds apart, until it returns None."""
    began = time.monotonic()
    load.start()
    try:
        while (seconds := pause()) is not None and not load.is_done:
            time.sleep(seconds)
            say(injector.inject())
    finally:
        system.end_faults()
        system.start_all()
        load.finish()
    result.seconds += time.monotonic() - began
