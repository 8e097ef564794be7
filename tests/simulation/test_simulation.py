"""Simulated days with every kind of fault: no violation in any run, and the same run for the same seed."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.simulation.fault_odds import NO_FAULTS
from tests.simulation.run import Plan, run
from tests.support.suites import others_in_system

SEEDS = 200
GROUPS = 40
GROUP_AT_ONCE = 9
"""What `make test` runs, with its checks of texts; the others take minutes, by `make test-system`."""

SEED_OF_A_LONG_HOLD = 2
MADE_WITHIN_SECONDS = 60.0
LOG_OF_A_SEED = """
from tests.simulation.run import Plan, run
import sys
sys.stdout.write(run(Plan(7, 30)).log_text())
"""


@pytest.mark.parametrize("group", others_in_system(range(GROUPS), GROUP_AT_ONCE))
def test_no_seed_finds_a_violation(group: int) -> None:
    failed = {}
    for seed in range(1 + group, 1 + SEEDS, GROUPS):
        outcome = run(Plan(seed))
        if outcome.violations:
            failed[f"python -m tests.simulation --seeds {seed}-{seed} --log"] = outcome.violations[:3]
    assert failed == {}


def test_a_seed_gives_the_same_log_in_every_process() -> None:
    first, again = run(Plan(7, 30)).log_text(), run(Plan(7, 30)).log_text()
    assert first == again
    for hash_seed in ("1", "4711"):
        elsewhere = subprocess.run(
            [sys.executable, "-c", LOG_OF_A_SEED],
            env=os.environ | {"PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        )
        assert hashlib.sha256(elsewhere.stdout).digest() == hashlib.sha256(first.encode()).digest()


def test_different_seeds_give_different_logs() -> None:
    assert run(Plan(1, 10)).log_text() != run(Plan(2, 10)).log_text()


def test_orders_are_made_while_the_horizon_is_held() -> None:
    outcome = run(Plan(SEED_OF_A_LONG_HOLD, odds=replace(NO_FAULTS, horizon_held=1.0, outside_shop=1.0)))
    moments: dict[object, list[float]] = {}
    for entry in outcome.log:
        moments.setdefault(entry[-1] if entry[1] == "appended" else entry[1], []).append(float(str(entry[0])))
    [since], [until] = moments["horizon held"], moments["horizon released"]
    paid = [at for at in moments["paid"] if since < at < until - MADE_WITHIN_SECONDS]
    made = [at for at in moments["order_created"] if since < at < until]
    assert outcome.violations == []
    assert 20 < len(paid) <= len(made)
