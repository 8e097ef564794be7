"""What a statement tells by its silence: attempts in doubt that nobody paid, and payments of ours that it lacks.

Nothing is lost by a mistake here. Money that comes all the same is booked whatever the attempt was thought to be, and a
payment that is missed stands until a person has looked.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.outcome_commands import NO_PAYMENT_FOUND, NOT_PAID
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Payment
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.lookups import OurPayment
from projections import sessions

MAX_SESSIONS = 10_000

PAID_WITHIN = timedelta(hours=1)
"""A prompt lives for a minute; so long after its request no payment of it can come, whatever M-Pesa's clock says."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Unpaid:
    """An attempt that ended unpaid, as the statement shows; `amount_cents` is what it had asked for."""

    session_id: UUID
    attempt: int
    amount_cents: int
    requested_at: datetime


class MissingPayments:
    """Acts on what is not there after all of a statement was brought to its sessions. Every step may be repeated."""

    def __init__(self, ledger: Ledger, phone_locks: PhoneLocks) -> None:
        self._ledger = ledger
        self._phone_locks = phone_locks

    def end_unpaid(
        self, since: datetime, until: datetime, unexplained_cents: Collection[int]
    ) -> list[Unpaid]:
        """End the open attempts whose whole time lies between two moments; return them.

        An attempt stays open where a sum as large as its own belongs to nobody, by `unexplained_cents`: it may be its.
        """
        found: list[Unpaid] = []
        latest = until - PAID_WITHIN
        for session_id in sessions.with_open_attempts(self._ledger.database, since, latest, MAX_SESSIONS):
            try:
                found += self._end_those_of(session_id, since, latest, unexplained_cents)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - said here; it stays in doubt, and keeps no other there
                _log.exception("attempt_left_in_doubt", session_id=str(session_id))
        return found

    def miss(self, payment: OurPayment) -> None:
        """Open a case of a payment that is recorded here and that the statement of its time does not have, once."""
        missed = Payment(
            payment.attempt, payment.receipt, payment.amount_cents, Evidence.STATEMENT, payment.paid_at
        )
        self._ledger.decide(payment.session_id, lambda session: session.miss_payment(missed, at=clock.now()))

    def _end_those_of(
        self, session_id: UUID, since: datetime, latest: datetime, unexplained_cents: Collection[int]
    ) -> list[Unpaid]:
        def command(session: PaymentSession) -> list[Unpaid]:
            total_cents = session.totals.total_cents
            if total_cents in unexplained_cents:
                return []
            covered = [each for each in session.open_attempts if since <= each.requested_at <= latest]
            for attempt in covered:
                session.record_attempt_failure(
                    attempt.number,
                    evidence=Evidence.STATEMENT,
                    code=NOT_PAID,
                    text=NO_PAYMENT_FOUND,
                    at=clock.now(),
                )
            return [Unpaid(session.id, each.number, total_cents, each.requested_at) for each in covered]

        session, ended = self._ledger.decide(session_id, command)
        for each in ended:
            self._phone_locks.release(session_id, session.attempts[each.attempt].transaction_id)
        return ended
