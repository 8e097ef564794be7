"""Stored STK callbacks: record the outcome that each proves.

The URL of a callback authenticates it. An unauthenticated callback counts only once a status query confirms it, and
its receipt is never recorded: a payer who invents one would be refunded when the genuine one arrives, or would take
it from the buyer to whom it belongs.

A success that names no amount says nothing about it: a prompt can only be paid whole, so M-Pesa is asked whether it
was, or another source tells, before anything is recorded or refunded. One that names another amount is money held: a
refund is due, which no policy sends before a better source says the same.
"""

from datetime import datetime, timedelta

from daraja import MalformedCallback, QueryVerdict, StkCallback, parse_callback
from ledger import clock
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.confirmation.query_log import QueryLog
from payments.confirmation.status_query import StatusQueries
from payments.confirmation.stk_callback import (
    amount_is_in_doubt,
    ids_command,
    is_no_change,
    objection_to,
    outcome_command,
    remark,
)
from payments.inbox.inbox import Inbox, InboxMessage
from payments.prompts.phone_locks import PhoneLocks
from payments.retry_schedule import RetrySchedule
from projections import sessions

RETRY_SCHEDULE = RetrySchedule.of_seconds(5, 10, 20, 40, 60, 120, 300, 600)
"""When a callback that needs another source is tried again; after the last try it is dead-lettered."""

CALLBACK_QUERY_INTERVAL = timedelta(seconds=4)
"""Anyone who knows an attempt's id may post any number of callbacks; M-Pesa is queried no more often for that."""

QUERY_LIMIT_DELAY = timedelta(seconds=5)
"""Delay before retrying a callback while the query limit is exhausted; does not count as a try."""


