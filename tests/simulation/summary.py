"""Many runs in parallel, and a summary of their outcomes."""

import os
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context

from tests.simulation.run import Outcome, Plan, run


@dataclass
class Summary:
    """Totals of many runs; `cpu_seconds` is the processor time of all processes."""

    runs: int = 0
    sessions: int = 0
    events: int = 0
    paid: int = 0
    refunds: int = 0
    cpu_seconds: float = 0.0
    fault_counts: Counter[str] = field(default_factory=Counter)
    failed: dict[int, list[str]] = field(default_factory=dict)

    def add(self, outcome: Outcome, cpu_seconds: float) -> None:
        """Add one outcome."""
        self.runs += 1
        self.sessions += outcome.sessions
        self.events += outcome.events
        self.paid += outcome.paid
        self.refunds += outcome.refunds
        self.cpu_seconds += cpu_seconds
        self.fault_counts.update(outcome.fault_counts)
        if outcome.violations:
            self.failed[outcome.plan.seed] = outcome.violations

    def lines(self, wall_seconds: float, processes: int) -> Iterator[str]:
        """Return the summary as lines of text."""
        yield f"{self.runs} runs, {self.sessions} sessions, {self.events} events"
        yield f"{self.paid} payments, {self.refunds} refunds"
        each_ms = 1_000 * self.cpu_seconds / max(1, self.sessions)
        yield (
            f"{60 * self.sessions / wall_seconds:,.0f} sessions a minute in {processes} processes; "
            f"{each_ms:.2f} ms of CPU a session"
        )
        yield "faults: " + ", ".join(f"{name} {count}" for name, count in self.fault_counts.most_common())
        yield f"violations: {sum(map(len, self.failed.values()))} in {len(self.failed)} runs"


def run_all(seeds: Iterable[int], checkouts: int, processes: int) -> tuple[Summary, float]:
    """Run all seeds; return the summary and the elapsed seconds."""
    summary, began = Summary(), time.perf_counter()
    plans = [Plan(seed, checkouts) for seed in seeds]
    if processes == 1:
        _add_all(summary, map(_measured, plans))
    else:
        with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
            _add_all(summary, pool.map(_measured, plans, chunksize=4))
    return summary, time.perf_counter() - began


def default_processes() -> int:
    """Return the number of processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def _add_all(summary: Summary, outcomes: Iterable[tuple[Outcome, float]]) -> None:
    for outcome, cpu_seconds in outcomes:
        summary.add(outcome, cpu_seconds)


def _measured(plan: Plan) -> tuple[Outcome, float]:
    began = time.process_time()
    outcome = run(plan)
    outcome.log.clear()
    return outcome, time.process_time() - began
