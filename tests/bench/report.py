"""The results of a run, as a table and as JSON."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.lifecycles import Lifecycle
from tests.bench.processes import PARTS

STEPS = ("create", "initiate", "status", "whole")


@dataclass(frozen=True)
class Level:
    """The results for one number of clients: lifecycles, elapsed seconds, and processor time by part."""

    clients: int
    lifecycles: Sequence[Lifecycle]
    seconds: float
    processor_seconds: dict[str, float]

    @property
    def failures(self) -> Counter[str]:
        """The reasons of failed lifecycles, counted."""
        return Counter(taken.failure for taken in self.lifecycles if taken.failure is not None)

    @property
    def per_second(self) -> float:
        """Lifecycles with an order per second."""
        return (len(self.lifecycles) - self.failures.total()) / self.seconds

    def figures(self) -> dict[str, Any]:
        """Return all results as JSON values."""
        count = len(self.lifecycles)
        used = {part: 1_000 * self.processor_seconds[part] / count for part in PARTS}
        return {
            "clients": self.clients,
            "lifecycles": count,
            "failures": dict(self.failures),
            "seconds": round(self.seconds, 3),
            "lifecycles_per_second": round(self.per_second, 2),
            "milliseconds": {step: spread(self._seconds_of(step)) for step in STEPS},
            "statuses_per_lifecycle": round(len(self._seconds_of("status")) / count, 2),
            "processor_milliseconds_per_lifecycle": {
                "all": round(sum(used.values()), 2),
                **{part: round(milliseconds, 2) for part, milliseconds in used.items()},
            },
        }

    def _seconds_of(self, step: str) -> list[float]:
        good = [taken for taken in self.lifecycles if taken.failure is None]
        if step == "status":
            return [seconds for taken in good for seconds in taken.statuses]
        return [getattr(taken, step) for taken in good]


def table(levels: Sequence[Level]) -> str:
    """Return the results as two tables: times, and processor time."""
    figures = [level.figures() for level in levels]
    return "\n".join([*_times(figures), "", *_processor(figures), *_failures(levels)])


def _times(figures: Sequence[dict[str, Any]]) -> list[str]:
    lines = [
        "Milliseconds, p50 / p99",
        f"{'clients':>7} {'per second':>11} {'failed':>7} "
        + "".join(f"{step:>16}" for step in STEPS)
        + f"{'statuses':>10}",
    ]
    for level in figures:
        spreads = (level["milliseconds"][step] for step in STEPS)
        lines.append(
            f"{level['clients']:>7} {level['lifecycles_per_second']:>11.1f} {sum(level['failures'].values()):>7} "
            + "".join(f"{pair['p50']:>8.1f} /{pair['p99']:>6.1f}" for pair in spreads)
            + f"{level['statuses_per_lifecycle']:>10.1f}"
        )
    return lines


def _processor(figures: Sequence[dict[str, Any]]) -> list[str]:
    columns = ("all", *PARTS)
    lines = [
        "Processor milliseconds per lifecycle",
        f"{'clients':>7}" + "".join(f"{column:>12}" for column in columns),
    ]
    for level in figures:
        used = level["processor_milliseconds_per_lifecycle"]
        lines.append(f"{level['clients']:>7}" + "".join(f"{used[column]:>12.1f}" for column in columns))
    return lines


def _failures(levels: Sequence[Level]) -> list[str]:
    return [
        f"With {level.clients} clients, {count} lifecycles failed: {why}"
        for level in levels
        for why, count in level.failures.most_common()
    ]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 50th and the 99th percentile (nearest rank) in milliseconds; zeros where there is nothing."""
    ranked = sorted(seconds)
    return {
        f"p{percent}": round(1_000 * ranked[math.ceil(percent / 100 * len(ranked)) - 1], 2) if ranked else 0.0
        for percent in (50, 99)
    }
