"""At most one live prompt a phone: the right to prompt it is a row, so that two processes cannot both have it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from ledger.store.database import Database

_ACQUIRE = """
INSERT INTO live_prompts (phone_digest, session_id, live_until, transaction_id)
VALUES (%(phone_digest)s, %(session_id)s, %(live_until)s, nextval('payment_transaction_ids'))
ON CONFLICT (phone_digest) DO UPDATE SET session_id = excluded.session_id, live_until = excluded.live_until,
    transaction_id = excluded.transaction_id
    WHERE live_prompts.live_until <= %(now)s OR live_prompts.session_id = excluded.session_id
RETURNING transaction_id
"""
_HOLDERS = """
SELECT phone_digest, session_id, live_until FROM live_prompts
WHERE phone_digest = ANY(%s) AND live_until > %s
"""
_RELEASE = "DELETE FROM live_prompts WHERE session_id = %s AND transaction_id = %s"
_TRANSFER = "UPDATE live_prompts SET transaction_id = %s WHERE session_id = %s AND transaction_id = %s"
_PURGE = "DELETE FROM live_prompts WHERE live_until <= %s"


class PhoneLocks:
    """Who may prompt which phone, and until when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, phone_digest: str, session_id: UUID, *, now: datetime, until: datetime) -> int | None:
        """Take the right to prompt a phone until a moment; return the number of the transaction to come.

        Returns None where another session's prompt is live on that phone. May be repeated by its holder, and is then
        for the latest transaction.
        """
        values = {"phone_digest": phone_digest, "session_id": session_id, "live_until": until, "now": now}
        with self._database.connection() as connection:
            row = connection.execute(_ACQUIRE, values).fetchone()
        return int(row["transaction_id"]) if row else None

    def holders(self, phone_digests: Collection[str], now: datetime) -> dict[str, tuple[UUID, datetime]]:
        """Return, for each of these phones that has a live prompt, whose session's it is and until when."""
        with self._database.connection() as connection:
            rows = connection.execute(_HOLDERS, (list(phone_digests), now)).fetchall()
        return {row["phone_digest"]: (row["session_id"], row["live_until"]) for row in rows}

    def release(self, session_id: UUID, transaction_id: int) -> None:
        """Give up the phone that was taken for an attempt: its prompt has ended, or was never sent.

        Nothing happens where the phone was taken for another attempt since, of this session or of any.
        """
        with self._database.connection() as connection:
            connection.execute(_RELEASE, (session_id, transaction_id))

    def transfer(self, session_id: UUID, transaction_id: int, to: int) -> None:
        """Let a phone that was taken for one attempt of a session be another's, whose prompt is on it."""
        with self._database.connection() as connection:
            connection.execute(_TRANSFER, (to, session_id, transaction_id))

    def purge_expired(self, now: datetime) -> int:
        """Remove prompts whose time is over; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_PURGE, (now,)).rowcount
