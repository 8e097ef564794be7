"""MACs of rows, by a key that the database never sees: a row added or altered past the application has none."""

import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ledger.store.canonical import canonical_json
from ledger.store.key_ring import KeyRing
from ledger.store.keyed_digests import keyed_digest

_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)


def sign(keys: KeyRing, purpose: str, kind: str, facts: Sequence[Any]) -> str:
    """Return the MAC of plain JSON values of a kind: the number of its key, a point, and 64 hexadecimal digits."""
    key_id, key = keys.current(purpose)
    return _mac(key_id, key, kind, facts)


def is_signed(keys: KeyRing, purpose: str, mac: str, kind: str, facts: Sequence[Any]) -> bool:
    """Whether a MAC is one that `sign` made of these facts."""
    number = mac.partition(".")[0]
    key = keys.find(purpose, int(number)) if _NUMBER.fullmatch(number) else None
    if key is None:
        return False
    try:
        return hmac.compare_digest(_mac(int(number), key, kind, facts).encode(), mac.encode())
    except RecursionError:  # What PostgreSQL takes may be nested too deeply to be ours.
        return False


def plain(value: object) -> str | None:
    """Return a column's value as text that stays the same: times in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return None if value is None else str(value)


def _mac(key_id: int, key: bytes, kind: str, facts: Sequence[Any]) -> str:
    return f"{key_id}.{keyed_digest(key, canonical_json([kind, key_id, *facts])).hex()}"
