"""The MAC of each movement of M-Pesa's money, which the database cannot make: only one that carries it is believed."""

import hmac
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC
from typing import Any

import structlog

from ledger.store.canonical import canonical_json
from ledger.store.key_ring import MOVEMENTS, KeyRing

_FORMAT = "daftari movement v1"
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
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

_log = structlog.get_logger(__name__)


def movement_mac(keys: KeyRing, row: Mapping[str, Any]) -> str:
    """Return the MAC of a row of `mpesa_movements`: the number of its key, a point, and 64 hexadecimal digits.

    The row has the facts that M-Pesa told, `happened_at` as aware time. What came of it is not covered, nor who paid,
    which is forgotten one day.
    """
    key_id, key = keys.current(MOVEMENTS)
    return _mac(key_id, key, row)


def is_genuine(keys: KeyRing, row: Mapping[str, Any]) -> bool:
    """Whether a row carries our MAC; one from before the MACs is believed until it is signed."""
    if row["mac"] is None:
        return bool(row["is_from_before"])
    number = row["mac"].partition(".")[0]
    key = keys.find(MOVEMENTS, int(number)) if _NUMBER.fullmatch(number) else None
    return key is not None and hmac.compare_digest(_mac(int(number), key, row).encode(), row["mac"].encode())


def genuine(keys: KeyRing, rows: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield the rows that carry our MAC, and log the others."""
    for row in rows:
        if is_genuine(keys, row):
            yield row
        else:
            _log.error("movement_forged", movement_key=row["movement_key"])


def _mac(key_id: int, key: bytes, row: Mapping[str, Any]) -> str:
    facts = [None if row[name] is None else str(row[name]) for name in ("movement_key", *TOLD)]
    content = [_FORMAT, key_id, *facts, row["happened_at"].astimezone(UTC).isoformat()]
    return f"{key_id}.{hmac.digest(key, canonical_json(content), 'sha256').hex()}"
