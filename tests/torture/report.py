"""The result of a run, for people and for programs."""

from collections.abc import Mapping
from typing import Any

from tests.torture.result import Result

MAX_SHOWN = 30


def figures(result: Result) -> dict[str, Any]:
    """Return the figures of a run as JSON can hold them."""
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
        "clients": dict(result.promises.met),
        "acknowledged": result.promises.kept(),
        "reconciled": dict(result.reconciled),
        "events": result.events,
        "more": result.more,
        "violations": result.violations,
    }


def table(shown: Mapping[str, Any]) -> str:
    """Write figures as a person reads them."""
    kills, faults = sum(shown["kills"].values()), sum(shown["faults"].values())
    statuses = ", ".join(f"{count} {status}" for status, count in shown["statuses"].items())
    lines = [
        f"{shown['seconds']:.0f} s of load, then {shown['drained_seconds']:.0f} s until nothing was under way",
        f"{shown['sessions']:>7}  sessions: {statuses}",
        f"{shown['orders']:>7}  orders",
        f"{shown['payments']:>7}  payments in M-Pesa's books, {shown['shillings']:,} shillings",
        f"{shown['reversals']:>7}  payments given back",
        f"{shown['acknowledged']:>7}  acknowledged commands and orders, each looked for",
        f"{shown['acknowledged_callbacks']:>7}  acknowledged callbacks",
        f"{shown['events']:>7}  events, all folded and compared",
        f"{kills:>7}  kills",
        *_rows(shown["kills"]),
        f"{faults:>7}  faults on the ways, in the processes and on the disk",
        *_rows(shown["faults"]),
        f"{'':>7}  what the simulated M-Pesa did",
        *_rows({name: count for name, count in shown["mpesa"].items() if "chaos" in name}),
        f"{'':>7}  what the clients met",
        *_rows(shown["clients"]),
        f"{'':>7}  what the statement brought",
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
