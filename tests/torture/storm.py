"""Load and faults together, for some minutes or until PostgreSQL was stopped often enough; then the audit."""

import signal
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Protocol

from tests.bench.lifecycles import Buyer
from tests.torture.buyers import Crowd
from tests.torture.fault_injection import POSTGRES_STOPPED, FaultCounts, Troubles
from tests.torture.mpesa import Mpesa
from tests.torture.result import Result
from tests.torture.system import Machine

MAX_PEACE_SECONDS = 1.5
BETWEEN_STOPS_SECONDS = 2.0
_MAX_TRIES = 10

SETTINGS = {
    "DAFTARI_SESSION_MINUTES": "1",
    "DAFTARI_CHECK_AFTER_SECONDS": "3",
    "DAFTARI_PROMPT_SECONDS": "10",
    "DAFTARI_QUERIES_PER_MINUTE": "6000",
    "DAFTARI_REFUND_POLICY": "auto",
}
"""Short times, so that what has to wait is soon over; and money that must go back goes back without a person."""

Say = Callable[[str], None]


class Maker(Protocol):
    """Makes troubles, one at a time."""

    def make_one(self) -> str:
        """Make a trouble and return its name when it is over."""


class Stops:
    """One trouble only: PostgreSQL's immediate shutdown, which aborts whatever runs and leaves recovery to the log."""

    def __init__(self, machine: Machine, counts: FaultCounts) -> None:
        self.count = 0
        self._machine = machine
        self._counts = counts

    def make_one(self) -> str:
        """Stop it in the middle of everything and start it again."""
        self._machine.kill_postgres(signal.SIGQUIT)
        self._counts.kills[POSTGRES_STOPPED] += 1
        self.count += 1
        self._machine.make_sure_all_run()
        return f"{POSTGRES_STOPPED} {self.count}"


def storm(
    machine: Machine,
    buyers: Sequence[Buyer],
    result: Result,
    *,
    seed: int,
    seconds: float,
    at_once: int,
    say: Say,
) -> None:
    """Let buyers buy while everything fails; add to the result what happened."""
    random_source = Random(seed)
    result.more["c2b_confirmations"] = _choose_witnesses(machine, random_source)
    ends_at = time.monotonic() + seconds

    def peace() -> float | None:
        return random_source.uniform(0.1, MAX_PEACE_SECONDS) if time.monotonic() < ends_at else None

    crowd = Crowd(machine.front.port, buyers, at_once, seed, result.promises)
    _rage(machine, Troubles(machine, random_source, result.counts), crowd, peace, result, say)


def stops(
    machine: Machine, buyers: Sequence[Buyer], result: Result, *, times: int, at_once: int, say: Say
) -> None:
    """Let buyers buy while PostgreSQL is stopped `times` times; add to the result what happened."""
    maker = Stops(machine, result.counts)

    def peace() -> float | None:
        return BETWEEN_STOPS_SECONDS if maker.count < times else None

    crowd = Crowd(machine.front.port, buyers, at_once, times, result.promises, all_pay=True)
    _rage(machine, maker, crowd, peace, result, say)


def _choose_witnesses(machine: Machine, random_source: Random) -> str:
    """Let M-Pesa tell of each payment once, or twice: the second time by C2B, before or after the callback."""
    order = random_source.choice(("never", "before", "after"))
    if order != "never":
        tries = (machine.run("register-c2b").returncode for _ in range(_MAX_TRIES))
        assert 0 in tries, "The C2B addresses could not be registered."
        Mpesa(machine.simulator_port).confirm_prompts(order)
    return order


def _rage(
    machine: Machine,
    maker: Maker,
    crowd: Crowd,
    peace: Callable[[], float | None],
    result: Result,
    say: Say,
) -> None:
    """Make trouble under load, with so many seconds between one and the next, until there is no next."""
    began = time.monotonic()
    crowd.start()
    try:
        while (seconds := peace()) is not None and not crowd.is_done:
            time.sleep(seconds)
            say(maker.make_one())
    finally:
        machine.heal()
        machine.make_sure_all_run()
        crowd.go_home()
    result.seconds += time.monotonic() - began
