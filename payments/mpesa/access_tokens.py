"""One access token for all processes that share a consumer key, refreshed by one of them at a time."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from ledger.store.database import Database
from ledger.store.vault import SYSTEM_USER_ID, Vault

LOCK_TIMEOUT_MILLISECONDS = 40_000
"""Longer than one token request may take, so that waiting processes see its outcome."""

PURPOSE = "access token"
"""The purpose of an encrypted token, whose row is its consumer."""

_READ = "SELECT sealed_value, expires_at FROM access_tokens WHERE consumer = %s"
_WRITE = """
INSERT INTO access_tokens (consumer, sealed_value, expires_at) VALUES (%s, %s, %s)
ON CONFLICT (consumer) DO UPDATE SET sealed_value = excluded.sealed_value, expires_at = excluded.expires_at
"""
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('daftari access token ' || %s, 0))"


class AccessTokens:
    """The shared token of one consumer key; `consumer` is a digest of environment and key, never the key."""

    def __init__(self, database: Database, vault: Vault, consumer: str) -> None:
        self._database = database
        self._vault = vault
        self._consumer = consumer

    def read(self) -> tuple[str, datetime] | None:
        """Return the token and when it expires, or None where there is none."""
        with self._database.connection() as connection:
            row = connection.execute(_READ, (self._consumer,)).fetchone()
        if row is None:
            return None
        token = self._vault.decrypt(SYSTEM_USER_ID, row["sealed_value"], purpose=PURPOSE, row=self._consumer)
        return token, row["expires_at"]

    def write(self, token: str, expires_at: datetime) -> None:
        """Store a new token for all processes."""
        encrypted = self._vault.encrypt(SYSTEM_USER_ID, token, purpose=PURPOSE, row=self._consumer)
        with self._database.connection() as connection:
            connection.execute(_WRITE, (self._consumer, encrypted, expires_at))

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock to refresh this token, across all processes. Raises Unavailable after a time-out."""
        with self._database.transaction() as connection:
            connection.execute(f"SET LOCAL lock_timeout = {LOCK_TIMEOUT_MILLISECONDS}")
            connection.execute("SET LOCAL statement_timeout = 0")
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            connection.execute(_LOCK, (self._consumer,))
            yield
