"""Every command of a payment session in a few words, for the when of a test."""

from collections.abc import Callable

from ledger.session.session import PaymentSession
from ledger.session.values import Evidence, Payment, Reversal
from tests.ledger.session.event_specs import PHONE, RECEIPT, TOTAL, clock

Command = Callable[[PaymentSession], object]


def extend(*, minutes: int = 15, most: int = 3, at: str = "10:40", request: str | None = None) -> Command:
    return lambda session: session.extend(minutes=minutes, max_extensions=most, at=clock(at), request=request)


def request_payment(
    transaction_id: int = 456, *, prompt_seconds: int = 120, most: int = 5, at: str = "10:31"
) -> Command:
    return lambda session: session.request_payment(
        transaction_id=transaction_id,
        phone_sealed=PHONE,
        prompt_seconds=prompt_seconds,
        max_attempts=most,
        at=clock(at),
    )


def refuse_another_attempt(*, prompt_seconds: int = 120, most: int = 5, at: str = "10:31") -> Command:
    return lambda session: session.refuse_another_attempt(
        prompt_seconds=prompt_seconds, max_attempts=most, at=clock(at)
    )


def record_initiation(attempt: int = 1, *, at: str = "10:31") -> Command:
    return lambda session: session.record_initiation(
        attempt,
        merchant_request_id=f"merchant-{attempt}",
        checkout_sealed=f"encrypted checkout {attempt}",
        checkout_digest=f"digest-{attempt}",
        at=clock(at),
    )


def record_refusal(attempt: int = 1, *, code: str = "MPESA_BUSY", at: str = "10:31") -> Command:
    return lambda session: session.record_refusal(attempt, code=code, message="M-Pesa is busy.", at=clock(at))


def record_uncertainty(attempt: int = 1, *, at: str = "10:31") -> Command:
    return lambda session: session.record_uncertainty(attempt, reason="no answer in time", at=clock(at))


def record_attempt_failure(
    attempt: int = 1, *, code: str = "CANCELLED", evidence: Evidence = Evidence.CALLBACK, at: str = "10:32"
) -> Command:
    return lambda session: session.record_attempt_failure(
        attempt,
        evidence=evidence,
        code=code,
        text="The prompt was cancelled.",
        result_code="1032",
        at=clock(at),
    )


def give_up_attempt(attempt: int = 1, *, at: str = "10:41") -> Command:
    return lambda session: session.give_up_attempt(
        attempt, recorded_by="operator 9", note="Not in the statement.", at=clock(at)
    )


def record_payment(
    attempt: int = 1,
    *,
    receipt: str | None = RECEIPT,
    cents: int | None = TOTAL,
    evidence: Evidence = Evidence.CALLBACK,
    at: str = "10:33",
) -> Command:
    payment = Payment(attempt, receipt, cents, evidence, paid_at=clock("10:32"))
    return lambda session: session.record_payment(payment, at=clock(at))


def miss_payment(attempt: int = 1, *, receipt: str | None = RECEIPT, cents: int = TOTAL) -> Command:
    missed = Payment(attempt, receipt, cents, Evidence.STATEMENT, paid_at=clock("10:32"))
    return lambda session: session.miss_payment(missed, at=clock("11:00"))


def prove_payment(attempt: int = 1, *, at: str = "10:33") -> Command:
    """A query says that the attempt was paid, and as ever knows no receipt."""
    return record_payment(attempt, receipt=None, evidence=Evidence.QUERY, at=at)


def record_order(*, at: str = "10:33") -> Command:
    return lambda session: session.record_order(order_id=789, order_number="ORD-20240115-001", at=clock(at))


def refuse_order(*, at: str = "10:33") -> Command:
    return lambda session: session.refuse_order(
        code="OUT_OF_STOCK", text="Fresh Tomatoes are sold out.", at=clock(at)
    )


def expire(*, at: str = "10:45") -> Command:
    return lambda session: session.expire(at=clock(at))


def close_discrepancy(contradiction: int = 1) -> Command:
    return lambda session: session.close_discrepancy(
        contradiction, closed_by="operator 9", note="M-Pesa confirmed the payment.", at=clock("10:50")
    )


def approve_refund(refund: int = 1) -> Command:
    return lambda session: session.approve_refund(refund, approved_by="operator 9", at=clock("10:40"))


def approve_refund_by_policy(refund: int = 1, *, failures: int = 0) -> Command:
    return lambda session: session.approve_refund_by_policy(
        refund, policy="policy:auto", failures=failures, at=clock("10:40")
    )


def refund_order(
    cents: int | None = None,
    *,
    payout: str | None = None,
    restock: bool = False,
    request: str = "request 1",
) -> Command:
    return lambda session: session.refund_order(
        amount_cents=cents,
        payout_receipt=payout,
        decided_by="operator 9",
        reason="The goods were bad.",
        restock=restock,
        request=request,
        at=clock("10:40"),
    )


def refuse_refund(refund: int = 1) -> Command:
    return lambda session: session.refuse_refund(
        refund, refused_by="operator 9", reason="The buyer asked for an exchange.", at=clock("10:40")
    )


def request_refund(refund: int = 1) -> Command:
    return lambda session: session.request_refund(refund, requested_by="worker", at=clock("10:40"))


def record_refund_acceptance(refund: int = 1) -> Command:
    return lambda session: session.record_refund_acceptance(
        refund,
        attempt_number=session.refunds[refund].attempt_number,
        conversation_id="AG_1",
        originator_conversation_id="4a3b-1",
        at=clock("10:40"),
    )


def record_refund_uncertainty(refund: int = 1) -> Command:
    return lambda session: session.record_refund_uncertainty(
        refund,
        attempt_number=session.refunds[refund].attempt_number,
        reason="no answer in time",
        at=clock("10:41"),
    )


def record_refund_by_hand(refund: int = 1) -> Command:
    return lambda session: session.record_refund_by_hand(
        refund, recorded_by="operator 9", note="Cash at the counter.", at=clock("10:45")
    )


def record_refund_not_sent(refund: int = 1) -> Command:
    return lambda session: session.record_refund_not_sent(
        refund, recorded_by="operator 9", note="Not in the statement.", at=clock("10:45")
    )


def record_refund(
    refund: int = 1, *, reversal: str | None = "UAF0000009", means: str = "reversal"
) -> Command:
    return lambda session: session.record_refund(
        refund, reversal_receipt=reversal, means=means, at=clock("10:41")
    )


def record_refund_failure(refund: int = 1, *, attempt_number: int | None = None) -> Command:
    return lambda session: session.record_refund_failure(
        refund,
        attempt_number=attempt_number or session.refunds[refund].attempt_number,
        code="1",
        text="The shortcode has too little money.",
        at=clock("10:41"),
    )


def record_reversal(cents: int = TOTAL, *, receipt: str = RECEIPT, by: str | None = "UAF0000009") -> Command:
    reversal = Reversal(receipt, cents, by, Evidence.STATEMENT, reversed_at=clock("10:50"))
    return lambda session: session.record_reversal(reversal, at=clock("11:00"))
