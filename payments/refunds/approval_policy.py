"""The approval policy "auto", and the repeated approval of refunds that M-Pesa did not take."""

from functools import partial
from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.session.events import EvidenceUpgraded, ReceiptRecorded, RefundDue
from ledger.session.session import PaymentSession
from payments.operators.four_eyes import FourEyes
from payments.operators.operator import AUTO_POLICY
from payments.refunds import queues
from payments.refunds.decisions import APPROVE, refund_decision
from payments.retry_schedule import RetrySchedule
from projections.follower import Recorded
from projections.refunds import RETRY_POLICY

RETRY_SCHEDULE = RetrySchedule.of_seconds(60, 300, 1200)
"""When a refund that M-Pesa did not take is approved again; after the last time a person decides."""

BATCH = 50

_log = structlog.get_logger(__name__)


class RefundPolicy:
    """Approves refunds that are due and were never decided about, if approval is automatic. Safe to repeat.

    From the amount on that needs a second person it only proposes, and a person approves.

    It follows the log if approval is manual, too, so that a change to automatic approves nothing of the past.
    """

    name = "refund_policy"
    topics = (RefundDue.TOPIC, ReceiptRecorded.TOPIC, EvidenceUpgraded.TOPIC)

    def __init__(self, ledger: Ledger, four_eyes: FourEyes, *, is_automatic: bool) -> None:
        self._ledger = ledger
        self._four_eyes = four_eyes
        self._is_automatic = is_automatic

    def handle(self, recorded: Recorded) -> None:
        """Approve the refunds of a session that are proved, with their receipt, and about which nobody has decided."""
        if not self._is_automatic:
            return
        session = self._ledger.session(recorded.session_id)
        for refund in session.refunds.values():
            if not self._four_eyes.needs_two(refund.amount_cents):
                _approve(self._ledger, session.id, refund.number, AUTO_POLICY, failures=0)
            elif session.policy_may_approve(refund.number, failures=0):
                decision = refund_decision(APPROVE, session.id, refund.number, refund.amount_cents)
                self._four_eyes.propose(decision, AUTO_POLICY, AUTO_POLICY)


def approve_again(ledger: Ledger) -> int:
    """Approve refunds that M-Pesa did not take again, a few times, after growing pauses; return how many."""
    now = clock.now()
    return sum(
        _approve(ledger, row.session_id, row.refund, RETRY_POLICY, failures=row.failures)
        for row in queues.unsent(ledger, max_in_a_row=len(RETRY_SCHEDULE.pauses), limit=BATCH)
        if row.failed_at is not None
        and row.failed_at + RETRY_SCHEDULE.pause_after(row.unsent_in_a_row) <= now
    )


def _approve(ledger: Ledger, session_id: UUID, refund: int, policy: str, *, failures: int) -> bool:
    command = partial(
        PaymentSession.approve_refund_by_policy,
        refund=refund,
        policy=policy,
        failures=failures,
        at=clock.now(),
    )
    _, approved = ledger.decide(session_id, command)
    if approved:
        _log.info("refund_approved", session_id=str(session_id), refund=refund, by=policy)
    return approved
