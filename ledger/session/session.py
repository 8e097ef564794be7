"""The payment session: one buyer's try to pay for one cart, as facts that are never rewritten.

    pending ──► payment_initiated ──► paid ──► order_created
       │               │                │
       ▼               ▼                ▼
    expired          failed           failed

One law stands over the arrows: money that moved is recorded, whatever the state. A payment that arrives after
`expired` or `failed` is Paid all the same and then becomes an order or a RefundDue.

A public method decides, and may refuse. The method it triggers, in `ledger.events`, only sets fields, because it
runs again at every load. Time, ids and prices come in with the command; personal data come in sealed.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

from eventsourcing.domain import Aggregate

from ledger.errors import Rejected
from ledger.session import events
from ledger.session.cart import SnapshotLine, Totals
from ledger.session.discrepancy_commands import DiscrepancyCommands
from ledger.session.refund_commands import RefundCommands
from ledger.session.values import (
    ATTEMPT_MAY_TAKE,
    Attempt,
    AttemptState,
    Credit,
    Evidence,
    Payment,
    RefundState,
    Status,
)

SETTLED = {
    Status.PAID: ("SESSION_ALREADY_PAID", "This session has been paid already."),
    Status.ORDER_CREATED: ("SESSION_ALREADY_PAID", "This session has been paid, and its order is made."),
    Status.FAILED: ("SESSION_FAILED", "The payment of this session failed. Please start a new checkout."),
    Status.EXPIRED: ("SESSION_EXPIRED", "Session has expired"),
}
"""How a settled session answers a command that comes too late."""


NOT_PAID = "NOT_PAID"
NO_PAYMENT_FOUND = "M-Pesa's books show no payment for this request. You can try again."
OTHER_AMOUNT = "The amount that arrived is not the amount of this session. It goes back."
NOT_TAKEN = "M-Pesa did not take the last payment request, and sent nothing to the phone."


class PaymentSession(DiscrepancyCommands, RefundCommands, Aggregate):
    """One try of a buyer to pay for one cart. Amounts are cents; `at` is an aware UTC moment."""

    TOPIC = "payment_session.v1"
    Event = events.Event
    Created = events.Created

    if TYPE_CHECKING:  # The library would take annotations at run time for the fields of a dataclass.
        user_id: int
        lines: tuple[SnapshotLine, ...]
        totals: Totals
        phone_sealed: str
        delivery_sealed: str
        expires_at: datetime
        status: Status
        extensions: int
        extended_for: frozenset[str | None]
        attempts: dict[int, Attempt]
        paid: Payment | None
        credits: dict[str, Credit]
        received_cents: int
        order: tuple[int, str] | None
        failure: tuple[str, str] | None
        initiated_at: datetime | None
        order_created_at: datetime | None
        ended_at: datetime | None

    @classmethod
    def create(
        cls,
        session_id: UUID,
        *,
        user_id: int,
        lines: tuple[SnapshotLine, ...],
        totals: Totals,
        phone_sealed: str,
        delivery_sealed: str,
        expires_at: datetime,
        at: datetime,
    ) -> "PaymentSession":
        """Open a session for a cart that was priced and found in stock."""
        return cls._create(
            events.Created,
            id=session_id,
            timestamp=at,
            user_id=user_id,
            lines=lines,
            totals=totals,
            phone_sealed=phone_sealed,
            delivery_sealed=delivery_sealed,
            expires_at=expires_at,
        )

    @property
    def open_attempts(self) -> list[Attempt]:
        """The attempts whose outcome is still to come, oldest first."""
        return [attempt for attempt in self.attempts.values() if attempt.is_open]

    @property
    def receipts(self) -> set[str]:
        """The M-Pesa receipts that this session was credited with."""
        return set(self.credits)

    def status_at(self, moment: datetime) -> Status:
        """The status as a reader should see it: expired from that instant, whether or not it is written yet."""
        return Status.EXPIRED if self._has_run_out(moment) else self.status

    def extend(self, *, minutes: int, max_extensions: int, at: datetime, request: str | None = None) -> None:
        """Give the buyer more time, counted from the present expiry. The same `request` again is no news.

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
        """Raise Rejected where no attempt may be made now; decide nothing else.

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
        self,
        *,
        transaction_id: int,
        phone_sealed: str,
        prompt_seconds: int,
        max_attempts: int,
        at: datetime,
    ) -> int:
        """Write down that an attempt is about to be sent, before it is; return its number.

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
        """M-Pesa accepted the attempt. No news where its ids are known or its outcome was quicker."""
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
        """M-Pesa refused the attempt: nothing was sent, and another may follow."""
        if self.attempts[attempt].state != AttemptState.REQUESTED:
            return
        self._write(events.PaymentRefused, attempt=attempt, code=code, message=message, at=at)
        if self.status == Status.PAYMENT_INITIATED and not self.open_attempts:
            self._fail(
                attempt, code, NOT_TAKEN, at
            )  # The message is about our set-up, and this is for the buyer.

    def record_uncertainty(self, attempt: int, *, reason: str, at: datetime) -> None:
        """The answer was lost: a prompt may be on the phone, so the attempt stays open."""
        if self.attempts[attempt].state == AttemptState.REQUESTED:
            self._move(events.PaymentUncertain, attempt=attempt, reason=reason, at=at)

    def record_attempt_failure(
        self,
        attempt: int,
        *,
        evidence: Evidence,
        code: str,
        text: str,
        result_code: str | None = None,
        at: datetime,
    ) -> None:
        """A witness says that the attempt ended unpaid, by M-Pesa's `result_code`.

        A payment is never undone by it: where one is known, the two contradict each other, and a person looks.
        """
        if self.attempts[attempt].state == AttemptState.PAID:
            self._record_discrepancy(attempt, "outcome", evidence, f"{code}: {text}", at=at)
        if self.attempts[attempt].is_open:
            self._end_unpaid(attempt, code, text, at, result_code=result_code)

    def give_up_attempt(self, attempt: int, *, recorded_by: str, note: str, at: datetime) -> None:
        """A person found that an attempt in doubt was not paid. Money that comes all the same is booked as ever.

        Raises Rejected CASE_NOT_OPEN where it has ended already, or its time to be answered is not over.
        """
        found = self.attempts.get(attempt)
        if found is None or not found.is_open or at < found.requested_at + ATTEMPT_MAY_TAKE:
            raise Rejected("CASE_NOT_OPEN", "There is no such case, or it was settled already.")
        self._end_unpaid(attempt, NOT_PAID, NO_PAYMENT_FOUND, at, recorded_by=recorded_by, note=note)

    def record_payment(self, payment: Payment, *, at: datetime) -> None:
        """Money has moved: say so, whatever the state, and once per receipt."""
        attempt = self.attempts[payment.attempt]
        answers = payment.answers_the_prompt(attempt.received_cents or self.totals.total_cents)
        if payment.receipt in self.credits:
            self._compare(self.credits[payment.receipt], payment, at)
        elif attempt.state == AttemptState.PAID and payment.receipt is None:
            return
        elif attempt.state == AttemptState.PAID and attempt.receipt is None and answers:
            self._name_the_receipt(payment, at)
        elif self.paid is None and payment.amount_cents == self.totals.total_cents:
            self._move(
                events.Paid,
                attempt=payment.attempt,
                receipt=payment.receipt,
                amount_cents=payment.amount_cents,
                evidence=payment.evidence,
                paid_at=payment.paid_at,
                at=at,
            )
        else:
            self._take_surplus(payment, at, answers_attempt=answers)
        if answers and attempt.state in (AttemptState.FAILED, AttemptState.REFUSED):
            told = "Paid, after the attempt was known to have ended unpaid."
            self._record_discrepancy(payment.attempt, "outcome", payment.evidence, told, payment, at=at)

    def record_order(self, *, order_id: int, order_number: str, at: datetime) -> None:
        """The shop made the order of this paid session. Raises Rejected SESSION_NOT_PAID without money."""
        if self.order == (order_id, order_number):
            return
        if self.status != Status.PAID:
            raise Rejected("SESSION_NOT_PAID", "An order is made only for a session that is paid.")
        self._move(events.OrderCreated, order_id=order_id, order_number=order_number, at=at)

    def refuse_order(self, *, code: str, text: str, at: datetime) -> None:
        """The shop cannot make the order of this paid session, so the money must go back."""
        if self.status != Status.PAID or self.paid is None:
            return
        self._fail(self.paid.attempt, code, text, at, money_held=True)
        self._owe(self.paid.attempt, self.totals.total_cents, self.paid.receipt, code, at)

    def expire(self, *, at: datetime) -> None:
        """Write down that the time ran out. No news before then, or while an attempt is open."""
        if self._has_run_out(at):
            self._move(events.Expired, at=at)

    def _write(self, fact: type[events.Event], *, at: datetime, **says: Any) -> None:
        self.trigger_event(fact, timestamp=at, **says)

    def _move(self, fact: type[events.Event], *, at: datetime, **says: Any) -> None:
        self._write(fact, at=at, previous_status=str(self.status), session_created_at=self.created_on, **says)

    def _has_run_out(self, moment: datetime) -> bool:
        return self.status == Status.PENDING and not self.open_attempts and moment >= self.expires_at

    @property
    def _holds_surplus(self) -> bool:
        return any(refund.state != RefundState.REFUNDED for refund in self.refunds.values())

    def _refuse_if_settled(self, at: datetime) -> None:
        if self.status in SETTLED:
            raise Rejected(*SETTLED[self.status])
        if at >= self.expires_at:
            raise Rejected(*SETTLED[Status.EXPIRED])

    def _end_unpaid(self, attempt: int, code: str, text: str, at: datetime, **more: Any) -> None:
        others_open = len(self.open_attempts) > 1
        if others_open or self.status not in (Status.PENDING, Status.PAYMENT_INITIATED):
            self._write(events.AttemptFailed, attempt=attempt, code=code, text=text, at=at, **more)
        else:
            self._fail(attempt, code, text, at, **more)

    def _fail(
        self,
        attempt: int,
        code: str,
        text: str,
        at: datetime,
        *,
        money_held: bool = False,
        **more: Any,
    ) -> None:
        self._move(
            events.Failed,
            attempt=attempt,
            code=code,
            text=text,
            money_held=money_held or self._holds_surplus,
            at=at,
            **more,
        )

    def _compare(self, credit: Credit, payment: Payment, at: datetime) -> None:
        """Another witness tells of money that is known: better evidence, or another amount."""
        if payment.amount_cents not in (None, credit.amount_cents):
            self._record_other_amount(credit.attempt, payment, credit.amount_cents, at)
        elif payment.evidence.is_better_than(credit.evidence):
            self._write(
                events.EvidenceUpgraded,
                attempt=credit.attempt,
                receipt=credit.receipt,
                evidence=payment.evidence,
                at=at,
            )
        answered = (payment.attempt, payment.evidence) == (credit.attempt, Evidence.CALLBACK)
        if answered and self.attempts[credit.attempt].is_open:
            self._end_unpaid(credit.attempt, "AMOUNT_MISMATCH", OTHER_AMOUNT, at)

    def _name_the_receipt(self, payment: Payment, at: datetime) -> None:
        """The receipt of money that a query had proved; a query proves what the prompt had asked for."""
        believed_cents = self.attempts[payment.attempt].received_cents
        self._write(
            events.ReceiptRecorded,
            attempt=payment.attempt,
            receipt=payment.receipt,
            evidence=payment.evidence,
            at=at,
        )
        if payment.amount_cents not in (None, believed_cents):
            self._record_other_amount(payment.attempt, payment, believed_cents, at)

    def _take_surplus(self, payment: Payment, at: datetime, *, answers_attempt: bool) -> None:
        why = "second_payment" if self.paid else "wrong_amount"
        amount_cents = payment.amount_cents
        if amount_cents is None:  # M-Pesa moves what the prompt asked for; a person looks at it all the same.
            why, amount_cents = "amount_not_named", self.totals.total_cents
        self._write(
            events.SurplusReceived,
            attempt=payment.attempt,
            receipt=payment.receipt,
            amount_cents=amount_cents,
            evidence=payment.evidence,
            paid_at=payment.paid_at,
            why=why,
            answers_attempt=answers_attempt,
            at=at,
        )
        self._owe(payment.attempt, amount_cents, payment.receipt, why, at)
        is_undecided = self.status in (Status.PENDING, Status.PAYMENT_INITIATED)
        if answers_attempt and is_undecided and not self.open_attempts:
            self._fail(payment.attempt, "AMOUNT_MISMATCH", OTHER_AMOUNT, at)

    def _owe(self, attempt: int, amount_cents: int, receipt: str | None, why: str, at: datetime) -> None:
        self._write(
            events.RefundDue,
            refund=len(self.refunds) + 1,
            attempt=attempt,
            amount_cents=amount_cents,
            receipt=receipt,
            why=why,
            at=at,
        )
