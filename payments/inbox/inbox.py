"""The inbox: every body that M-Pesa posts, on whichever channel, kept as it came before anything is made of it."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from ledger.store.database import Database
from ledger.store.vault import SYSTEM_USER_ID, Erased, Vault

MAX_BYTES_KEPT = 65_536
MAX_UNAUTHENTICATED_KEPT = 10_000
"""Of letters that anybody could have posted, whatever became of them; a flood of such must not fill the disk."""

UNPROCESSED_AFTER = timedelta(seconds=5)

_KEEP = """
INSERT INTO daraja_inbox (inbox_id, received_at, channel, is_proven, session_id, attempt, refund, sending,
                          key_owner, sealed_body, body_bytes, body_sha256, state, reason, tries,
                          next_try_at, settled_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'new', NULL, 0, %s, NULL)
"""
_SETTLE = (
    "UPDATE daraja_inbox SET state = %s, reason = %s, next_try_at = NULL, settled_at = %s WHERE inbox_id = %s"
)
_POSTPONE = "UPDATE daraja_inbox SET reason = %s, tries = tries + 1, next_try_at = %s WHERE inbox_id = %s"
_HOLDS = "SELECT FROM daraja_inbox WHERE channel = %s AND body_sha256 = %s LIMIT 1"
_WAIT = "UPDATE daraja_inbox SET next_try_at = %s WHERE inbox_id = %s"
_CLOSE = """
UPDATE daraja_inbox SET state = 'closed', closed_by = %s, note = %s, settled_at = %s
WHERE inbox_id = %s AND state = 'set_aside'
"""
_RETRY = """
UPDATE daraja_inbox SET state = 'new', reason = NULL, tries = 0, next_try_at = %s, settled_at = NULL
WHERE inbox_id = %s AND state = 'set_aside'
"""
_MESSAGE = """
SELECT inbox_id, received_at, channel, is_proven, session_id, attempt, refund, sending, key_owner, sealed_body,
       body_bytes, tries
