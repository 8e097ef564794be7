"""Status queries: ask M-Pesa about an attempt, and record the outcome that it reports.

A query names no amount and no receipt: it proves that what the prompt asked for was paid, or that it was not.
"""

from datetime import datetime, timedelta
from functools import partial

from daraja import DarajaClient, QueryVerdict, meaning_of
from ledger import clock
from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, Evidence, Payment
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import CHECKOUT_ID, Vault
from payments.confirmation.query_rate_limiter import QueryRateLimiter
from payments.confirmation.stk_callback import Command, failure_command
from payments.inbox.inbox import Channel, Inbox, InboxMessage
from payments.prompts.phone_locks import PhoneLocks

MAX_AT_ONCE = 8
"""How many threads of a job ask at once. Each mostly waits for M-Pesa, and holds no connection to PostgreSQL then."""

MAX_ROUND = timedelta(seconds=5)
"""A round of a job begins no query later: what has become due meanwhile has its turn, and a worker can stop."""


class StatusQueries:
    """Asks M-Pesa about attempts, within the rate limit. Asking again changes nothing that is recorded."""

    def __init__(
        self,
        ledger: Ledger,
        vault: Vault,
        inbox: Inbox,
        phone_locks: PhoneLocks,
        daraja: DarajaClient,
        rate_limiter: QueryRateLimiter,
    ) -> None:
        self._ledger = ledger
        self._vault = vault
        self._inbox = inbox
        self._phone_locks = phone_locks
        self._daraja = daraja
        self._rate_limiter = rate_limiter

    def ask(
        self, session: PaymentSession, attempt: Attempt, *, is_urgent: bool = True
    ) -> QueryVerdict | None:
        """Ask about an attempt whose CheckoutRequestID is known, record its outcome, and return M-Pesa's answer.

        Returns None, and asks nothing, while the rate limit is exhausted; a query that is not urgent leaves part of
        the limit to others. Raises Erased if the customer was erased, and with them the CheckoutRequestID.
        """
        assert attempt.checkout_sealed is not None
        checkout_request_id = self._vault.decrypt(
            session.user_id, attempt.checkout_sealed, purpose=CHECKOUT_ID, row=session.id
        )
        if not self._rate_limiter.take(clock.now(), is_urgent=is_urgent):
            return None
        answer = self._daraja.query(checkout_request_id)
        now = clock.now()
        if answer.rate_limited:
            self._rate_limiter.pause(now, answer.retry_after_seconds)
        command = _outcome_command(answer, session, attempt.number, now)
        if command is not None:
            session = self._record(answer, command, session, attempt.number, now)
            self._phone_locks.release_if_ended(session, attempt.number)
        return answer

    def let_go(self, message: InboxMessage) -> None:
        """Settle an answer that a process stored and then died: M-Pesa is asked again about an open attempt."""
        self._inbox.settle(message, "asked_again", clock.now())

    def _record(
        self, answer: QueryVerdict, command: Command, session: PaymentSession, attempt: int, now: datetime
    ) -> PaymentSession:
        """Store the answer as it came, then record what it proves, so that the event can name it."""
        message = self._inbox.store(
            answer.body,
            body_bytes=len(answer.body),
            channel=Channel.STATUS_QUERY,
            is_authenticated=True,
            session_id=session.id,
            attempt=attempt,
            owner=session.user_id,
            now=now,
        )
        with caused_by(Cause.STATUS_QUERY, **message.as_source, actor="mpesa"):
            session, _ = self._ledger.decide(session.id, command, known=session)
        self._inbox.settle(message, None, now)
        return session


def _outcome_command(
    answer: QueryVerdict, session: PaymentSession, attempt: int, now: datetime
) -> Command | None:
    if answer.kind == "paid":
        payment = Payment(attempt, None, session.totals.total_cents, Evidence.QUERY, now)
        return partial(PaymentSession.record_payment, payment=payment, at=now)
    if answer.kind == "failed" and answer.result_code is not None:
        return failure_command(meaning_of(answer.result_code), attempt, Evidence.QUERY, at=now)
    return None
