"""The payment session: one buyer's attempt to pay for one cart, as events that are never rewritten.

    pending ──► payment_initiated ──► paid ──► order_created
       │               │                │
       ▼               ▼                ▼
    expired          failed           failed

One law stands over the arrows: money that moved is recorded, whatever the state. A payment that arrives after
`expired` or `failed` is Paid all the same and then becomes an order or a RefundDue.

A public method decides, and may refuse. The event that it writes only sets fields, because it is applied again at
every load. Time, ids and prices come in with the command; personal data come in encrypted.
"""

from datetime import datetime, timedelta
from uuid import UUID

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.cart import SnapshotLine, Totals
from ledger.session.outcome_commands import OutcomeCommands
from ledger.session.values import BUILTIN_SHOP, AttemptState, Status

SETTLED = {
    Status.PAID: ("SESSION_ALREADY_PAID", "This session has been paid already."),
    Status.ORDER_CREATED: ("SESSION_ALREADY_PAID", "This session has been paid, and its order is made."),
    Status.FAILED: ("SESSION_FAILED", "The payment of this session failed. Please start a new checkout."),
    Status.EXPIRED: ("SESSION_EXPIRED", "Session has expired"),
}
"""Why a settled session refuses a command."""

NOT_TAKEN = "M-Pesa did not take the last payment request, and sent nothing to the phone."


