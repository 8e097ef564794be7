"""Sessions that go through a checkout step by step, each step at its own time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any
from uuid import UUID, uuid4

from ledger.application import Ledger
from ledger.session.cart import SnapshotLine, Totals
from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Payment, Reversal

HALF_PAST_TEN = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
TOTAL_CENTS = 350_00

_LINE = SnapshotLine(1, 123, "Fresh Tomatoes", "Green Valley Farm", 2_000, 150_00, 300_00, "kg")
_TOTALS = Totals(300_00, 50_00, 0, TOTAL_CENTS)
_transaction_ids = count(456)


def new_session(
    *,
    user_id: int = 7,
    at: datetime = HALF_PAST_TEN,
    session_id: UUID | None = None,
    phone_sealed: str = "v1.phone",
    delivery_sealed: str = "v1.delivery",
    county_id: int | None = None,
    subcounty_id: int | None = None,
    reference_sealed: str | None = None,
    metadata_sealed: str | None = None,
) -> PaymentSession:
    """Return the contract's session, created at a moment and not yet appended."""
    return PaymentSession.create(
        session_id or uuid4(),
        user_id=user_id,
        lines=(_LINE,),
        totals=_TOTALS,
        phone_sealed=phone_sealed,
        delivery_sealed=delivery_sealed,
        county_id=county_id,
        subcounty_id=subcounty_id,
        reference_sealed=reference_sealed,
        metadata_sealed=metadata_sealed,
        expires_at=at + timedelta(minutes=15),
        at=at,
    )


class Checkout:
    """One session in a real ledger. Each step is five seconds after the last, and returns the checkout."""

    def __init__(
        self,
        ledger: Ledger,
        *,
        user_id: int = 7,
        at: datetime = HALF_PAST_TEN,
        session_id: UUID | None = None,
        phone_sealed: str = "v1.phone",
        delivery_sealed: str = "v1.delivery",
        county_id: int | None = None,
        subcounty_id: int | None = None,
        reference_sealed: str | None = None,
        metadata_sealed: str | None = None,
    ) -> None:
        self.ledger = ledger
        self.at = at
        session = new_session(
            user_id=user_id,
            at=at,
            session_id=session_id,
            phone_sealed=phone_sealed,
            delivery_sealed=delivery_sealed,
            county_id=county_id,
            subcounty_id=subcounty_id,
            reference_sealed=reference_sealed,
            metadata_sealed=metadata_sealed,
        )
        self.session_id = session.id
        assert ledger.add(session)

    def wait(self, **time: int) -> "Checkout":
        """Advance the time."""
        self.at += timedelta(**time)
        return self

    def extend(self) -> "Checkout":
        """Extend the session by 15 minutes."""
        return self._do(lambda session: session.extend(minutes=15, max_extensions=3, at=self.at))

    def request(self, phone_sealed: str = "v1.phone", *, max_attempts: int = 5) -> "Checkout":
        """Record an attempt."""
        return self._do(
            lambda session: session.request_payment(
                transaction_id=next(_transaction_ids),
                phone_sealed=phone_sealed,
                prompt_seconds=90,
                max_attempts=max_attempts,
                at=self.at,
            )
        )

    def initiate(self, attempt: int = 1) -> "Checkout":
        """M-Pesa accepts the attempt."""
        return self._do(
            lambda session: session.record_initiation(
                attempt,
                merchant_request_id=f"29115-{attempt}",
                checkout_sealed="v1.checkout",
                checkout_digest=f"{self.session_id.hex}{attempt}",
                at=self.at,
            )
        )

    def prompt(self) -> "Checkout":
        """Record an attempt that M-Pesa accepts."""
        return self.request().initiate(len(self.session.attempts))

    def lose_push_answer(self, attempt: int = 1) -> "Checkout":
        """The answer to the push never comes."""
        return self._do(lambda session: session.record_uncertainty(attempt, reason="time-out", at=self.at))

    def refuse(self, attempt: int = 1) -> "Checkout":
        """M-Pesa refuses the attempt."""
        return self._do(
            lambda session: session.record_refusal(attempt, code="BUSY", message="Try later.", at=self.at)
        )

    def pay(
        self,
        receipt: str | None = "NLJ7RT61SV",
        *,
        attempt: int = 1,
        amount_cents: int | None = TOTAL_CENTS,
        evidence: Evidence = Evidence.CALLBACK,
    ) -> "Checkout":
        """Record a payment and reserve its receipt; without a receipt, the source is a query."""
        if receipt is not None:
            assert self.ledger.reserve_receipt(receipt, self.session_id)
        evidence = evidence if receipt else Evidence.QUERY
        payment = Payment(attempt, receipt, amount_cents, evidence, self.at)
        return self._do(lambda session: session.record_payment(replace(payment, paid_at=self.at), at=self.at))

    def cancel(self, attempt: int = 1, code: str = "CANCELLED") -> "Checkout":
        """The buyer cancels the prompt, or it ends without a payment by another code."""
        return self._do(
            lambda session: session.record_attempt_failure(
                attempt,
                evidence=Evidence.CALLBACK,
                code=code,
                text="The buyer cancelled.",
                result_code="1032",
                at=self.at,
            )
        )

    def order(self, order_id: int = 789) -> "Checkout":
        """The shop makes the order."""
        number = f"ORD-20240115-{order_id:03d}"
        return self._do(
            lambda session: session.record_order(order_id=order_id, order_number=number, at=self.at)
        )

    def refuse_order(self) -> "Checkout":
        """The shop has no stock left."""
        return self._do(
            lambda session: session.refuse_order(code="OUT_OF_STOCK", text="Sold out.", at=self.at)
        )

    def expire(self) -> "Checkout":
        """The sweep expires the session after its time."""
        self.wait(minutes=15)
        return self._do(lambda session: session.expire(at=self.at))

    def request_refund(self, refund: int = 1) -> "Checkout":
        """An operator approves the refund, and the worker requests the reversal."""
        self._do(lambda session: session.approve_refund(refund, approved_by="operator 99", at=self.at))
        return self._do(lambda session: session.request_refund(refund, requested_by="worker", at=self.at))

    def refuse_refund(self, refund: int = 1) -> "Checkout":
        """An operator refuses the refund for now."""
        return self._do(
            lambda session: session.refuse_refund(
                refund, refused_by="operator 99", reason="Asked for an exchange.", at=self.at
            )
        )

    def accept_refund(self, refund: int = 1) -> "Checkout":
        """M-Pesa accepts the reversal request."""
        return self._do(
            lambda session: session.record_refund_acceptance(
                refund,
                attempt_number=session.refunds[refund].attempt_number,
                conversation_id="AG_1",
                originator_conversation_id="4a3b-1",
                at=self.at,
            )
        )

    def doubt_refund(self, refund: int = 1) -> "Checkout":
        """M-Pesa's answer about the reversal does not come."""
        return self._do(
            lambda session: session.record_refund_uncertainty(
                refund, attempt_number=session.refunds[refund].attempt_number, reason="time-out", at=self.at
            )
        )

    def close_discrepancy(self, discrepancy: int = 1) -> "Checkout":
        """An operator closes a discrepancy."""
        return self._do(
            lambda session: session.close_discrepancy(
                discrepancy, closed_by="operator 99", note="Paid indeed.", at=self.at
            )
        )

    def refund(self, number: int = 1) -> "Checkout":
        """The refund is completed."""
        return self._do(
            lambda session: session.record_refund(
                number, reversal_receipt="NLJ0REVERSE", means="reversal", at=self.at
            )
        )

    def fail_refund(self, refund: int = 1, code: str = "R1") -> "Checkout":
        """The reversal fails."""
        return self._do(
            lambda session: session.record_refund_failure(
                refund,
                attempt_number=session.refunds[refund].attempt_number,
                code=code,
                text="No funds.",
                at=self.at,
            )
        )

    def take_back(self, receipt: str) -> "Checkout":
        """The books of M-Pesa show that the payment was reversed, and nobody here asked for it."""
        reversal = Reversal(receipt, TOTAL_CENTS, "NLJ0TAKENB", Evidence.STATEMENT, reversed_at=self.at)
        return self._do(lambda session: session.record_reversal(reversal, at=self.at))

    @property
    def session(self) -> PaymentSession:
        """The session as it stands in the log."""
        return self.ledger.session(self.session_id)

    def _do(self, command: Callable[[PaymentSession], Any]) -> "Checkout":
        self.wait(seconds=5)
        self.ledger.decide(self.session_id, command)
        return self


