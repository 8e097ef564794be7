"""At most one live prompt a phone: the right to prompt it is a row, so that two processes cannot both have it."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from ledger.store.database import Database

_CLAIM = """
INSERT INTO live_prompts (phone_digest, session_id, live_until)
VALUES (%(phone_digest)s, %(session_id)s, %(live_until)s)
ON CONFLICT (phone_digest) DO UPDATE SET session_id = excluded.session_id, live_until = excluded.live_until
    WHERE live_prompts.live_until <= %(now)s OR live_prompts.session_id = excluded.session_id
RETURNING nextval('payment_transaction_ids') AS transaction_id
"""
_BUSY = """
SELECT phone_digest, session_id, live_until FROM live_prompts
WHERE phone_digest = ANY(%s) AND live_until > %s
"""
_RELEASE = "DELETE FROM live_prompts WHERE session_id = %s"
_RELEASE_PHONE = "DELETE FROM live_prompts WHERE phone_digest = %s AND session_id = %s"
_FORGET = "DELETE FROM live_prompts WHERE live_until <= %s"


class LivePrompts:
    """Who may prompt which phone, and until when."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def claim(self, phone_digest: str, session_id: UUID, *, now: datetime, until: datetime) -> int | None:
        """Take the right to prompt a phone until a moment; return the number of the transaction to come.

        Returns None where another session's prompt is live on that phone. May be repeated by its holder.
        """
        values = {"phone_digest": phone_digest, "session_id": session_id, "live_until": until, "now": now}
        with self._database.connection() as connection:
            row = connection.execute(_CLAIM, values).fetchone()
        return int(row["transaction_id"]) if row else None

    def live_on(self, phone_digests: Collection[str], now: datetime) -> dict[str, tuple[UUID, datetime]]:
        """Return, for each of these phones that has a live prompt, whose session's it is and until when."""
        with self._database.connection() as connection:
            rows = connection.execute(_BUSY, (list(phone_digests), now)).fetchall()
        return {row["phone_digest"]: (row["session_id"], row["live_until"]) for row in rows}

    def release(self, session_id: UUID) -> None:
        """Give up what a session holds: its prompts have ended."""
        with self._database.connection() as connection:
            connection.execute(_RELEASE, (session_id,))

    def release_phone(self, phone_digest: str, session_id: UUID) -> None:
        """Give up one phone that a session holds: no prompt of its goes there."""
        with self._database.connection() as connection:
            connection.execute(_RELEASE_PHONE, (phone_digest, session_id))

    def forget_dead(self, now: datetime) -> int:
        """Remove prompts whose time is over; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_FORGET, (now,)).rowcount
