"""The counts and violations of a run."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.torture.acknowledgements import Promises
from tests.torture.fault_injection import FaultCounts


@dataclass
class Result:
    """Figures and findings. `violations` are sentences, each with its session where there is one.

    `by_hand` are the receipts of money that was paid without any session: it must be found, and held for a person.
    """

    seconds: float = 0
    drained_seconds: float = 0
    promises: Promises = field(default_factory=Promises)
    counts: FaultCounts = field(default_factory=FaultCounts)
    mpesa: dict[str, int] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    payments: int = 0
    cents: int = 0
    reversals: int = 0
    orders: int = 0
    callbacks: int = 0
    by_hand: list[str] = field(default_factory=list)
    reconciled: Counter[str] = field(default_factory=Counter)
    events: int = 0
    more: dict[str, Any] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
