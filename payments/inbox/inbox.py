"""The inbox: every body that M-Pesa posts is stored as it came, before it is read."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import structlog

from ledger.application import Ledger
from ledger.errors import DatabaseUnavailable, LedgerError
from ledger.identifiers import new_id
from ledger.session.session import PaymentSession
from ledger.store.counters import MESSAGES, VERDICTS
from ledger.store.customer_keys import Erased
from ledger.store.database import Database, once_more
from ledger.store.key_ring import WrongKey
from ledger.store.message_bodies import BOUND, INBOX_BODY, OPENED, open_body, row_of
from ledger.store.parts import Part
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.inbox.phone_digests import phone_digests
from payments.retry_schedule import RetrySchedule
from projections import sessions

MAX_BYTES_KEPT = 65_536
MAX_UNAUTHENTICATED_KEPT = 10_000
"""Of messages that anyone could have posted, in whatever state: a flood of them must not fill the disk."""

UNPROCESSED_AFTER = timedelta(seconds=5)

_log = structlog.get_logger(__name__)

_STORE = """
INSERT INTO daraja_inbox (inbox_id, received_at, channel, is_proven, session_id, attempt, refund, sending,
                          key_owner, sealed_body, body_bytes, body_sha256, state, reason, tries,
                          next_try_at, settled_at, phone_digests, erase_when_settled)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, 'new', NULL, 0, %s, NULL, %s, %s)
