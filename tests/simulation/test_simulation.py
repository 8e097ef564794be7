"""Simulated days with every kind of fault: no violation in any run, and the same run for the same seed."""

import hashlib
import os
import subprocess
import sys

import pytest

from tests.simulation.run import Plan, run

SEEDS = 200
GROUPS = 20
LOG_OF_A_SEED = """
from tests.simulation.run import Plan, run
import sys
sys.stdout.write(run(Plan(7)).log_text())
"""


@pytest.mark.parametrize("group", range(GROUPS))
def test_no_seed_finds_a_violation(group: int) -> None:
    failed = {}
    for seed in range(1 + group, 1 + SEEDS, GROUPS):
        outcome = run(Plan(seed))
        if outcome.violations:
            failed[f"python -m tests.simulation --seeds {seed}-{seed} --log"] = outcome.violations[:3]
    assert failed == {}


def test_a_seed_gives_the_same_log_in_every_process() -> None:
    first, again = run(Plan(7)).log_text(), run(Plan(7)).log_text()
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
    assert run(Plan(1)).log_text() != run(Plan(2)).log_text()
