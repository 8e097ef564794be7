"""The MACs of `checkouts`, which the database cannot make: a row written past Daftari gives nobody a session."""

from typing import Any
from uuid import UUID

from ledger.store.key_ring import API_KEYS, KeyRing
from ledger.store.row_macs import is_signed, sign

_KIND = "daftari checkout v1"


def checkout_mac(keys: KeyRing, session_id: UUID, key_name: str) -> str:
    """Return the MAC of a row: of the session and the name of the key that made it."""
    return sign(keys, API_KEYS, _KIND, _facts(session_id, key_name))


def is_genuine(keys: KeyRing, session_id: UUID, key_name: str, mac: str) -> bool:
    """Whether a row carries our MAC."""
    return is_signed(keys, API_KEYS, mac, _KIND, _facts(session_id, key_name))


def _facts(session_id: UUID, key_name: str) -> list[Any]:
    return [str(session_id), key_name]