class PaymentSession(OutcomeCommands):
    """One buyer's attempt to pay for one cart. Amounts are cents; `at` is an aware UTC moment."""

    TOPIC = "payment_session.v1"
    Event = events.Event
    Created = events.Created

    @classmethod
    def create(
        cls,
        session_id: UUID,
        *,
        user_id: int,
        lines: tuple[SnapshotLine, ...],
        totals: Totals,
        phone_sealed: str | None,
        delivery_sealed: str | None,
        county_id: int | None = None,
        subcounty_id: int | None = None,
        reference_sealed: str | None = None,
        metadata_sealed: str | None = None,
        shop: str = BUILTIN_SHOP,
        expires_at: datetime,
        at: datetime,
    ) -> "PaymentSession":
        """Open a session for a cart that was priced and found in stock; `shop` is who makes its order."""
        return cls._create(
            events.Created,
            id=session_id,
            timestamp=at,
            user_id=user_id,
            lines=lines,
            totals=totals,
            phone_sealed=phone_sealed,
            delivery_sealed=delivery_sealed,
            county_id=county_id,
            subcounty_id=subcounty_id,
            reference_sealed=reference_sealed,
            metadata_sealed=metadata_sealed,
            shop=shop,
            expires_at=expires_at,
        )

    def extend(self, *, minutes: int, max_extensions: int, at: datetime, request: str | None = None) -> None:
        """Give the buyer more time, counted from the present expiry. The same `request` again changes nothing.

        Raises Rejected SESSION_EXPIRED, SESSION_FAILED, SESSION_ALREADY_PAID or EXTENSION_LIMIT_REACHED.
        """
        if request is not None and request in self.extended_for:
            return
        self._refuse_if_settled(at)
        if self.extensions >= max_extensions:
            raise Rejected(
                "EXTENSION_LIMIT_REACHED", f"A session can be extended {max_extensions} times, and has been."
            )
        until = self.expires_at + timedelta(minutes=minutes)
        self._write(events.Extended, expires_at=until, request=request, at=at)

    def refuse_another_attempt(self, *, prompt_seconds: int, max_attempts: int, at: datetime) -> None:
        """Raise Rejected if no attempt may be made now; decide nothing else.

        A prompt counts as live for `prompt_seconds`: only then may the buyer try again, because two live prompts
        could both be paid.
        """
        self._refuse_if_settled(at)
        live_since = at - timedelta(seconds=prompt_seconds)
        if any(attempt.requested_at > live_since for attempt in self.open_attempts):
            raise Rejected(
                "PAYMENT_IN_PROGRESS",
                "A payment prompt is already on its way. Please answer it on your phone.",
            )
        if len(self.attempts) >= max_attempts:
            raise Rejected(
                "TOO_MANY_ATTEMPTS", "This session has been tried too often. Please start a new checkout."
            )

    def request_payment(
        self, *, transaction_id: int, phone_sealed: str, prompt_seconds: int, max_attempts: int, at: datetime
    ) -> int:
        """Record that an attempt is about to be sent, before it is; return its number.

        Raises Rejected SESSION_EXPIRED, SESSION_FAILED, SESSION_ALREADY_PAID, PAYMENT_IN_PROGRESS or
        TOO_MANY_ATTEMPTS.
        """
        self.refuse_another_attempt(prompt_seconds=prompt_seconds, max_attempts=max_attempts, at=at)
        number = len(self.attempts) + 1
        self._write(
            events.PaymentRequested,
            attempt=number,
            transaction_id=transaction_id,
            phone_sealed=phone_sealed,
            amount_cents=self.totals.total_cents,
            at=at,
        )
        return number

    def record_initiation(
        self,
        attempt: int,
        *,
        merchant_request_id: str,
        checkout_sealed: str,
        checkout_digest: str,
        at: datetime,
    ) -> None:
        """Record that M-Pesa accepted the attempt. No change if its ids or its outcome are known already."""
        if self.attempts[attempt].state in (AttemptState.REQUESTED, AttemptState.UNCERTAIN):
            self._move(
                events.PaymentInitiated,
                attempt=attempt,
                merchant_request_id=merchant_request_id,
                checkout_sealed=checkout_sealed,
                checkout_digest=checkout_digest,
                at=at,
            )

    def record_refusal(self, attempt: int, *, code: str, message: str, at: datetime) -> None:
        """Record that M-Pesa refused the attempt: nothing was sent, and another may follow."""
        if self.attempts[attempt].state != AttemptState.REQUESTED:
            return
        self._write(events.PaymentRefused, attempt=attempt, code=code, message=message, at=at)
        if self.status == Status.PAYMENT_INITIATED and not self.open_attempts:
            self._fail(attempt, code, NOT_TAKEN, at)  # `message` is about our set-up; this is for the buyer.

    def record_uncertainty(self, attempt: int, *, reason: str, at: datetime) -> None:
        """Record that M-Pesa's answer was lost: a prompt may be on the phone, so the attempt stays open."""
        if self.attempts[attempt].state == AttemptState.REQUESTED:
            self._move(events.PaymentUncertain, attempt=attempt, reason=reason, at=at)

    def record_order(self, *, order_id: int | None, order_number: str, at: datetime) -> None:
        """Record the order that the shop made. Raises Rejected SESSION_NOT_PAID if the session is not paid."""
        if self.order == (order_id, order_number):
            return
        if self.status != Status.PAID:
            raise Rejected("SESSION_NOT_PAID", "An order is made only for a session that is paid.")
        self._move(events.OrderCreated, order_id=order_id, order_number=order_number, at=at)

    def refuse_order(
        self, *, code: str, text: str, recorded_by: str | None = None, note: str | None = None, at: datetime
    ) -> None:
        """Record that this paid session gets no order, so that the money must go back.

        The shop refused it, or it was given up: by a person if `recorded_by` names one. No change if it is not paid.
        """
        if self.status != Status.PAID or self.paid is None:
            return
        held_cents = self.totals.total_cents - self.reversed_cents
        details = {"recorded_by": recorded_by, "note": note}
        self._fail(self.paid.attempt, code, text, at, money_held=held_cents > 0, **details)
        if held_cents > 0:
            self._owe_refund(self.paid.attempt, held_cents, self.paid.receipt, code, at)

    def expire(self, *, at: datetime) -> None:
        """Record that the time ran out. No change before then, or while an attempt is open."""
        if self.status != self.status_at(at) == Status.EXPIRED:
            self._move(events.Expired, at=at)

    def _refuse_if_settled(self, at: datetime) -> None:
        if self.status in SETTLED:
            raise Rejected(*SETTLED[self.status])
        if at >= self.expires_at:
            raise Rejected(*SETTLED[Status.EXPIRED])
