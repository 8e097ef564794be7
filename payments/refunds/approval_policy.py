"""Who approves a refund where no person has to: the policy "auto", and the patience with an M-Pesa that is away."""

from uuid import UUID

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.session.events import ReceiptRecorded, RefundDue
from ledger.session.session import PaymentSession
from ledger.session.values import RefundState
from payments.refunds import queues
from payments.retry_schedule import RetrySchedule
from projections.follower import Recorded
from projections.refunds import RETRY_POLICY

AUTO_POLICY = "policy:auto"

RETRY_SCHEDULE = RetrySchedule.of_seconds(60, 300, 1200)
"""After how long a refund of which M-Pesa took nothing is tried again; after the last one a person decides."""

BATCH = 50

_log = structlog.get_logger(__name__)


class RefundPolicy:
    """Approves what falls due and was never decided about, where the policy is to. Safe to repeat.

    The follower moves on under the policy "manual" too, so that changing to "auto" approves nothing of the past.
    """

    name = "refund_policy"
    topics = (RefundDue.TOPIC, ReceiptRecorded.TOPIC)

    def __init__(self, ledger: Ledger, *, is_automatic: bool) -> None:
        self._ledger = ledger
        self._is_automatic = is_automatic

    def handle(self, recorded: Recorded) -> None:
        """Approve the refunds of one session whose receipt is known and that nobody has decided about."""
        if not self._is_automatic:
            return
        session = self._ledger.session(recorded.session_id)
        for refund in session.refunds:
            _approve(self._ledger, session.id, refund, AUTO_POLICY, failures=0)


def approve_again(ledger: Ledger) -> int:
    """Approve refunds again of which M-Pesa took nothing, a few times, at growing gaps; return how many."""
    now = clock.now()
    return sum(
        _approve(ledger, row.session_id, row.refund, RETRY_POLICY, failures=row.failures)
        for row in queues.unsent(ledger.database, most_in_a_row=len(RETRY_SCHEDULE.pauses), limit=BATCH)
        if row.failed_at is not None
        and row.failed_at + RETRY_SCHEDULE.pause_after(row.unsent_in_a_row) <= now
    )


def _approve(ledger: Ledger, session_id: UUID, number: int, policy: str, *, failures: int) -> bool:
    """Approve a refund unless somebody has decided about it, or tried to send it, since it failed so often."""

    def command(session: PaymentSession) -> bool:
        refund = session.refunds[number]
        # A policy never overrules a person: what he refused stays refused, what he tried in vain stays his.
        is_open = refund.state == RefundState.DUE and refund.failures == failures
        if is_open and refund.receipt is not None:
            session.approve_refund(number, approved_by=policy, at=clock.now())
            return True
        return False

    _, approved = ledger.decide(session_id, command)
    if approved:
        _log.info("refund_approved", session_id=str(session_id), refund=number, by=policy)
    return approved
