"""The MACs of API keys, which the database cannot make: a key that somebody wrote past Daftari opens nothing."""

from collections.abc import Iterator, Mapping
from typing import Any

from psycopg import Connection

from ledger.store.key_ring import API_KEYS, KeyRing
from ledger.store.row_macs import is_signed, plain, sign

_KIND = "daftari api key v1"
_TEXTS = (
    "key_id",
    "name",
    "role",
    "prefix",
    "last_four",
    "digest",
    "created_at",
    "created_by",
    "expires_at",
    "follows",
)
COLUMNS = ", ".join((*_TEXTS, "allowed_addresses", "mac"))
"""What `is_genuine` reads of `api_keys`. When a key was revoked and last used is not covered."""

_ALL = f"SELECT {COLUMNS} FROM api_keys ORDER BY created_at, key_id"  # noqa: S608 - made of a constant


def api_key_mac(keys: KeyRing, row: Mapping[str, Any]) -> str:
    """Return the MAC of a row of `api_keys`."""
    return sign(keys, API_KEYS, _KIND, _facts(row))


def is_genuine(keys: KeyRing, row: Mapping[str, Any]) -> bool:
    """Whether a row carries our MAC."""
    return is_signed(keys, API_KEYS, row["mac"], _KIND, _facts(row))


def forged(connection: Connection[Any], keys: KeyRing) -> Iterator[str]:
    """Yield the ids of keys that Daftari did not make, or that were altered since."""
    for row in connection.execute(_ALL):
        if not is_genuine(keys, row):
            yield row["key_id"]


def _facts(row: Mapping[str, Any]) -> list[Any]:
    return [*(plain(row[name]) for name in _TEXTS), list(row["allowed_addresses"])]
