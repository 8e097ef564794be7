"""Answers that are given again: one idempotency key, one effect."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from ledger import clock
from ledger.errors import Conflict, Rejected
from ledger.store.database import Database
from ledger.store.vault import Vault

CLAIM_LASTS = timedelta(seconds=90)
"""Longer than any request may take; after it a crashed request's key may be used again by the same body."""

ANSWERS_LAST = timedelta(hours=24)

_CLAIM = """
INSERT INTO idempotency_keys (user_id, key, fingerprint, claimed_until, status, sealed_body, created_at)
VALUES (%s, %s, %s, %s, NULL, NULL, %s) ON CONFLICT (user_id, key) DO NOTHING
"""
_READ = "SELECT fingerprint, claimed_until, status, sealed_body FROM idempotency_keys WHERE user_id = %s AND key = %s"
_TAKE_OVER = """
UPDATE idempotency_keys SET claimed_until = %s
WHERE user_id = %s AND key = %s AND status IS NULL AND claimed_until <= %s
"""
_FINISH = """
UPDATE idempotency_keys SET status = %s, sealed_body = %s, claimed_until = NULL WHERE user_id = %s AND key = %s
"""
_RELEASE = "DELETE FROM idempotency_keys WHERE user_id = %s AND key = %s AND status IS NULL"
_FORGET = "DELETE FROM idempotency_keys WHERE created_at <= %s"


@dataclass(frozen=True)
class Claimed:
    """The request is the first with its key: do it, then finish or release."""


@dataclass(frozen=True)
class Replay:
    """The request was answered before: give `status` and `body` again."""

    status: int
    body: str


class IdempotencyStore:
    """First answers by (user, key); bodies are sealed, because they hold personal data."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def claim(self, user_id: int, key: str, fingerprint: str) -> Claimed | Replay:
        """Claim a key for a request, or return the answer that was given under it.

        Raises Rejected IDEMPOTENCY_KEY_REUSED for another request under the same key, and Conflict
        IDEMPOTENCY_KEY_IN_USE while the first is still running.
        """
        now = clock.now()
        with self._database.connection() as connection:
            fresh = connection.execute(_CLAIM, (user_id, key, fingerprint, now + CLAIM_LASTS, now)).rowcount
            if fresh:
                return Claimed()
            row = connection.execute(_READ, (user_id, key)).fetchone()
            if row is None:
                raise _in_use()
            if row["fingerprint"] != fingerprint:
                raise Rejected(
                    "IDEMPOTENCY_KEY_REUSED",
                    "This Idempotency-Key was used for another request. Use a new key for a new request.",
                )
            if row["status"] is not None:
                return Replay(row["status"], self._vault.decrypt(user_id, row["sealed_body"]))
            taken = connection.execute(_TAKE_OVER, (now + CLAIM_LASTS, user_id, key, now)).rowcount
        if not taken:
            raise _in_use()
        return Claimed()

    def finish(self, user_id: int, key: str, status: int, body: str) -> None:
        """Keep the answer that was given under a claimed key."""
        encrypted = self._vault.encrypt(user_id, body)
        with self._database.connection() as connection:
            connection.execute(_FINISH, (status, encrypted, user_id, key))

    def release(self, user_id: int, key: str) -> None:
        """Give a claimed key back, because the request came to no lasting answer."""
        with self._database.connection() as connection:
            connection.execute(_RELEASE, (user_id, key))

    def forget_old(self, now: datetime) -> int:
        """Remove answers older than ANSWERS_LAST; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_FORGET, (now - ANSWERS_LAST,)).rowcount


def _in_use() -> Conflict:
    return Conflict(
        "A request with this Idempotency-Key is still running. Ask again in a moment.",
        code="IDEMPOTENCY_KEY_IN_USE",
        retry_after_seconds=1,
    )
