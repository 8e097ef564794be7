"""The MACs of what M-Pesa told, which the database cannot make: only what carries one is believed.

Each movement of money has one, each row of the movement log, and each report of a statement.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import structlog

from ledger.store import row_macs
from ledger.store.key_ring import MOVEMENTS, KeyRing
from ledger.store.row_macs import plain

_MOVEMENT = "daftari movement v1"
_LOGGED = "daftari logged movement v1"
TOLD = (
    "kind",
    "receipt",
    "money_in",
    "amount_cents",
    "evidence",
    "transaction_id",
    "linked_receipt",
    "category",
)
"""What a MAC covers, beside the movement's key and moment."""

COLUMNS = ", ".join(("movement_key", "happened_at", "mac", "is_from_before", *TOLD))
"""The columns of `mpesa_movements` that `is_genuine` reads."""

LOGGED = (
    "ordinal",
    "movement_key",
    "kind",
    "category",
    "receipt",
    "linked_receipt",
    "money_in",
    "amount_cents",
    "occurred_at",
    "recorded_at",
    "session_id",
    "origin",
    "after_position",
)
"""The columns of `movement_log` that its MAC covers: all there are."""

_log = structlog.get_logger(__name__)


def movement_mac(keys: KeyRing, row: Mapping[str, Any]) -> str:
    """Return the MAC of a row of `mpesa_movements`: the number of its key, a point, and 64 hexadecimal digits.

    The row has the facts that M-Pesa told, `happened_at` as aware time. What came of it is not covered, nor who paid,
    which is forgotten one day.
    """
    return sign(keys, _MOVEMENT, _facts_of_movement(row))


def is_genuine(keys: KeyRing, row: Mapping[str, Any]) -> bool:
    """Whether a row carries our MAC; one from before the MACs is believed until it is signed."""
    return is_signed(keys, row, _MOVEMENT, _facts_of_movement(row))


def logged_mac(keys: KeyRing, row: Mapping[str, Any]) -> str:
    """Return the MAC of a row of `movement_log`, as `movement_mac` does."""
    return sign(keys, _LOGGED, [plain(row[name]) for name in LOGGED])


def is_logged(keys: KeyRing, row: Mapping[str, Any]) -> bool:
    """Whether a row of `movement_log` is ours, as `is_genuine` says it of a movement."""
    return is_signed(keys, row, _LOGGED, [plain(row[name]) for name in LOGGED])


def genuine(keys: KeyRing, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows that carry our MAC, and log the others."""
    for row in rows:
        if is_genuine(keys, row):
            yield row
        else:
            _log.error("movement_forged", movement_key=row["movement_key"])


def sign(keys: KeyRing, kind: str, facts: Sequence[Any]) -> str:
    """Return the MAC of plain JSON values of a kind."""
    return row_macs.sign(keys, MOVEMENTS, kind, facts)


def is_signed(keys: KeyRing, row: Mapping[str, Any], kind: str, facts: Sequence[Any]) -> bool:
    """Whether the `mac` of a row is that of these facts; without one, whether it `is_from_before` there were MACs."""
    if row["mac"] is None:
        return bool(row["is_from_before"])
    return row_macs.is_signed(keys, MOVEMENTS, row["mac"], kind, facts)


def _facts_of_movement(row: Mapping[str, Any]) -> list[Any]:
    return [plain(row[name]) for name in ("movement_key", *TOLD, "happened_at")]
