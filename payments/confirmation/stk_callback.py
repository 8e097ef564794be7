"""What became of an attempt: callbacks and status queries, turned into facts.

A callback is kept first, then acknowledged, then acted on. Its URL proves that M-Pesa sent it; without that proof it
is a hint, and counts once a status query says the same. A query names no amount and no receipt: it proves that what
was asked for was paid, or that it was not. So a hint's receipt is never believed: whoever invents one would be paid
twice when the true one comes, or take it from the buyer whose it is.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from daraja import (
    DarajaClient,
    MalformedCallback,
    QueryVerdict,
    ResultMeaning,
    StkCallback,
    meaning_of,
    parse_callback,
)
from ledger import clock
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState, Evidence, Payment
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.confirmation.query_budget import QueryRateLimiter
from payments.confirmation.query_log import QueryLog
from payments.inbox.callback_tokens import read_token
from payments.inbox.dispatcher import dispatch_now
from payments.inbox.inbox import Channel, Inbox, InboxMessage
from payments.prompts.phone_locks import PhoneLocks
from payments.retry_schedule import RetrySchedule
from projections import sessions

RETRY_SCHEDULE = RetrySchedule.of_seconds(5, 10, 20, 40, 60, 120, 300, 600)
"""How long a letter waits between one try and the next; after the last it is set aside for a person."""

UNAUTHENTICATED_QUERY_INTERVAL = timedelta(seconds=4)
"""Whoever knows an attempt's id may post as many hints as he likes; M-Pesa is asked no more often for that."""

QUERY_LIMIT_DELAY = timedelta(seconds=5)
"""How long a hint rests where M-Pesa may not be asked at this moment; that is no try of the letter's."""


@dataclass(frozen=True)
class Verdict:
    """What a witness says of one attempt, in the ledger's words: a payment, a failure, or neither yet."""

    payment: Payment | None = None
    failure: ResultMeaning | None = None
    evidence: Evidence = Evidence.CALLBACK


