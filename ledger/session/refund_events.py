"""Events of a refund: that it is due, who approved it, that it was requested, and how it ended."""

from datetime import datetime
from typing import Any

from ledger.session.event import Event
from ledger.session.state import SessionState
from ledger.session.values import Refund, RefundState, with_fields


class RefundDue(Event):
    """A sum must go back to the buyer: money of no order; or, if `of_order` is set, money of the order that was made.

    Then `decided_by` names who decided it, for which `reason`; `request` names their decision, so that a repeat changes
    nothing; and `restock` says whether the goods went back on the shelf.
    """

    TOPIC = "payment_session.refund_due.v1"
    class_version = 2
    refund: int
    attempt: int
    amount_cents: int
    receipt: str | None
    why: str
    of_order: bool = False
    decided_by: str | None = None
    reason: str | None = None
    request: str | None = None
    restock: bool = False

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Change nothing: in version 1 no money of an order went back."""

    def apply(self, session: SessionState) -> None:
        session.refunds[self.refund] = Refund(
            self.refund,
            self.attempt,
            self.amount_cents,
            self.receipt,
            of_order=self.of_order,
            request=self.request,
            restock=self.restock,
        )


class RefundApproved(Event):
    """The policy, or a person, approved that a sum is sent back."""

    TOPIC = "payment_session.refund_approved.v1"
    refund: int
    approved_by: str

    def apply(self, session: SessionState) -> None:
        _change(session, self.refund, state=RefundState.APPROVED)


class RefundRefused(Event):
    """A person decided that a sum is not sent back for now; it is held, and may be approved later."""

    TOPIC = "payment_session.refund_refused.v1"
    refund: int
    refused_by: str
    reason: str

    def apply(self, session: SessionState) -> None:
        _change(session, self.refund, state=RefundState.REFUSED)


class RefundRequested(Event):
    """A sum is about to be sent back through M-Pesa; written before the network call."""

    TOPIC = "payment_session.refund_requested.v1"
    refund: int
    requested_by: str

    def apply(self, session: SessionState) -> None:
        _change(session, self.refund, state=RefundState.REQUESTED, requested_at=self.timestamp)


class RefundAccepted(Event):
    """M-Pesa accepted the request and will report its result under these ids."""

    TOPIC = "payment_session.refund_accepted.v1"
    refund: int
    conversation_id: str
    originator_conversation_id: str

    def apply(self, session: SessionState) -> None:
        _change(session, self.refund, conversation_id=self.conversation_id)


class RefundUncertain(Event):
    """M-Pesa's answer or result was lost: the sum may have gone back, so it is not sent again."""

    TOPIC = "payment_session.refund_uncertain.v1"
    refund: int
    reason: str

    def apply(self, session: SessionState) -> None:
        _change(session, self.refund, in_doubt=True)


class Refunded(Event):
    """A sum has gone back: by `means` "reversal", or in another way, as `recorded_by` says in `note`.

    `reversal_receipt` is M-Pesa's receipt of the money that went back, if one is known.
    """

    TOPIC = "payment_session.refunded.v1"
    refund: int
    reversal_receipt: str | None
    means: str
    recorded_by: str | None = None
    note: str | None = None

    def apply(self, session: SessionState) -> None:
        _change(
            session,
            self.refund,
            state=RefundState.REFUNDED,
            in_doubt=False,
            reversal_receipt=self.reversal_receipt,
            by_hand=self.means == "by_hand",
        )


class RefundFailed(Event):
    """A sum could not be sent back this time; it is due still."""

    TOPIC = "payment_session.refund_failed.v1"
    refund: int
    code: str
    text: str

    def apply(self, session: SessionState) -> None:
        _change(
            session,
            self.refund,
            state=RefundState.DUE,
            conversation_id=None,
            in_doubt=False,
            failures=session.refunds[self.refund].failures + 1,
        )


class PaymentReversed(Event):
    """M-Pesa or the payer took the payment back, or a part of it, without our asking: the sum is a refund that is done.

    `receipt` is the payment's; `reversal_receipt` is M-Pesa's of the money that went back, if one is known.
    """

    TOPIC = "payment_session.payment_reversed.v1"
    refund: int
    attempt: int
    amount_cents: int
    receipt: str
    reversal_receipt: str | None
    evidence: str
    reversed_at: datetime

    def apply(self, session: SessionState) -> None:
        session.refunds[self.refund] = Refund(
            self.refund,
            self.attempt,
            self.amount_cents,
            self.receipt,
            state=RefundState.REFUNDED,
            of_order=True,
            reversal_receipt=self.reversal_receipt,
            unasked=True,
        )


def _change(session: SessionState, refund: int, **fields: Any) -> None:
    session.refunds[refund] = with_fields(session.refunds[refund], **fields)
