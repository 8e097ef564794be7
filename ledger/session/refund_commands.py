"""Refunds: the commands that decide about a sum that is due, and those that record what became of it.

    due ──► approved ──► requested ──► refunded
     ▲ └──► refused ──┘      │            ▲
     └───────────────────────┘            └── by hand, from due, approved or refused

A reversal has no idempotency key, so the request is written before it is sent, and is never sent again on silence:
a refund whose result may have been missed is `in_doubt` until M-Pesa, the statement or a person settles it.
"""

from datetime import datetime

from ledger.errors import Rejected
from ledger.money import Money
from ledger.session import events
from ledger.session.state import SessionState
from ledger.session.values import Evidence, Refund, RefundState, Reversal, ReversalMeaning

CAN_BE_SENT_BY_HAND = frozenset({RefundState.DUE, RefundState.APPROVED, RefundState.REFUSED})
ORDER_REFUNDED = "order_refunded"
"""Why a sum of an order goes back: a person decided it."""
PAYMENT_REVERSED = "payment_reversed"
"""Why a sum went back without us: M-Pesa or the payer took it."""

NOT_DUE = "There is no such refund, or it has been decided already. Look at it again before you decide."


class RefundCommands(SessionState):
    """The commands of a payment session that are about its refunds; `at` is an aware UTC moment.

    Two people who decide at once write at the same version of the session, so one of them is refused.
    """

    def approve_refund(self, refund: int, *, approved_by: str, at: datetime) -> None:
        """Agree that a sum is sent back through M-Pesa.

        Raises Rejected REFUND_NOT_DUE if it is neither due nor refused, REFUND_WITHOUT_RECEIPT while the receipt of
        the payment, by which it is reversed, is unknown.
        """
        due = self._refund_in(refund, RefundState.DUE, RefundState.REFUSED)
        if due.receipt is None:
            raise Rejected(
                "REFUND_WITHOUT_RECEIPT",
                "The M-Pesa receipt of this money is not known yet. Import a statement, or wait for M-Pesa.",
            )
        self._write(events.RefundApproved, refund=refund, approved_by=approved_by, at=at)

    def approve_refund_by_policy(self, refund: int, *, policy: str, failures: int, at: datetime) -> bool:
        """Approve a refund by a policy; return whether it did.

        A policy never overrules a person: no change if somebody has decided about the refund, or it was attempted
        again, since it failed `failures` times. Nor does it send back another amount than was asked for, where only a
        callback names that amount.
        """
        if not self.policy_may_approve(refund, failures=failures):
            return False
        self.approve_refund(refund, approved_by=policy, at=at)
        return True

    def policy_may_approve(self, refund: int, *, failures: int) -> bool:
        """Whether a policy may approve a refund now; see `approve_refund_by_policy`."""
        due = self.refunds[refund]
        if (due.state, due.failures) != (RefundState.DUE, failures) or due.receipt is None:
            return False
        credit = self.credits.get(due.receipt)
        is_proven = credit is None or credit.evidence != Evidence.CALLBACK
        return due.amount_cents == self.totals.total_cents or is_proven

    def refuse_refund(self, refund: int, *, refused_by: str, reason: str, at: datetime) -> None:
        """Hold a sum for now. Raises Rejected REFUND_NOT_DUE if it is neither due nor approved."""
        self._refund_in(refund, RefundState.DUE, RefundState.APPROVED)
        self._write(events.RefundRefused, refund=refund, refused_by=refused_by, reason=reason, at=at)

    def request_refund(self, refund: int, *, requested_by: str, at: datetime) -> None:
        """Record that a sum is about to be sent back. Raises Rejected REFUND_NOT_DUE if it is not approved."""
        self._refund_in(refund, RefundState.APPROVED)
        self._write(events.RefundRequested, refund=refund, requested_by=requested_by, at=at)

    def record_refund_acceptance(
        self,
        refund: int,
        *,
        attempt_number: int,
        conversation_id: str,
        originator_conversation_id: str,
        at: datetime,
    ) -> None:
        """Record that M-Pesa took the request. No change if that or its result is known already."""
        if self._is_under_way(refund, attempt_number) and self.refunds[refund].conversation_id is None:
            self._write(
                events.RefundAccepted,
                refund=refund,
                conversation_id=conversation_id,
                originator_conversation_id=originator_conversation_id,
                at=at,
            )

    def record_refund_uncertainty(
        self, refund: int, *, attempt_number: int, reason: str, at: datetime
    ) -> bool:
        """Record that M-Pesa's answer or result may have been missed; return whether that is news of this attempt."""
        is_news = self._is_under_way(refund, attempt_number) and not self.refunds[refund].in_doubt
        if is_news:
            self._write(events.RefundUncertain, refund=refund, reason=reason, at=at)
        return is_news

    def record_refund(self, refund: int, *, reversal_receipt: str | None, means: str, at: datetime) -> None:
        """Record that a sum has gone back, as M-Pesa or its statement reports, whatever was decided about it."""
        if self.refunds[refund].state != RefundState.REFUNDED:
            self._write(events.Refunded, refund=refund, reversal_receipt=reversal_receipt, means=means, at=at)

    def record_reversal(self, reversal: Reversal, *, at: datetime) -> ReversalMeaning:
        """Record that M-Pesa's books show a reversal of money of this session, once; return what it is.

        It settles the refund that is due of its sum, or is the one by which that was made. If nobody here asked for it
        and it reverses the payment, it is recorded as unasked. What fits neither is unclear, and changes nothing.
        """
        of_payment = [refund for refund in self.refunds.values() if refund.receipt == reversal.receipt]
        for refund in of_payment:
            if reversal.is_by(refund):
                return ReversalMeaning.UNASKED if refund.unasked else ReversalMeaning.REFUND
        for refund in of_payment:
            if refund.state != RefundState.REFUNDED and refund.amount_cents == reversal.amount_cents:
                self.record_refund(
                    refund.number, reversal_receipt=reversal.reversal_receipt, means="statement", at=at
                )
                return ReversalMeaning.REFUND
        meanings = [_meaning_beside(refund, reversal) for refund in of_payment]
        known = next((meaning for meaning in meanings if meaning is not None), None)
        if known is None and self._is_reversible(reversal):
            self._write_reversal(reversal, at)
            return ReversalMeaning.UNASKED
        return known or ReversalMeaning.UNCLEAR

    def record_refund_failure(
        self, refund: int, *, attempt_number: int, code: str, text: str, at: datetime
    ) -> bool:
        """Record that an attempt failed: the sum is due again, and needs approval again; return whether it is news."""
        is_news = self._is_under_way(refund, attempt_number)
        if is_news:
            self._write(events.RefundFailed, refund=refund, code=code, text=text, at=at)
        return is_news

    def record_refund_by_hand(self, refund: int, *, recorded_by: str, note: str, at: datetime) -> None:
        """Record that a person returned a sum by other means, or found that it had gone back.

        Raises Rejected REFUND_NOT_DUE if it has gone back already, REFUND_UNDER_WAY while M-Pesa is expected to
        report its result.
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
        """Record that a person found that a sum in doubt did not go back: it is due again.

        Raises Rejected REFUND_NOT_DUE if nothing is under way, REFUND_UNDER_WAY if it is not in doubt.
        """
        self._refund_in(refund, RefundState.REQUESTED)
        self._require_decidable(refund)
        self._write(events.RefundFailed, refund=refund, code="NOT_SENT", text=f"{recorded_by}: {note}", at=at)

    def refund_order(
        self,
        *,
        amount_cents: int | None,
        payout_receipt: str | None,
        decided_by: str,
        reason: str,
        restock: bool,
        request: str,
        at: datetime,
    ) -> int:
        """Decide that money of the order goes back; return its refund's number. A repeated `request` is a no-op.

        The whole is sent by reversal, approved at once where its receipt is known. Any sum that was sent outside is
        recorded by M-Pesa's `payout_receipt`. Without `amount_cents` it is all that is left. Raises Rejected
        ORDER_NOT_MADE, REFUND_EXCEEDS_ORDER, PAYOUT_KNOWN, and REFUND_IN_PART for a part without such a receipt.
        """
        for known in self.order_refunds:
            if known.request == request:
                return known.number
        amount = self._order_money_to_refund(amount_cents, payout_receipt)
        assert self.paid is not None
        number = len(self.refunds) + 1
        self._write(
            events.RefundDue,
            refund=number,
            attempt=self.paid.attempt,
            amount_cents=amount,
            receipt=self.paid.receipt,
            why=ORDER_REFUNDED,
            of_order=True,
            decided_by=decided_by,
            reason=reason,
            request=request,
            restock=restock,
            at=at,
        )
        if payout_receipt is not None:
            self._write(
                events.Refunded,
                refund=number,
                reversal_receipt=payout_receipt,
                means="by_hand",
                recorded_by=decided_by,
                note=reason,
                at=at,
            )
        elif self.paid.receipt is not None:
            self._write(events.RefundApproved, refund=number, approved_by=decided_by, at=at)
        return number

    def _order_money_to_refund(self, amount_cents: int | None, payout_receipt: str | None) -> int:
        """Return the sum in cents that a refund of the order is of. Raises Rejected as `refund_order` does."""
        if self.order_created_at is None:
            raise Rejected(
                "ORDER_NOT_MADE", "This session has no order; see its refunds, if money is due back."
            )
        left = max(0, self.totals.total_cents - sum(refund.amount_cents for refund in self.order_refunds))
        amount = left if amount_cents is None else amount_cents
        if not 0 < amount <= left:
            raise Rejected(
                "REFUND_EXCEEDS_ORDER", f"Of the order's money {Money(left)} shillings are left to give back."
            )
        if payout_receipt is None and amount != self.totals.total_cents:
            raise Rejected(
                "REFUND_IN_PART",
                "M-Pesa reverses whole payments only. Send this part yourself, then record it with M-Pesa's receipt.",
            )
        if any(
            payout_receipt == refund.reversal_receipt for refund in self.refunds.values() if payout_receipt
        ):
            raise Rejected("PAYOUT_KNOWN", "This receipt is of another refund already.")
        return amount

    def _is_reversible(self, reversal: Reversal) -> bool:
        """Whether it can be a reversal of the payment: M-Pesa takes back no more than came in."""
        if self.paid is None or self.paid.receipt != reversal.receipt:
            return False
        went_back = sum(
            refund.amount_cents
            for refund in self.refunds.values()
            if refund.receipt == reversal.receipt and not refund.by_hand
        )
        return went_back + reversal.amount_cents <= self.credits[reversal.receipt].amount_cents

    def _write_reversal(self, reversal: Reversal, at: datetime) -> None:
        assert self.paid is not None
        self._write(
            events.PaymentReversed,
            refund=len(self.refunds) + 1,
            attempt=self.paid.attempt,
            amount_cents=reversal.amount_cents,
            receipt=reversal.receipt,
            reversal_receipt=reversal.reversal_receipt,
            evidence=reversal.evidence,
            reversed_at=reversal.reversed_at,
            at=at,
        )

    def _owe_refund(
        self, attempt: int, amount_cents: int, receipt: str | None, why: str, at: datetime
    ) -> None:
        self._write(
            events.RefundDue,
            refund=len(self.refunds) + 1,
            attempt=attempt,
            amount_cents=amount_cents,
            receipt=receipt,
            why=why,
            at=at,
        )

    def _is_under_way(self, refund: int, attempt_number: int) -> bool:
        """Whether M-Pesa has this attempt, and its result is unknown."""
        known = self.refunds[refund]
        return known.state == RefundState.REQUESTED and known.attempt_number == attempt_number

    def _refund_in(self, refund: int, *states: RefundState) -> Refund:
        known = self.refunds.get(refund)
        if known is None or known.state not in states:
            raise Rejected("REFUND_NOT_DUE", NOT_DUE)
        return known

    def _require_decidable(self, refund: int) -> None:
        """Raise Rejected while M-Pesa is expected to report the result, so that no person may decide."""
        known = self._refund_in(refund, *CAN_BE_SENT_BY_HAND, RefundState.REQUESTED)
        if known.state == RefundState.REQUESTED and not known.in_doubt:
            raise Rejected(
                "REFUND_UNDER_WAY",
                "M-Pesa is sending this sum back at this moment. Wait for its answer; it comes within minutes.",
            )


def _meaning_beside(refund: Refund, reversal: Reversal) -> ReversalMeaning | None:
    """Return what a reversal is because of a refund of the same payment that was made; None if it is another movement.

    M-Pesa reverses a payment once, so that only a refund by hand can have been made beside a reversal, and only one
    whose receipt is known is surely not the reversal itself.
    """
    if reversal.is_told_apart_from(refund) and (refund.by_hand or refund.unasked):
        return None
    if reversal.is_told_apart_from(refund) or refund.amount_cents != reversal.amount_cents or refund.by_hand:
        return ReversalMeaning.UNCLEAR
    return ReversalMeaning.UNASKED if refund.unasked else ReversalMeaning.REFUND
