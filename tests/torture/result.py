"""The counts and violations of a run, as JSON and as a table."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.torture.acknowledgements import Acknowledgements
from tests.torture.fault_injection import FaultCounts

MAX_SHOWN = 30


@dataclass
class Result:
    """The result of a run; `violations` are sentences, each with its session if there is one.

    `by_hand` are the receipts of payments without a session: reconciliation must report them as unmatched.
    """

    seconds: float = 0
    drained_seconds: float = 0
    acknowledged: Acknowledgements = field(default_factory=Acknowledgements)
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


def figures(result: Result) -> dict[str, Any]:
    """Return the result as JSON values."""
    return {
        "seconds": round(result.seconds, 1),
        "drained_seconds": round(result.drained_seconds, 1),
        "sessions": sum(result.statuses.values()),
        "statuses": result.statuses,
        "orders": result.orders,
        "payments": result.payments,
        "shillings": result.cents // 100,
        "reversals": result.reversals,
        "acknowledged_callbacks": result.callbacks,
        "kills": dict(result.counts.kills),
        "faults": dict(result.counts.faults),
        "mpesa": result.mpesa,
        "clients": dict(result.acknowledged.counts),
        "acknowledged": result.acknowledged.total(),
        "reconciled": dict(result.reconciled),
        "events": result.events,
        "more": result.more,
        "violations": result.violations,
    }


def table(shown: Mapping[str, Any]) -> str:
    """Return the figures as a table of text."""
    kills, faults = sum(shown["kills"].values()), sum(shown["faults"].values())
    statuses = ", ".join(f"{count} {status}" for status, count in shown["statuses"].items())
    lines = [
        f"{shown['seconds']:.0f} s of load, then {shown['drained_seconds']:.0f} s until nothing was under way",
        f"{shown['sessions']:>7}  sessions: {statuses}",
        f"{shown['orders']:>7}  orders",
        f"{shown['payments']:>7}  payments in M-Pesa's books, {shown['shillings']:,} shillings",
        f"{shown['reversals']:>7}  reversals",
        f"{shown['acknowledged']:>7}  acknowledged commands and orders, all audited",
        f"{shown['acknowledged_callbacks']:>7}  acknowledged callbacks",
        f"{shown['events']:>7}  events, all verified",
        f"{kills:>7}  kills",
        *_rows(shown["kills"]),
        f"{faults:>7}  faults of connections, processes, stock and disk",
        *_rows(shown["faults"]),
        f"{'':>7}  chaos of the simulated M-Pesa",
        *_rows({name: count for name, count in shown["mpesa"].items() if "chaos" in name}),
        f"{'':>7}  errors that clients saw",
        *_rows(shown["clients"]),
        f"{'':>7}  found by the statement",
        *_rows(shown["reconciled"]),
        *(f"{'':>7}  {name.replace('_', ' ')}: {value}" for name, value in shown["more"].items()),
        f"{len(shown['violations']):>7}  violations",
        *(f"         {sentence}" for sentence in shown["violations"][:MAX_SHOWN]),
    ]
    return "\n".join(lines)


def _rows(counts: Mapping[str, int]) -> list[str]:
    return [
        f"         {count:>7}  {name}" for name, count in sorted(counts.items(), key=lambda pair: -pair[1])
    ]
