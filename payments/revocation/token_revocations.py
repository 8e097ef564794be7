"""Tokens that are refused before they end: one by its id, or all of a user's that were issued up to a moment.

Every request asks, so each process keeps a copy in memory (`payments/kept_copy.py`), and reads what is new in one
statement.
"""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from ledger import clock
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from payments.kept_copy import KeptCopy

READ_ALL_EVERY_SECONDS = 600.0
ALL_TOKENS = ""

_OVERLAP = timedelta(minutes=5)
"""Clocks differ and commits are late: what was revoked this long before the newest known is read again."""

_READ = """
SELECT user_id, token_id, revoked_at FROM token_revocations
WHERE revoked_at > %s AND (expires_at IS NULL OR expires_at > %s)
"""
_REVOKE = "SELECT revoke_token(%s, %s, %s, %s)"
_EVER = datetime.min.replace(tzinfo=UTC)


def digest_of(token_id: str) -> str:
    """Return what is stored of a token's id: its SHA-256, in hex."""
    return sha256(token_id.encode("utf-8", "surrogatepass")).hexdigest()


class TokenRevocations:
    """The revocations, in the database and as this process knows them. Safe to share between threads."""

    def __init__(self, database: Database, audit_log: AuditLog) -> None:
        self._database = database
        self._audit_log = audit_log
        self._copy = KeptCopy(self._read)
        self._revoked: dict[tuple[int, str], datetime] = {}
        self._newest = _EVER
        self._read_all_at: float | None = None

    def is_revoked(self, user_id: int, token_ids: Iterable[str], issued_at: float | None) -> bool:
        """Tell whether a user's token is revoked, by any of its ids or by the time of its issue in seconds since 1970.

        Once a user's tokens were revoked, one that does not say when it was issued is refused for good. Raises
        Unavailable where that cannot be known.
        """
        self._copy.refresh()
        revoked = self._revoked
        cut_off = revoked.get((user_id, ALL_TOKENS))
        if cut_off is not None and (issued_at is None or issued_at <= cut_off.timestamp()):
            return True
        return any((user_id, digest_of(each)) in revoked for each in token_ids)

    def revoke_all(self, user_id: int, *, by: str, reason: str) -> None:
        """Refuse every token of a user that was issued until now; `by` is the actor of the audit log."""
        self._revoke(user_id, ALL_TOKENS, None, by, reason)

    def revoke(
        self, user_id: int, token_id: str, *, by: str, reason: str, ends_at: datetime | None = None
    ) -> None:
        """Refuse one token of a user by its id. `ends_at` is when it ends by itself, None if that is not known."""
        self._revoke(user_id, digest_of(token_id), ends_at, by, reason)

    def _revoke(self, user_id: int, digest: str, ends_at: datetime | None, by: str, reason: str) -> None:
        now = clock.now()
        with self._database.transaction() as connection:
            connection.execute(_REVOKE, (user_id, digest, now, ends_at))
            details = {"token": digest} if digest else {"issued_until": now.isoformat()}
            self._audit_log.record(
                connection, "revocation", actor=by, subject=f"user:{user_id}", reason=reason, details=details
            )
        self._copy.read_next_time()

    def _read(self) -> None:
        now = time.monotonic()
        is_whole = self._read_all_at is None or now - self._read_all_at > READ_ALL_EVERY_SECONDS
        since = _EVER if is_whole or self._newest == _EVER else self._newest - _OVERLAP
        with self._database.connection() as connection:
            rows = connection.execute(_READ, (since, clock.now())).fetchall()
        found = {(row["user_id"], row["token_id"]): row["revoked_at"] for row in rows}
        self._revoked = found if is_whole else self._revoked | found
        self._newest = max([self._newest, *found.values()])
        if is_whole:
            self._read_all_at = now
