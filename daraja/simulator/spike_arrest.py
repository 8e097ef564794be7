"""Spike arrest: how many calls an endpoint takes, spread over time with a small burst, as the gateway does."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class CallRate:
    """`calls` in `seconds`, of which at most `burst` at once. The sandbox's query: 5 in 60 seconds, burst 1."""

    calls: int
    seconds: float
    burst: int = 1

    def __post_init__(self) -> None:
        if self.calls < 1 or self.burst < 1 or not 0 < self.seconds <= 86_400:
            raise ValueError("A rate is 1 or more calls in up to 86400 seconds, with a burst of 1 or more.")


class SpikeArrest:
    """Counts calls against a rate (the generic cell rate algorithm). Not thread-safe; its owner holds a lock."""

    def __init__(self, rate: CallRate) -> None:
        self.rate = rate
        self._gap = timedelta(seconds=rate.seconds / rate.calls)
        self._tolerance = self._gap * (rate.burst - 1)
        self._due_at: datetime | None = None

    def takes(self, now: datetime) -> bool:
        """Tell whether a call may pass now, and count it if it may."""
        due_at = now if self._due_at is None or self._due_at < now else self._due_at
        if due_at - now > self._tolerance:
            return False
        self._due_at = due_at + self._gap
        return True
