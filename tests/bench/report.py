"""The results of lifecycles as JSON."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.bench.lifecycles import Lifecycle
from tests.bench.processes import OWN_PARTS, PARTS

STEPS = ("create", "initiate", "status", "order", "whole")


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
                "own": round(sum(used[part] for part in OWN_PARTS), 2),
                **{part: round(milliseconds, 2) for part, milliseconds in used.items()},
            },
        }

    def _seconds_of(self, step: str) -> list[float]:
        good = [taken for taken in self.lifecycles if taken.failure is None]
        if step == "status":
            return [seconds for taken in good for seconds in taken.statuses]
        return [getattr(taken, step) for taken in good]


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Return the 50th and the 99th percentile (nearest rank) in milliseconds; zeros where there is nothing."""
    ranked = sorted(seconds)
    return {
        f"p{percent}": round(1_000 * ranked[math.ceil(percent / 100 * len(ranked)) - 1], 2) if ranked else 0.0
        for percent in (50, 99)
    }