class Settlement:
    """Acts on callbacks and on answers to queries. Every step may be repeated; the second time is no news."""

    def __init__(
        self,
        ledger: Ledger,
        vault: Vault,
        inbox: Inbox,
        phone_locks: PhoneLocks,
        checks: QueryLog,
        daraja: DarajaClient,
        budget: QueryRateLimiter,
    ) -> None:
        self._ledger = ledger
        self._vault = vault
        self._inbox = inbox
        self._phone_locks = phone_locks
        self._checks = checks
        self._daraja = daraja
        self._budget = budget

    def receive(self, body: bytes, *, body_bytes: int, token: str | None) -> None:
        """Keep a callback, then act on it if that can be done at once; what remains is the worker's.

        Raises Unavailable where the body could not be kept: then it must not be acknowledged.
        """
        address = read_token(self._vault.sign, token) if token else None
        session_id, attempt = address or (None, None)
        message = self._inbox.keep(
            body,
            body_bytes=body_bytes,
            channel=Channel.STK,
            is_authenticated=session_id is not None,
            session_id=session_id,
            attempt=attempt,
            owner=self._owner(session_id),
            now=clock.now(),
        )
        if session_id is None:
            return  # A hint wants a query, and a query must not make M-Pesa's sender wait.
        dispatch_now(message, self.act_on)

    def act_on(self, message: InboxMessage) -> None:
        """Turn a kept callback into facts, set it aside for a person, or leave it for later."""
        now = clock.now()
        if message.was_cut:
            self._inbox.dead_letter(message, "too_large", now)
            return
        try:
            callback = parse_callback(message.body)
        except MalformedCallback as error:
            self._inbox.dead_letter(message, error.reason, now)
            return
        if message.session_id is not None and message.attempt is not None:
            self._act_on_authenticated(message, message.session_id, message.attempt, callback, now)
        else:
            self._act_on_unauthenticated(message, callback, now)

    def settle_by_query(
        self, session: PaymentSession, attempt: Attempt, *, is_unauthenticated: bool = False
    ) -> QueryVerdict | None:
        """Ask M-Pesa about an attempt and record what it says; return the answer.

        Anybody may post hints, so they never take the last questions. Returns None, and asks nothing, where as many
        questions were asked as may be, or M-Pesa wants a pause. Raises Erased where the customer was erased, and with
        him M-Pesa's name of the attempt.
        """
        assert attempt.checkout_sealed is not None
        checkout_id = self._vault.decrypt(session.user_id, attempt.checkout_sealed)
        if not self._budget.take(clock.now(), is_urgent=not is_unauthenticated):
            return None
        answer = self._daraja.query(checkout_id)
        if answer.rate_limited:
            self._budget.pause(clock.now(), answer.retry_after_seconds)
        if answer.kind == "paid":
            paid = Payment(attempt.number, None, session.totals.total_cents, Evidence.QUERY, clock.now())
            self._record(session, attempt.number, Verdict(payment=paid))
        elif answer.kind == "failed" and answer.result_code is not None:
            failure = Verdict(failure=meaning_of(answer.result_code), evidence=Evidence.QUERY)
            self._record(session, attempt.number, failure)
        return answer

    def _owner(self, session_id: UUID | None) -> int:
        if session_id is None:
            return SYSTEM_USER_ID
        owner = sessions.owner_of(self._ledger.database, session_id)
        return SYSTEM_USER_ID if owner is None else owner

    def _act_on_authenticated(
        self, message: InboxMessage, session_id: UUID, number: int, callback: StkCallback, now: datetime
    ) -> None:
        session = self._ledger.session(session_id)
        objection = self._objection(session_id, session.attempts.get(number), callback)
        if objection:
            self._inbox.dead_letter(message, objection, now)
            return
        meaning = callback.meaning
        session = self._learn_ids(session, number, callback)
        if meaning.outcome == "paid":
            payment = Payment(
                number,
                callback.receipt,
                callback.amount_cents,
                Evidence.CALLBACK,
                callback.transaction_date or message.received_at,
            )
            self._record(session, number, Verdict(payment=payment))
        elif meaning.outcome == "failed" and not meaning.confirm:
            self._record(session, number, Verdict(failure=meaning))
        else:
            self._inbox.dead_letter(message, "result_code_not_final", now)
            return
        self._inbox.settle(message, None, now)

    def _objection(self, session_id: UUID, attempt: Attempt | None, callback: StkCallback) -> str | None:
        """Why a callback with a good token is not acted on, as a slug; None where nothing speaks against it."""
        if attempt is None:
            return "unknown_attempt"
        known = attempt.checkout_digest
        if known is not None and known != self._vault.digest("checkout", callback.checkout_request_id):
            return "ids_differ"
        paid = callback.meaning.outcome == "paid"
        if paid and callback.receipt and not self._ledger.reserve_receipt(callback.receipt, session_id):
            return "receipt_known_elsewhere"
        return None

    def _learn_ids(self, session: PaymentSession, number: int, callback: StkCallback) -> PaymentSession:
        """Take the attempt's ids from its callback, where the answer to the push was lost or is still to come."""
        if session.attempts[number].state not in (AttemptState.REQUESTED, AttemptState.UNCERTAIN):
            return session
        encrypted = self._vault.encrypt(session.user_id, callback.checkout_request_id)
        digest = self._vault.digest("checkout", callback.checkout_request_id)
        session, _ = self._ledger.decide(
            session.id,
            lambda session: session.record_initiation(
                number,
                merchant_request_id=callback.merchant_request_id,
                checkout_sealed=encrypted,
                checkout_digest=digest,
                at=clock.now(),
            ),
            known=session,
        )
        return session

    def _record(self, session: PaymentSession, number: int, verdict: Verdict) -> PaymentSession:
        def command(session: PaymentSession) -> None:
            if verdict.payment is not None:
                session.record_payment(verdict.payment, at=clock.now())
            elif verdict.failure is not None:
                session.record_attempt_failure(
                    number,
                    evidence=verdict.evidence,
                    code=verdict.failure.reason.upper(),
                    text=verdict.failure.sentence,
                    result_code=verdict.failure.code,
                    at=clock.now(),
                )

        session, _ = self._ledger.decide(session.id, command, known=session)
        attempt = session.attempts[number]
        if not attempt.is_open:
            self._phone_locks.release(session.id, attempt.transaction_id)
        return session

    def _act_on_unauthenticated(self, message: InboxMessage, callback: StkCallback, now: datetime) -> None:
        digest = self._vault.digest("checkout", callback.checkout_request_id)
        session_id = sessions.find_by_checkout_digest(self._ledger.database, digest)
        if session_id is None:
            self._later(message, "unknown_checkout_request", now)
            return
        try:
            session = self._ledger.session(session_id)
        except NotFound:
            self._later(message, "unknown_checkout_request", now)
            return
        attempt = next(a for a in session.attempts.values() if a.checkout_digest == digest)
        if self._changes_nothing(attempt, callback):
            self._inbox.settle(message, "no_news", now)
            return
        if self._checks.was_asked_since(session.id, attempt.number, now - UNAUTHENTICATED_QUERY_INTERVAL):
            self._later(message, "not_confirmed", now)
            return
        answer = self.settle_by_query(session, attempt, is_unauthenticated=True)
        if answer is None:
            self._inbox.wait(message, now + QUERY_LIMIT_DELAY)
            return
        self._checks.note_in_between(session.id, attempt.number, answer=answer.kind, now=now)
        if answer.kind in ("paid", "failed"):
            agrees = answer.kind == callback.meaning.outcome
            self._inbox.settle(message, "confirmed_by_query" if agrees else "contradicted_by_query", now)
        else:
            self._later(message, "not_confirmed", now)

    def _changes_nothing(self, attempt: Attempt, callback: StkCallback) -> bool:
        if attempt.is_open:
            return False
        return attempt.state == AttemptState.PAID or callback.meaning.outcome != "paid"

    def _later(self, message: InboxMessage, reason: str, now: datetime) -> None:
        tries = message.tries + 1
        if tries >= RETRY_SCHEDULE.max_tries:
            self._inbox.dead_letter(message, reason, now)
        else:
            self._inbox.postpone(message, reason, now + RETRY_SCHEDULE.pause_after(tries))
