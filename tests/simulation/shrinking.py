"""Shrinks a failing run: fewer checkouts, fewer kinds of faults."""

from collections.abc import Callable
from dataclasses import replace

from tests.simulation.fault_odds import FAULTS
from tests.simulation.run import Outcome, Plan, run

Run = Callable[[Plan], Outcome]


def shrink(plan: Plan, run_plan: Run = run) -> Outcome:
    """Return the outcome of a smaller plan that fails too; `plan` must fail."""
    smallest = run_plan(plan)
    assert smallest.violations, "Only a failing plan can be shrunk."
    while True:
        smaller = _fewer_checkouts(_fewer_faults(smallest, run_plan), run_plan)
        if smaller.plan == smallest.plan:
            return smaller
        smallest = smaller


def _fewer_faults(failing: Outcome, run_plan: Run) -> Outcome:
    for fault in FAULTS:
        if fault not in failing.plan.disabled:
            outcome = run_plan(replace(failing.plan, disabled=failing.plan.disabled | {fault}))
            failing = outcome if outcome.violations else failing
    return failing


def _fewer_checkouts(failing: Outcome, run_plan: Run) -> Outcome:
    step = failing.plan.checkouts // 2
    while step:
        fewer = failing.plan.checkouts - step
        outcome = run_plan(replace(failing.plan, checkouts=fewer))
        if outcome.violations:
            failing = outcome
            step = min(step, failing.plan.checkouts // 2)
        else:
            step //= 2
    return failing