FROM daraja_inbox
"""
_DUE = f"""{_MESSAGE}
WHERE state = 'new' AND is_proven = %s AND next_try_at <= %s ORDER BY next_try_at, inbox_id LIMIT %s
"""
_ONE = _MESSAGE + " WHERE inbox_id = %s"
_PURGE_UNAUTHENTICATED = """
DELETE FROM daraja_inbox WHERE inbox_id IN (
    SELECT inbox_id FROM daraja_inbox WHERE NOT is_proven AND session_id IS NULL AND state <> 'closed'
    ORDER BY received_at DESC OFFSET %s
)
"""


class Channel(StrEnum):
    """Which door a body came by, and so what it should be."""

    STK = "stk"
    REVERSAL_RESULT = "reversal_result"
    REVERSAL_TIMEOUT = "reversal_timeout"
    STATUS_RESULT = "status_result"
    STATUS_TIMEOUT = "status_timeout"
    C2B_VALIDATION = "c2b_validation"
    C2B_CONFIRMATION = "c2b_confirmation"
    PULL = "pull"


@dataclass(frozen=True)
class InboxMessage:
    """One body as it came. `is_proven` says that its URL held a token which only we can make.

    `session_id`, and the `attempt` or the `refund` of it, are those that the token names, or None; a refund may be
    sent more than once, and `sending` counts from 1.
    """

    inbox_id: UUID
    received_at: datetime
    channel: Channel
    is_authenticated: bool
    session_id: UUID | None
    attempt: int | None
    refund: int | None
    sending: int | None
    body: bytes
    body_bytes: int
    tries: int

    @property
    def was_cut(self) -> bool:
        """Whether the body was longer than what is kept."""
        return self.body_bytes > len(self.body)


class Inbox:
    """Keeps raw bodies, sealed; says which still want acting on."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def keep(
        self,
        body: bytes,
        *,
        body_bytes: int,
        channel: Channel,
        is_authenticated: bool,
        session_id: UUID | None = None,
        attempt: int | None = None,
        refund: int | None = None,
        sending: int | None = None,
        owner: int = SYSTEM_USER_ID,
        now: datetime,
    ) -> InboxMessage:
        """Store a body of at most MAX_BYTES_KEPT bytes, sealed for its owner; `body_bytes` is its full length.

        A proven letter is acted on by whoever received it, and is the worker's where that did not happen in
        UNPROCESSED_AFTER; any other is the worker's at once.
        """
        kept = body[:MAX_BYTES_KEPT]
        message = InboxMessage(
            uuid4(),
            now,
            channel,
            is_authenticated,
            session_id,
            attempt,
            refund,
            sending,
            kept,
            body_bytes,
            tries=0,
        )
        owner, encrypted = self._encrypt(owner, kept.decode("latin-1"))
        values = (
            message.inbox_id,
            now,
            str(channel),
            is_authenticated,
            session_id,
            attempt,
            refund,
            sending,
            owner,
            encrypted,
            body_bytes,
            hashlib.sha256(kept).hexdigest(),
            now + UNPROCESSED_AFTER if is_authenticated else now,
        )
        with self._database.connection() as connection:
            connection.execute(_KEEP, values)
        return message

    def settle(self, message: InboxMessage, reason: str | None, now: datetime) -> None:
        """Mark a letter as acted on."""
        self._end(message.inbox_id, "acted_on", reason, now)

    def dead_letter(self, message: InboxMessage, reason: str, now: datetime) -> None:
        """Mark a letter as something for a person to look at."""
        self._end(message.inbox_id, "set_aside", reason, now)

    def close(self, inbox_id: UUID, *, closed_by: str, note: str, now: datetime) -> bool:
        """A person has looked at a letter that was set aside; return whether there was one."""
        with self._database.connection() as connection:
            return connection.execute(_CLOSE, (closed_by, note, now, inbox_id)).rowcount == 1

    def retry(self, inbox_id: UUID, now: datetime) -> bool:
        """Let a letter that was set aside be acted on again from now on; return whether there was one."""
        with self._database.connection() as connection:
            return connection.execute(_RETRY, (now, inbox_id)).rowcount == 1

    def postpone(self, message: InboxMessage, reason: str, until: datetime) -> None:
        """Leave a letter for later."""
        with self._database.connection() as connection:
            connection.execute(_POSTPONE, (reason, until, message.inbox_id))

    def wait(self, message: InboxMessage, until: datetime) -> None:
        """Leave a letter for later without counting a try: nothing was tried."""
        with self._database.connection() as connection:
            connection.execute(_WAIT, (until, message.inbox_id))

    def due(self, now: datetime, limit: int, *, is_authenticated: bool = True) -> list[InboxMessage]:
        """Return letters that want acting on by now, longest waiting first: those that prove their sender, or others.

        Those of customers who were erased meanwhile cannot be opened any more, and are set aside.
        """
        with self._database.connection() as connection:
            rows = connection.execute(_DUE, (is_authenticated, now, limit)).fetchall()
        messages = []
        for row in rows:
            try:
                messages.append(self._open(row))
            except Erased:
                self._end(row["inbox_id"], "set_aside", "customer_erased", now)
        return messages

    def message(self, inbox_id: UUID) -> InboxMessage | None:
        """Return one letter with its body opened."""
        with self._database.connection() as connection:
            row = connection.execute(_ONE, (inbox_id,)).fetchone()
        return self._open(row) if row else None

    def holds(self, channel: Channel, body: bytes) -> bool:
        """Whether the very same body came by a channel before."""
        with self._database.connection() as connection:
            digest = hashlib.sha256(body[:MAX_BYTES_KEPT]).hexdigest()
            return connection.execute(_HOLDS, (str(channel), digest)).rowcount > 0

    def purge_unauthenticated(self) -> int:
        """Remove the oldest letters beyond MAX_UNAUTHENTICATED_KEPT of those that prove nothing; return how many.

        Those that still wait go too. They are hints: what they say of an open attempt is asked of M-Pesa anyway.
        """
        with self._database.connection() as connection:
            return connection.execute(_PURGE_UNAUTHENTICATED, (MAX_UNAUTHENTICATED_KEPT,)).rowcount

    def _end(self, inbox_id: UUID, state: str, reason: str | None, now: datetime) -> None:
        with self._database.connection() as connection:
            connection.execute(_SETTLE, (state, reason, now, inbox_id))

    def _encrypt(self, owner: int, text: str) -> tuple[int, str]:
        """Seal for the owner, or for the shop where the owner was erased: what arrives is kept all the same."""
        try:
            return owner, self._vault.encrypt(owner, text)
        except Erased:
            return SYSTEM_USER_ID, self._vault.encrypt(SYSTEM_USER_ID, text)

    def _open(self, row: dict[str, Any]) -> InboxMessage:
        return InboxMessage(
            row["inbox_id"],
            row["received_at"],
            Channel(row["channel"]),
            row["is_proven"],
            row["session_id"],
            row["attempt"],
            row["refund"],
            row["sending"],
            self._vault.decrypt(row["key_owner"], row["sealed_body"]).encode("latin-1"),
            row["body_bytes"],
            row["tries"],
        )