class Settlement:
    """Records what stored callbacks prove. Every step may be repeated; the second time is a no-op."""

    def __init__(
        self,
        ledger: Ledger,
        vault: Vault,
        inbox: Inbox,
        phone_locks: PhoneLocks,
        query_log: QueryLog,
        status_queries: StatusQueries,
    ) -> None:
        self._ledger = ledger
        self._vault = vault
        self._inbox = inbox
        self._phone_locks = phone_locks
        self._query_log = query_log
        self._status_queries = status_queries

    def act_on(self, message: InboxMessage, *, may_query: bool = True) -> None:
        """Record what a stored callback proves, dead-letter it, or leave it for later.

        Unless it `may_query` M-Pesa, what needs a query is left to the worker.
        """
        with caused_by(Cause.CALLBACK, **message.as_source, actor="mpesa"):
            self._act_on(message, clock.now(), may_query=may_query)

    def _act_on(self, message: InboxMessage, now: datetime, *, may_query: bool) -> None:
        if message.missing_part:
            self._inbox.dead_letter(message, message.missing_part, now)
            return
        try:
            callback = parse_callback(message.body)
        except MalformedCallback as error:
            self._inbox.dead_letter(message, error.reason, now)
            return
        if message.session_id is not None and message.attempt is not None:
            session = self._ledger.session(message.session_id)
            self._act_on_authenticated(message, session, message.attempt, callback, now, may_query=may_query)
        else:
            self._act_on_unauthenticated(message, callback, now)

    def _act_on_authenticated(
        self,
        message: InboxMessage,
        session: PaymentSession,
        attempt: int,
        callback: StkCallback,
        now: datetime,
        *,
        may_query: bool,
    ) -> None:
        objection = objection_to(callback, session, attempt, self._vault)
        if objection:
            self._inbox.dead_letter(message, objection, now)
            return
        ids = ids_command(callback, session, attempt, self._vault, at=now)
        if ids is not None:  # The answer to the push was lost, or is still to come.
            session, _ = self._ledger.decide(session.id, ids, known=session)
        if amount_is_in_doubt(callback, session, attempt):
            if may_query:
                self._prove_amount(message, session, session.attempts[attempt], callback, now)
        else:
            self._record(message, session, attempt, callback, now)

    def _record(
        self,
        message: InboxMessage,
        session: PaymentSession,
        attempt: int,
        callback: StkCallback,
        now: datetime,
        *,
        reason: str | None = None,
    ) -> None:
        paid = callback.meaning.outcome == "paid"
        if paid and callback.receipt and not self._ledger.reserve_receipt(callback.receipt, session.id):
            self._inbox.dead_letter(message, "receipt_known_elsewhere", now)
            return
        known = session.attempts[attempt]
        reason = reason or remark(callback, known, message.received_at)
        command = outcome_command(callback, known, received_at=message.received_at, at=now)
        if command is None:
            self._inbox.dead_letter(message, "result_code_not_final", now)
            return
        session, _ = self._ledger.decide(session.id, command, known=session)
        self._phone_locks.release_if_ended(session, attempt)
        self._inbox.settle(message, reason, now)

    def _prove_amount(
        self,
        message: InboxMessage,
        session: PaymentSession,
        attempt: Attempt,
        callback: StkCallback,
        now: datetime,
    ) -> None:
        """Ask M-Pesa whether the prompt was paid, and so whole; until it or another source says so, wait."""
        since = now - CALLBACK_QUERY_INTERVAL
        if (
            attempt.state == AttemptState.PAID
            or attempt.checkout_sealed is None
            or self._query_log.was_asked_since(session.id, attempt.number, since)
        ):
            self._retry_later(message, "amount_not_known", now)
            return
        answer = self._ask(message, session, attempt, now, is_urgent=True)
        if answer is None:
            return
        if answer.kind == "paid":
            session = self._ledger.session(session.id)
            self._record(message, session, attempt.number, callback, now, reason="confirmed_by_query")
        else:
            self._retry_later(
                message, "contradicted_by_query" if answer.kind == "failed" else "amount_not_known", now
            )

    def _act_on_unauthenticated(self, message: InboxMessage, callback: StkCallback, now: datetime) -> None:
        session, attempt = self._find_attempt(callback)
        if session is None or attempt is None:
            self._retry_later(message, "unknown_checkout_request", now)
        elif is_no_change(callback, attempt):
            self._inbox.settle(message, "no_news", now, about=session.id)
        elif self._query_log.was_asked_since(session.id, attempt.number, now - CALLBACK_QUERY_INTERVAL):
            self._retry_later(message, "not_confirmed", now)
        else:
            self._confirm(message, session, attempt, callback, now)

    def _find_attempt(self, callback: StkCallback) -> tuple[PaymentSession, Attempt] | tuple[None, None]:
        digest = self._vault.digest("checkout", callback.checkout_request_id)
        session_id = sessions.find_by_checkout_digest(self._ledger.database, digest)
        try:
            session = self._ledger.session(session_id) if session_id else None
        except NotFound:
            session = None
        if session is None:
            return None, None
        return session, next(each for each in session.attempts.values() if each.checkout_digest == digest)

    def _confirm(
        self,
        message: InboxMessage,
        session: PaymentSession,
        attempt: Attempt,
        callback: StkCallback,
        now: datetime,
    ) -> None:
        """Query the status of an attempt; M-Pesa's answer is recorded, and the callback is confirmed or not."""
        answer = self._ask(message, session, attempt, now, is_urgent=False)
        if answer is None:
            return
        if answer.kind not in ("paid", "failed"):
            self._retry_later(message, "not_confirmed", now)
            return
        agrees = answer.kind == callback.meaning.outcome
        reason = "confirmed_by_query" if agrees else "contradicted_by_query"
        self._inbox.settle(message, reason, now, about=session.id)

    def _ask(
        self,
        message: InboxMessage,
        session: PaymentSession,
        attempt: Attempt,
        now: datetime,
        *,
        is_urgent: bool,
    ) -> QueryVerdict | None:
        """Query the status of an attempt and record it; return None, and let the message wait, at the rate limit."""
        answer = self._status_queries.ask(session, attempt, is_urgent=is_urgent)
        if answer is None:
            self._inbox.wait(message, now + QUERY_LIMIT_DELAY)
        else:
            self._query_log.note_in_between(session.id, attempt.number, answer=answer.kind, now=now)
        return answer

    def _retry_later(self, message: InboxMessage, reason: str, now: datetime) -> None:
        self._inbox.postpone_or_dead_letter(message, reason, RETRY_SCHEDULE, now)
