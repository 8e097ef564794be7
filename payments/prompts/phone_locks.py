"""At most one live prompt a phone: its lock is a row, so that two processes cannot both hold it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from ledger.session.session import PaymentSession
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
    """Which session may prompt which phone, and until when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def acquire(self, phone_digest: str, session_id: UUID, *, now: datetime, until: datetime) -> int | None:
        """Lock a phone until a moment and return the id of the transaction to come.

        Returns None while another session holds the lock. Its holder may acquire it again, for the latest transaction.
        """
        values = {"phone_digest": phone_digest, "session_id": session_id, "live_until": until, "now": now}
        with self._database.connection() as connection:
            row = connection.execute(_ACQUIRE, values).fetchone()
        return int(row["transaction_id"]) if row else None

    def holders(self, phone_digests: Collection[str], now: datetime) -> dict[str, tuple[UUID, datetime]]:
        """Return the session that holds each locked phone of these, and until when."""
        with self._database.connection() as connection:
            rows = connection.execute(_HOLDERS, (list(phone_digests), now)).fetchall()
        return {row["phone_digest"]: (row["session_id"], row["live_until"]) for row in rows}

    def release(self, session_id: UUID, transaction_id: int) -> None:
        """Release the phone lock of an attempt whose prompt has ended, or was never sent.

        A no-op if the phone was locked for another attempt since, of this session or of any.
        """
        with self._database.connection() as connection:
            connection.execute(_RELEASE, (session_id, transaction_id))

    def release_if_ended(self, session: PaymentSession, attempt: int) -> None:
        """Release the phone lock of an attempt unless its outcome is still to come."""
        known = session.attempts[attempt]
        if not known.is_open:
            self.release(session.id, known.transaction_id)

    def transfer(self, session_id: UUID, transaction_id: int, to: int) -> None:
        """Transfer the lock of one attempt of a session to another, whose prompt is on the phone."""
        with self._database.connection() as connection:
            connection.execute(_TRANSFER, (to, session_id, transaction_id))

    def purge_expired(self, now: datetime) -> int:
        """Delete expired locks and return how many."""
        with self._database.connection() as connection:
            return connection.execute(_PURGE, (now,)).rowcount
