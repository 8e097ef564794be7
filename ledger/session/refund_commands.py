"""The way back of money: what may be decided about a sum that is due, and what is written down of its journey.

    due ──► approved ──► requested ──► refunded
     ▲ └──► refused ──┘      │            ▲
     └───────────────────────┘            └── by hand, from due, approved or refused

A reversal has no idempotency key, so the request is written before it is sent, and is never sent again on silence:
a sum whose end may have been missed is `in_doubt` until M-Pesa, the statement or a person says what became of it.
"""

from datetime import datetime
from typing import TYPE_CHECKING, Any

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.values import Refund, RefundState

CAN_BE_SENT_BY_HAND = frozenset({RefundState.DUE, RefundState.APPROVED, RefundState.REFUSED})
NOT_DUE = "There is no such refund, or it has been decided already. Look at it again before you decide."


class RefundCommands:
    """The commands of a payment session that are about its refunds; `at` is an aware UTC moment.

    Two people who decide at once write at the same version of the session, so one of them is refused.
    """

    if TYPE_CHECKING:
        refunds: dict[int, Refund]

        def _write(self, fact: type[events.Event], *, at: datetime, **says: Any) -> None: ...

    def approve_refund(self, refund: int, *, approved_by: str, at: datetime) -> None:
        """Agree that a sum is sent back through M-Pesa.

        Raises Rejected REFUND_NOT_DUE where it is not due or refused, REFUND_WITHOUT_RECEIPT where M-Pesa's name
        of the payment, by which it is reversed, is not known yet.
        """
        due = self._refund_in(refund, RefundState.DUE, RefundState.REFUSED)
        if due.receipt is None:
            raise Rejected(
                "REFUND_WITHOUT_RECEIPT",
                "The M-Pesa receipt of this money is not known yet. Import a statement, or wait for M-Pesa to tell it.",
            )
        self._write(events.RefundApproved, refund=refund, approved_by=approved_by, at=at)

    def refuse_refund(self, refund: int, *, refused_by: str, reason: str, at: datetime) -> None:
        """Decide that a sum is held for now. Raises Rejected REFUND_NOT_DUE where it is not due or approved."""
        self._refund_in(refund, RefundState.DUE, RefundState.APPROVED)
        self._write(events.RefundRefused, refund=refund, refused_by=refused_by, reason=reason, at=at)

    def request_refund(self, refund: int, *, requested_by: str, at: datetime) -> None:
        """Write down that a sum is about to be sent back. Raises Rejected REFUND_NOT_DUE where nobody approved it."""
        self._refund_in(refund, RefundState.APPROVED)
        self._write(events.RefundRequested, refund=refund, requested_by=requested_by, at=at)

    def record_refund_acceptance(
        self, refund: int, *, conversation_id: str, originator_conversation_id: str, at: datetime
    ) -> None:
        """M-Pesa took the request. No news where that is known, or its result was quicker."""
        sent = self.refunds[refund]
        if sent.state == RefundState.REQUESTED and sent.conversation_id is None:
            self._write(
                events.RefundAccepted,
                refund=refund,
                conversation_id=conversation_id,
                originator_conversation_id=originator_conversation_id,
                at=at,
            )

    def record_refund_uncertainty(self, refund: int, *, reason: str, at: datetime) -> None:
        """The answer or the result may have been missed. No news where that is known, or nothing is under way."""
        sent = self.refunds[refund]
        if sent.state == RefundState.REQUESTED and not sent.in_doubt:
            self._write(events.RefundUncertain, refund=refund, reason=reason, at=at)

    def record_refund(self, refund: int, *, reversal_receipt: str | None, means: str, at: datetime) -> None:
        """A sum has gone back, as M-Pesa or its statement says; that is true whatever was decided about it."""
        if self.refunds[refund].state != RefundState.REFUNDED:
            self._write(events.Refunded, refund=refund, reversal_receipt=reversal_receipt, means=means, at=at)

    def record_refund_failure(self, refund: int, *, code: str, text: str, at: datetime) -> None:
        """A sum that was on its way did not arrive; it is due again, and is sent again when somebody says so."""
        if self.refunds[refund].state == RefundState.REQUESTED:
            self._write(events.RefundFailed, refund=refund, code=code, text=text, at=at)

    def record_refund_by_hand(self, refund: int, *, recorded_by: str, note: str, at: datetime) -> None:
        """A person returned a sum by other means, or found that it had gone back.

        Raises Rejected REFUND_NOT_DUE where it has gone back already, REFUND_UNDER_WAY where M-Pesa is still
        expected to answer for it.
        """
        self._require_decidable(refund)
        self._write(
            events.Refunded,
            refund=refund,
            reversal_receipt=None,
            means="by_hand",
            recorded_by=recorded_by,
            note=note,
            at=at,
        )

    def record_refund_not_sent(self, refund: int, *, recorded_by: str, note: str, at: datetime) -> None:
        """A person found that a sum in doubt did not go back: it is due again.

        Raises Rejected REFUND_NOT_DUE where nothing is under way, REFUND_UNDER_WAY where it is not in doubt.
        """
        self._refund_in(refund, RefundState.REQUESTED)
        self._require_decidable(refund)
        self._write(events.RefundFailed, refund=refund, code="NOT_SENT", text=f"{recorded_by}: {note}", at=at)

    def _refund_in(self, refund: int, *states: RefundState) -> Refund:
        found = self.refunds.get(refund)
        if found is None or found.state not in states:
            raise Rejected("REFUND_NOT_DUE", NOT_DUE)
        return found

    def _require_decidable(self, refund: int) -> None:
        """Let a person decide where M-Pesa's word is not expected any more."""
        found = self._refund_in(refund, *CAN_BE_SENT_BY_HAND, RefundState.REQUESTED)
        if found.state == RefundState.REQUESTED and not found.in_doubt:
            raise Rejected(
                "REFUND_UNDER_WAY",
                "M-Pesa is sending this sum back at this moment. Wait for its answer; it comes within minutes.",
            )
