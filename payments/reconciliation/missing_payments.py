"""What a statement does not list: payments for attempts in doubt, and payments that are recorded here.

Nothing is lost by a mistake here. A payment that arrives later is recorded whatever the attempt was thought to be, and
a payment that is missing stays recorded until an operator has looked.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.outcome_commands import NO_PAYMENT_FOUND, NOT_PAID
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Payment
from payments.prompts.phone_locks import PhoneLocks, PromptOutcome
from payments.reconciliation.lookups import OurPayment
from payments.reconciliation.session_batch import BATCH_SIZE, SessionBatch
from projections import sessions

MAX_SESSIONS = 10_000

PAID_WITHIN = timedelta(hours=1)
"""A prompt lives for a minute; this long after its request no payment can come, whatever M-Pesa's clock says."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unpaid:
    """An attempt that ended unpaid by the statement; `amount_cents` is what it asked for."""

    session_id: UUID
    attempt: int
    amount_cents: int
    requested_at: datetime


class MissingPayments:
    """Acts on what is missing once all of a statement is matched. Every step may be repeated."""

    def __init__(self, ledger: Ledger, phone_locks: PhoneLocks) -> None:
        self._ledger = ledger
        self._phone_locks = phone_locks

    def end_unpaid(
        self, since: datetime, until: datetime, unexplained_cents: Collection[int]
    ) -> list[Unpaid]:
        """End the open attempts whose whole time lies between two moments; return them.

        An attempt stays open where `unexplained_cents` has its amount, because that may be its payment.
        """
        ended: list[Unpaid] = []
        latest = until - PAID_WITHIN
        for session_id in sessions.with_open_attempts(self._ledger.database, since, latest, MAX_SESSIONS):
            try:
                ended += self._end_those_of(session_id, since, latest, unexplained_cents)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - logged here; it stays in doubt, and does not hold up the others
                _log.exception("attempt_left_in_doubt", session_id=str(session_id))
        return ended

    def miss(self, payments: Sequence[OurPayment]) -> None:
        """Open a case for each payment that is recorded here and missing in the statement of its time, once."""
        for start in range(0, len(payments), BATCH_SIZE):
            batch = payments[start : start + BATCH_SIZE]
            sessions_of = SessionBatch(self._ledger, {payment.session_id for payment in batch})
            for payment in batch:
                if payment.session_id in sessions_of:
                    _miss(sessions_of[payment.session_id], payment)
            unwritten = sessions_of.write()
            for payment in batch:
                if payment.session_id in unwritten or payment.session_id not in sessions_of:
                    self._ledger.decide(payment.session_id, partial(_miss, payment=payment))

    def _end_those_of(
        self, session_id: UUID, since: datetime, latest: datetime, unexplained_cents: Collection[int]
    ) -> list[Unpaid]:
        command = partial(
            _end_covered_attempts,
            since=since,
            latest=latest,
            unexplained_cents=unexplained_cents,
            at=clock.now(),
        )
        session, ended = self._ledger.decide(session_id, command)
        for unpaid in ended:
            self._phone_locks.release(
                session_id, session.attempts[unpaid.attempt].transaction_id, PromptOutcome.UNPAID
            )
        return ended


def _miss(session: PaymentSession, payment: OurPayment) -> None:
    missed = Payment(
        attempt=payment.attempt,
        receipt=payment.receipt,
        amount_cents=payment.amount_cents,
        evidence=Evidence.STATEMENT,
        paid_at=payment.paid_at,
    )
    session.miss_payment(missed, at=clock.now())


def _end_covered_attempts(
    session: PaymentSession,
    *,
    since: datetime,
    latest: datetime,
    unexplained_cents: Collection[int],
    at: datetime,
) -> list[Unpaid]:
    total_cents = session.totals.total_cents
    if total_cents in unexplained_cents:
        return []
    covered = [attempt for attempt in session.open_attempts if since <= attempt.requested_at <= latest]
    for attempt in covered:
        session.record_attempt_failure(
            attempt.number, evidence=Evidence.STATEMENT, code=NOT_PAID, text=NO_PAYMENT_FOUND, at=at
        )
    return [Unpaid(session.id, attempt.number, total_cents, attempt.requested_at) for attempt in covered]