ON CONFLICT (inbox_id) DO NOTHING
"""
_STORE_SETTLED = "store_settled_message(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"
_SETTLE = (
    "UPDATE daraja_inbox SET state = %s, reason = %s, next_try_at = NULL, settled_at = %s WHERE inbox_id = %s"
)
_POSTPONE = "UPDATE daraja_inbox SET reason = %s, tries = tries + 1, next_try_at = %s WHERE inbox_id = %s"
# The channel is spelt out to match its partial index.
_HOLDS = "SELECT FROM daraja_inbox WHERE channel = 'pull' AND body_sha256 = %s LIMIT 1"
_WAIT = "UPDATE daraja_inbox SET next_try_at = %s WHERE inbox_id = %s"
_CLOSE = """
UPDATE daraja_inbox SET state = 'closed', closed_by = %s, note = %s, settled_at = %s
WHERE inbox_id = %s AND state = 'set_aside'
"""
_SESSION_OF = "SELECT session_id FROM daraja_inbox WHERE inbox_id = %s"
# Not `closed`: what anyone may post is never kept for ever.
_CLOSE_UNAUTHENTICATED = """
UPDATE daraja_inbox SET state = 'acted_on', reason = 'closed_together', settled_at = %s
WHERE state = 'set_aside' AND NOT is_proven AND session_id IS NULL
"""
_RETRY = """
UPDATE daraja_inbox SET state = 'new', reason = NULL, tries = 0, next_try_at = %s, settled_at = NULL
WHERE inbox_id = %s AND state = 'set_aside'
"""
_MESSAGE = f"SELECT {OPENED}, received_at, body_bytes, tries FROM daraja_inbox"  # noqa: S608 - names of our own
_DUE = f"""{_MESSAGE}
WHERE state = 'new' AND is_proven = %s AND next_try_at <= %s ORDER BY next_try_at, inbox_id LIMIT %s
"""
_ONE = _MESSAGE + " WHERE inbox_id = %s"
_MARK_OF_ERASED = "SELECT FROM mark_message_of_erased(%s, %s)"
_PURGE_UNAUTHENTICATED = "SELECT FROM purge_unauthenticated_messages(%s)"


class Channel(StrEnum):
    """The endpoint to which a body was posted, or the API from which it was fetched."""

    STK = "stk"
    REVERSAL_RESULT = "reversal_result"
    REVERSAL_TIMEOUT = "reversal_timeout"
    STATUS_RESULT = "status_result"
    STATUS_TIMEOUT = "status_timeout"
    C2B_VALIDATION = "c2b_validation"
    C2B_CONFIRMATION = "c2b_confirmation"
    PULL = "pull"
    STATUS_QUERY = "status_query"


@dataclass(frozen=True)
class InboxMessage:
    """One body as it came. It is authenticated if its URL held a token that only we can make.

    The token names the session, and its payment attempt, or its refund and the number of the refund attempt, from 1;
    what it does not name is None.
    """

    inbox_id: UUID
    received_at: datetime
    channel: Channel
    is_authenticated: bool
    session_id: UUID | None
    attempt: int | None
    refund: int | None
    refund_attempt: int | None
    body: bytes
    body_bytes: int
    tries: int
    commitment: str | None
    """What an event that it causes says of it; see `Vault.commitment`."""

    @property
    def as_source(self) -> dict[str, str | None]:
        """What the metadata of an event say of the message that it comes from."""
        return {"source": str(self.inbox_id), "source_commitment": self.commitment}

    @property
    def missing_part(self) -> str | None:
        """Why a part of the body is not stored: it is `too_large`, or was `cut_short` before it reached us."""
        if self.body_bytes <= len(self.body):
            return None
        return "too_large" if len(self.body) >= MAX_BYTES_KEPT else "cut_short"


@dataclass(frozen=True)
class Draft:
    """A message with its body encrypted, not yet stored.

    `key_owner` is whose key it is encrypted by: the system's where the owner `is_erased`, or their key cannot be read.
    """

    message: InboxMessage
    key_owner: int
    encrypted: str
    is_erased: bool


class Inbox:
    """Stores raw bodies, encrypted, until they are acted on or dead-lettered."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def store(self, body: bytes, **about: Any) -> InboxMessage:
        """Store a body; `about` is what `draft` takes, and see `keep`."""
        return self.keep(self.draft(body, **about))

    def draft(
        self,
        body: bytes,
        *,
        body_bytes: int,
        channel: Channel,
        is_authenticated: bool,
        session_id: UUID | None = None,
        attempt: int | None = None,
        refund: int | None = None,
        refund_attempt: int | None = None,
        owner: int = SYSTEM_USER_ID,
        now: datetime,
    ) -> Draft:
        """Encrypt a body of at most MAX_BYTES_KEPT bytes for its owner; `body_bytes` is its full length."""
        named = session_id, attempt, refund, refund_attempt
        stored, inbox_id = body[:MAX_BYTES_KEPT], new_id(now)
        facts = inbox_id, str(channel), is_authenticated, *named
        row = row_of(dict(zip(BOUND, facts, strict=True), is_from_before=False))
        key_owner, encrypted, is_erased = self._encrypt(owner, stored.decode("latin-1"), row)
        MESSAGES.add(channel, "yes" if is_authenticated else "no")
        commitment = self._vault.commitment(key_owner, encrypted, stored)
        message = InboxMessage(
            inbox_id, now, channel, is_authenticated, *named, stored, body_bytes, 0, commitment
        )
        return Draft(message, key_owner, encrypted, is_erased)

    def keep(self, draft: Draft) -> InboxMessage:
        """Store a message, unless it is stored already.

        An authenticated message is left to the endpoint that received it for UNPROCESSED_AFTER, and is due for the
        worker then; any other message is due at once. M-Pesa repeats nothing, so what the pool cannot store is
        stored on a connection of its own; raises Unavailable only if that cannot be had either.
        """
        message = draft.message
        now, text = message.received_at, message.body.decode("latin-1")
        values = (
            message.inbox_id,
            now,
            str(message.channel),
            message.is_authenticated,
            message.session_id,
            message.attempt,
            message.refund,
            message.refund_attempt,
            draft.key_owner,
            draft.encrypted,
            message.body_bytes,
            hashlib.sha256(message.body).hexdigest(),
            now + UNPROCESSED_AFTER if message.is_authenticated else now,
            phone_digests(self._vault, text) if draft.key_owner == SYSTEM_USER_ID else None,
            draft.is_erased,
        )
        self._insert(values)
        return message

    def settled_part(self, draft: Draft, reason: str | None, now: datetime) -> Part:
        """Return the part of a statement that stores an authenticated callback which the same statement acts on."""
        message = draft.message
        values = (
            message.inbox_id,
            message.received_at,
            str(message.channel),
            message.session_id,
            message.attempt,
            draft.key_owner,
            draft.encrypted,
            message.body_bytes,
            hashlib.sha256(message.body).hexdigest(),
            reason,
            now,
        )
        return Part(_STORE_SETTLED, values)

    def _insert(self, values: tuple[Any, ...]) -> None:
        try:
            with self._database.connection() as connection:
                connection.execute(_STORE, values)
        except DatabaseUnavailable:
            with self._database.fresh_connection() as connection:
                connection.execute(_STORE, values)

    def settle(
        self, message: InboxMessage, reason: str | None, now: datetime, *, about: UUID | None = None
    ) -> None:
        """Mark a message as acted on. `about` is the session that it turned out to be about, if its URL named none:
        where that is of an erased customer, the message is emptied.
        """
        if about is not None:
            with self._database.connection() as connection:
                connection.execute(_MARK_OF_ERASED, (message.inbox_id, about))
        self._end(message.inbox_id, "acted_on", reason, now)
        VERDICTS.add(message.channel, "acted_on")

    def dead_letter(self, message: InboxMessage, reason: str, now: datetime) -> None:
        """Leave a message to an operator."""
        self._end(message.inbox_id, "set_aside", reason, now)
        VERDICTS.add(message.channel, "dead_lettered")

    def close(self, inbox_id: UUID, *, closed_by: str, note: str, now: datetime) -> bool:
        """Close a dead-lettered message that an operator dealt with; return whether there was one."""
        with self._database.connection() as connection:
            return connection.execute(_CLOSE, (closed_by, note, now, inbox_id)).rowcount == 1

    def session_of(self, inbox_id: UUID) -> UUID | None:
        """Return the session that a message names, None if it names none or there is no such message."""
        with self._database.connection() as connection:
            row = connection.execute(_SESSION_OF, (inbox_id,)).fetchone()
        return row["session_id"] if row else None

    def close_unauthenticated(self, now: datetime) -> int:
        """Close all dead-lettered messages that anyone could have posted; return how many there were."""
        with self._database.connection() as connection:
            return connection.execute(_CLOSE_UNAUTHENTICATED, (now,)).rowcount

    def retry(self, inbox_id: UUID, now: datetime) -> bool:
        """Let a dead-lettered message be tried again from now on; return whether there was one."""
        with self._database.connection() as connection:
            return connection.execute(_RETRY, (now, inbox_id)).rowcount == 1

    def postpone(self, message: InboxMessage, reason: str, until: datetime) -> None:
        """Count a failed try of a message, and let it be due again at `until`."""
        with self._database.connection() as connection:
            connection.execute(_POSTPONE, (reason, until, message.inbox_id))

    def postpone_or_dead_letter(
        self, message: InboxMessage, reason: str, schedule: RetrySchedule, now: datetime
    ) -> None:
        """Count a failed try of a message, and let it be due again after a pause; dead-letter it after the last."""
        tries = message.tries + 1
        if tries >= schedule.max_tries:
            self.dead_letter(message, reason, now)
        else:
            self.postpone(message, reason, now + schedule.pause_after(tries))

    def wait(self, message: InboxMessage, until: datetime) -> None:
        """Let a message be due again at `until` without counting a try: nothing was tried."""
        with self._database.connection() as connection:
            connection.execute(_WAIT, (until, message.inbox_id))

    def due(self, now: datetime, limit: int, *, is_authenticated: bool = True) -> list[InboxMessage]:
        """Return messages that are due, longest waiting first: the authenticated ones, or the others.

        Those of customers who were erased meanwhile, and those that are not as Daftari stored them, are dead-lettered.
        """
        with self._database.connection() as connection:
            rows = connection.execute(_DUE, (is_authenticated, now, limit)).fetchall()
        messages = []
        for row in rows:
            try:
                messages.append(self._open(row))
            except Erased:
                self._end(row["inbox_id"], "set_aside", "customer_erased", now)
            except WrongKey:  # Altered, or stored past Daftari: it must not hold up the others.
                self._end(row["inbox_id"], "set_aside", "cannot_be_decrypted", now)
        return messages

    def message(self, inbox_id: UUID) -> InboxMessage | None:
        """Return one message with its body decrypted, None if there is none."""
        with self._database.connection() as connection:
            row = connection.execute(_ONE, (inbox_id,)).fetchone()
        return self._open(row) if row else None

    def holds_pulled(self, body: bytes) -> bool:
        """Whether the very same body was pulled before."""
        with self._database.connection() as connection:
            digest = hashlib.sha256(body[:MAX_BYTES_KEPT]).hexdigest()
            return connection.execute(_HOLDS, (digest,)).rowcount > 0

    def purge_unauthenticated(self) -> int:
        """Delete the oldest unauthenticated messages beyond MAX_UNAUTHENTICATED_KEPT; return how many.

        Those that are still due go too: M-Pesa is queried about every open attempt anyway.
        """
        with self._database.connection() as connection:
            return connection.execute(_PURGE_UNAUTHENTICATED, (MAX_UNAUTHENTICATED_KEPT,)).rowcount

    def _end(self, inbox_id: UUID, state: str, reason: str | None, now: datetime) -> None:
        with self._database.connection() as connection:
            connection.execute(_SETTLE, (state, reason, now, inbox_id))

    def _encrypt(self, owner: int, text: str, row: str) -> tuple[int, str, bool]:
        """Encrypt for the owner, or for the system if the owner was erased or their key cannot be read: what arrives is
        stored all the same. Return for whom, the encrypted text, and whether the owner was erased.
        """

        def encrypt(owner: int) -> str:
            return self._vault.encrypt(owner, text, purpose=INBOX_BODY, row=row)

        try:
            return owner, once_more(lambda: encrypt(owner)), False
        except (Erased, DatabaseUnavailable) as error:
            return SYSTEM_USER_ID, encrypt(SYSTEM_USER_ID), isinstance(error, Erased)

    def _open(self, row: dict[str, Any]) -> InboxMessage:
        key_owner, encrypted = row["key_owner"], row["sealed_body"]
        body = open_body(self._vault, row)
        return InboxMessage(
            row["inbox_id"],
            row["received_at"],
            Channel(row["channel"]),
            row["is_proven"],
            row["session_id"],
            row["attempt"],
            row["refund"],
            row["sending"],
            body,
            row["body_bytes"],
            row["tries"],
            self._vault.commitment(key_owner, encrypted, body),
        )


def session_and_owner(ledger: Ledger, session_id: UUID | None) -> tuple[PaymentSession | None, int]:
    """Return the session that the URL of a message names, and the user for whom to encrypt the message.

    The session is None if there is none, or if it fails to load: its message must be stored all the same. Where the
    database does not say who the user is, it is the system.
    """
    if session_id is None:
        return None, SYSTEM_USER_ID
    try:
        session = once_more(lambda: ledger.session(session_id))
    except DatabaseUnavailable:
        return None, SYSTEM_USER_ID
    except Exception:  # noqa: BLE001 - acting on the message meets the error again, and logs it
        return None, sessions.owner_of(ledger.database, session_id) or SYSTEM_USER_ID
    return session, session.user_id


@contextmanager
def failure_left_to_worker(message: InboxMessage) -> Iterator[None]:
    """Act on a message that was just stored, while M-Pesa waits; on a failure it is left to the worker."""
    try:
        yield
    except LedgerError as error:
        _log.warning("message_left_to_worker", inbox_id=str(message.inbox_id), code=error.code)
    except Exception:  # noqa: BLE001 - it is stored, so it may be acknowledged; the worker meets the error again
        _log.exception("message_left_to_worker", inbox_id=str(message.inbox_id))
