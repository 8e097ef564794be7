"""The receiver of STK callbacks: message, outcome, receipt, phone lock and order in one commit.

What is unusual about a callback, and whatever fails, is left to the longer way: the message is stored alone, then acted
on, and the worker makes the order. Every step of that may be repeated, so it does not matter how far this one came.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import structlog

from daraja import MalformedCallback, StkCallback, parse_callback
from ledger import clock
from ledger.application import Append, Ledger
from ledger.errors import DatabaseUnavailable, LedgerError
from ledger.session.events import Paid
from ledger.session.session import PaymentSession
from ledger.store.counters import VERDICTS, timed
from ledger.store.metadata import Cause, caused_by
from ledger.store.parts import Part, read_parts
from ledger.store.recorder import VersionConflict
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.confirmation.stk_callback import (
    Command,
    amount_is_in_doubt,
    ids_command,
    objection_to,
    outcome_command,
    remark,
)
from payments.fulfilment.order_process import OrderMaker
from payments.inbox.callback_tokens import read_token
from payments.inbox.inbox import Channel, Draft, Inbox, failure_left_to_worker, session_and_owner
from payments.prompts.phone_locks import PhoneLocks
from payments.settlement.settlement import Settlement

_log = structlog.get_logger(__name__)


@dataclass
class Reading:
    """What is read for a callback, in one round trip, and the moment at which it is acted on."""

    at: datetime
    callback: StkCallback | None
    allotted: Any = None


class CallbackReceiver:
    """Takes what M-Pesa posts about prompts. Safe to share between threads."""

    def __init__(
        self,
        ledger: Ledger,
        vault: Vault,
        inbox: Inbox,
        phone_locks: PhoneLocks,
        order_maker: OrderMaker,
        settlement: Settlement,
    ) -> None:
        self._ledger = ledger
        self._vault = vault
        self._inbox = inbox
        self._phone_locks = phone_locks
        self._order_maker = order_maker
        self._settlement = settlement

    def receive(self, body: bytes, *, body_bytes: int, token: str | None) -> None:
        """Store a callback and act on it, in one commit if it can be; the worker does the rest.

        What its URL does not authenticate is only stored. Raises Unavailable if the body could not be stored: then it
        must not be acknowledged.
        """
        with timed("callback"):
            named = read_token(self._vault.is_signed, token) if token else None
            session_id, attempt = named or (None, None)
            reading = Reading(clock.now(), _parsed(body))
            session, owner = self._session_and_owner(reading, session_id)
            draft = self._inbox.draft(
                body,
                body_bytes=body_bytes,
                channel=Channel.STK,
                is_authenticated=session_id is not None,
                session_id=session_id,
                attempt=attempt,
                owner=owner,
                now=reading.at,
            )
            if (
                session is not None
                and attempt is not None
                and self._is_settled(draft, session, attempt, reading)
            ):
                return
            message = self._inbox.keep(draft)
            if message.is_authenticated:  # Any other needs a status query, and M-Pesa must not wait for that.
                with failure_left_to_worker(message):
                    self._settlement.act_on(message, may_query=False)

    def _session_and_owner(
        self, reading: Reading, session_id: UUID | None
    ) -> tuple[PaymentSession | None, int]:
        """Do what `session_and_owner` does, in the one round trip of a reading."""
        try:
            session = self._load(reading, session_id) if session_id is not None else None
        except DatabaseUnavailable:
            return None, SYSTEM_USER_ID
        except Exception:  # noqa: BLE001 - acting on the message meets the error again, and logs it
            return session_and_owner(self._ledger, session_id)
        return session, session.user_id if session is not None else SYSTEM_USER_ID

    def _load(self, reading: Reading, session_id: UUID) -> PaymentSession:
        parts = {"history": self._ledger.history_part(session_id)}
        if reading.callback is not None and reading.callback.meaning.outcome == "paid":
            allotment = self._order_maker.allotment_part(reading.at)
            parts |= {"allotted": allotment} if allotment else {}
        found = read_parts(self._ledger.database, parts)
        reading.allotted = found.get("allotted")
        return self._ledger.session_of(session_id, found["history"])

    def _is_settled(self, draft: Draft, session: PaymentSession, attempt: int, reading: Reading) -> bool:
        """Record what a callback proves, and make the order, in one commit; return whether that was done.

        Where it was not, perhaps the answer alone was lost; `session` is of no use any more.
        """
        if draft.message.missing_part or draft.key_owner == SYSTEM_USER_ID:
            return False
        try:
            with caused_by(Cause.CALLBACK, **draft.message.as_source, actor="mpesa"):
                return self._settle_or_again(draft, session, attempt, reading)
        except Exception as error:  # noqa: BLE001 - the longer way meets what stays, and reports it
            _log.warning("callback_not_settled_at_once", session_id=str(session.id), error=_describe(error))
            return False

    def _settle_or_again(self, draft: Draft, session: PaymentSession, attempt: int, reading: Reading) -> bool:
        """Settle, and once more if another was first: mostly the prompt's answer, which its callback has overtaken."""
        try:
            return self._settle(draft, session, attempt, reading)
        except VersionConflict:
            reading.at = clock.now()
            return self._settle(draft, self._load(reading, session.id), attempt, reading)

    def _settle(self, draft: Draft, session: PaymentSession, attempt: int, reading: Reading) -> bool:
        """Write all that follows from a callback; return False, and write nothing, if it is for the longer way."""
        callback = reading.callback
        if callback is None or objection_to(callback, session, attempt, self._vault):
            return False
        known, received_at = session.attempts[attempt], draft.message.received_at
        command = outcome_command(callback, known, received_at=received_at, at=reading.at)
        if command is None or amount_is_in_doubt(callback, session, attempt):
            return False
        self._write(draft, session, attempt, reading, command)
        return True

    def _write(
        self, draft: Draft, session: PaymentSession, attempt: int, reading: Reading, command: Command
    ) -> None:
        callback, at = reading.callback, reading.at
        assert callback is not None
        append, known = Append(self._ledger, session), session.attempts[attempt]
        reason = remark(callback, known, draft.message.received_at)
        ids = ids_command(callback, session, attempt, self._vault, at=at)
        if ids is not None:
            ids(session)
        command(session)
        paid = next((event for event in session.pending_events if isinstance(event, Paid)), None)
        append.collect()
        order = paid and self._order_maker.make_at_once(session, append, paid, reading.allotted, at)
        # A prompt locks a phone before it appends, so the lock comes first here too: then the two take turns.
        parts: dict[str, Part] = {}
        if not session.attempts[attempt].is_open:
            parts["released"] = self._phone_locks.release_part(session, attempt)
        if append.events:
            parts["position"] = append.part()
        if callback.meaning.outcome == "paid" and callback.receipt:
            parts["receipt"] = self._ledger.receipt_part(callback.receipt, session.id)
        parts["message"] = self._inbox.settled_part(draft, reason, at)
        if order:  # The last: listings that many buy are locked the shortest time.
            parts["order_id"] = order
        written = self._ledger.write(parts)
        VERDICTS.add(draft.message.channel, "acted_on")
        if append.events:
            append.written(written["position"])


def _parsed(body: bytes) -> StkCallback | None:
    try:
        return parse_callback(body)
    except MalformedCallback:  # Its message is stored, and dead-lettered with the reason.
        return None


def _describe(error: Exception) -> str:
    """Name an error without its data."""
    if isinstance(error, LedgerError):
        return error.code
    state = error.sqlstate if isinstance(error, psycopg.Error) else None
    return state or type(error).__qualname__