def one_of_every_kind(ledger: Ledger) -> list[Checkout]:
    """Return sessions that together have every kind of event and every public status."""
    return [
        Checkout(ledger, user_id=1),
        Checkout(ledger, user_id=1).extend(),
        Checkout(ledger, user_id=2).expire(),
        Checkout(ledger, user_id=2).expire().wait(hours=30),
        Checkout(ledger, user_id=3).request(),
        Checkout(ledger, user_id=3).prompt(),
        Checkout(ledger, user_id=3).request().lose_push_answer(),
        Checkout(ledger, user_id=3).request().lose_push_answer().initiate(),
        Checkout(ledger, user_id=4).request().refuse(),
        Checkout(ledger, user_id=4).request().refuse().prompt().pay("RCPTTWO001", attempt=2),
        Checkout(ledger, user_id=5).prompt().cancel(),
        Checkout(ledger, user_id=5).prompt().wait(seconds=100).prompt().cancel(),
        Checkout(ledger, user_id=6).prompt().pay("RCPTONE001").order(1),
        Checkout(ledger, user_id=6).prompt().pay(None).pay("RCPTONE002").order(2),
        Checkout(ledger, user_id=6).request().pay(None),
        Checkout(ledger, user_id=6).prompt().cancel().pay("RCPTLATE01").order(3),
        Checkout(ledger, user_id=8).prompt().pay("RCPTHELD01").refuse_order(),
        Checkout(ledger, user_id=8).prompt().pay("RCPTHELD02").refuse_order().request_refund().refund(),
        Checkout(ledger, user_id=8).prompt().pay("RCPTHELD03").refuse_order().request_refund().fail_refund(),
        Checkout(ledger, user_id=8).prompt().pay("RCPTHELD04").refuse_order().refuse_refund(),
        Checkout(ledger, user_id=8)
        .prompt()
        .pay("RCPTHELD05")
        .refuse_order()
        .request_refund()
        .accept_refund()
        .doubt_refund(),
        Checkout(ledger, user_id=8).prompt().pay("RCPTSAID01").cancel().close_discrepancy(),
        Checkout(ledger, user_id=8).prompt().pay("RCPTSEEN01").pay("RCPTSEEN01", evidence=Evidence.C2B),
        Checkout(ledger, user_id=9).prompt().pay("RCPTBACK01").order(6).take_back("RCPTBACK01"),
        Checkout(ledger, user_id=9).prompt().pay("RCPTODD001", amount_cents=1_00),
        Checkout(ledger, user_id=9).prompt().pay("RCPTODD002", amount_cents=None),
        Checkout(ledger, user_id=9)
        .prompt()
        .wait(seconds=100)
        .prompt()
        .pay("RCPTTWIN01")
        .order(4)
        .pay("RCPTTWIN02", attempt=2),
        Checkout(ledger, user_id=9, at=HALF_PAST_TEN + timedelta(hours=5))
        .prompt()
        .pay("RCPTFIVE01")
        .order(5),
    ]
