"""Every event of a session in a few words, for the given and the then of a test.

A moment is written as the time of the session's day, "10:31" or "10:31:05", in UTC. Amounts are cents.
What a test does not name has a default here; `previous` and `at` are compared only if they are named.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Any
from uuid import UUID

from ledger.session import events
from ledger.session.cart import SnapshotLine, Totals
from ledger.session.outcome_commands import OTHER_AMOUNT
from ledger.session.values import BUILTIN_SHOP, Evidence, Status

SESSION_ID = UUID("550e8400-e29b-41d4-a716-446655440000")
DAY = date(2024, 1, 15)
TOTAL = 350_00
RECEIPT = "UAF0000001"
SECOND_RECEIPT = "UAF0000002"
PHONE = "encrypted phone"
DELIVERY = "encrypted delivery details"
TOTALS = Totals(goods_cents=300_00, delivery_fee_cents=50_00, rounding_cents=0, total_cents=TOTAL)
LINES = (
    SnapshotLine(
        cart_item_id=1,
        listing_id=123,
        product_name="Fresh Tomatoes",
        farm_name="Green Valley Farm",
        quantity_thousandths=2_000,
        price_cents=150_00,
        subtotal_cents=300_00,
        unit_of_measure="kg",
    ),
)


def clock(moment: str) -> datetime:
    """Return a moment of the session's day, from text such as "10:31"."""
    return datetime.combine(DAY, time.fromisoformat(moment), UTC)


@dataclass(frozen=True)
class Spec:
    """An event to write or to expect: its class, its fields, and when, if that matters."""

    kind: type[events.Event]
    fields: dict[str, Any]
    at: str | None = None


def _spec(kind: type[events.Event], at: str | None, previous: Status | None = None, **fields: Any) -> Spec:
    if previous is not None:
        fields["previous_status"] = str(previous)
    return Spec(kind, fields, at)


def created(*, at: str | None = "10:30", expires: str = "10:45") -> Spec:
    return _spec(
        events.Created,
        at,
        user_id=1,
        lines=LINES,
        totals=TOTALS,
        phone_sealed=PHONE,
        delivery_sealed=DELIVERY,
        county_id=None,
        subcounty_id=None,
        reference_sealed=None,
        metadata_sealed=None,
        shop=BUILTIN_SHOP,
        expires_at=clock(expires),
    )


def extended(expires: str, *, at: str | None = None, request: str | None = None) -> Spec:
    return _spec(events.Extended, at, expires_at=clock(expires), request=request)


def requested(attempt: int = 1, *, at: str | None = None) -> Spec:
    return _spec(
        events.PaymentRequested,
        at,
        attempt=attempt,
        transaction_id=455 + attempt,
        phone_sealed=PHONE,
        amount_cents=TOTAL,
    )


def initiated(attempt: int = 1, *, at: str | None = None, previous: Status | None = None) -> Spec:
    return _spec(
        events.PaymentInitiated,
        at,
        previous,
        attempt=attempt,
        merchant_request_id=f"merchant-{attempt}",
        checkout_sealed=f"encrypted checkout {attempt}",
        checkout_digest=f"digest-{attempt}",
    )


def refused(attempt: int = 1, *, code: str = "MPESA_BUSY", at: str | None = None) -> Spec:
    return _spec(events.PaymentRefused, at, attempt=attempt, code=code, message="M-Pesa is busy.")


def uncertain(attempt: int = 1, *, at: str | None = None, previous: Status | None = None) -> Spec:
    return _spec(events.PaymentUncertain, at, previous, attempt=attempt, reason="no answer in time")


def attempt_failed(
    attempt: int = 1,
    *,
    code: str = "CANCELLED",
    text: str = "The prompt was cancelled.",
    result_code: str | None = "1032",
    at: str | None = None,
    by: str | None = None,
    note: str | None = None,
) -> Spec:
    return _spec(
        events.AttemptFailed,
        at,
        attempt=attempt,
        code=code,
        text=text,
        result_code=result_code,
        recorded_by=by,
        note=note,
    )


def paid(
    attempt: int = 1,
    *,
    receipt: str | None = RECEIPT,
    evidence: Evidence = Evidence.CALLBACK,
    at: str | None = None,
    previous: Status | None = None,
) -> Spec:
    return _spec(
        events.Paid,
        at,
        previous,
        attempt=attempt,
        receipt=receipt,
        amount_cents=TOTAL,
        evidence=str(evidence),
        paid_at=clock("10:32"),
    )


def receipt_recorded(
    attempt: int = 1, *, receipt: str = RECEIPT, evidence: Evidence = Evidence.CALLBACK, at: str | None = None
) -> Spec:
    return _spec(events.ReceiptRecorded, at, attempt=attempt, receipt=receipt, evidence=str(evidence))


def evidence_upgraded(
    attempt: int = 1, *, receipt: str = RECEIPT, evidence: Evidence = Evidence.C2B, at: str | None = None
) -> Spec:
    return _spec(events.EvidenceUpgraded, at, attempt=attempt, receipt=receipt, evidence=str(evidence))


def discrepancy_found(
    contradiction: int = 1,
    *,
    attempt: int = 1,
    about: str = "outcome",
    evidence: Evidence = Evidence.CALLBACK,
    told: str = "CANCELLED: The prompt was cancelled.",
    receipt: str | None = None,
    cents: int | None = None,
) -> Spec:
    return _spec(
        events.DiscrepancyFound,
        None,
        contradiction=contradiction,
        attempt=attempt,
        about=about,
        evidence=str(evidence),
        told=told,
        receipt=receipt,
        amount_cents=cents,
    )


def reopened(contradiction: int = 1, *, attempt: int = 1, receipt: str = RECEIPT, cents: int = TOTAL) -> Spec:
    """Money came for an attempt that was known to have ended unpaid."""
    return discrepancy_found(
        contradiction,
        attempt=attempt,
        told="Paid, after the attempt was known to have ended unpaid.",
        receipt=receipt,
        cents=cents,
    )


def discrepancy_closed(contradiction: int = 1) -> Spec:
    return _spec(
        events.DiscrepancyClosed,
        None,
        contradiction=contradiction,
        closed_by="operator 9",
        note="M-Pesa confirmed the payment.",
    )


def order_created(*, at: str | None = None, previous: Status | None = None) -> Spec:
    return _spec(events.OrderCreated, at, previous, order_id=789, order_number="ORD-20240115-001")


def failed(
    attempt: int = 1,
    *,
    code: str = "CANCELLED",
    text: str = "The prompt was cancelled.",
    money_held: bool = False,
    result_code: str | None = "1032",
    at: str | None = None,
    previous: Status | None = None,
    by: str | None = None,
    note: str | None = None,
) -> Spec:
    return _spec(
        events.Failed,
        at,
        previous,
        attempt=attempt,
        code=code,
        text=text,
        money_held=money_held,
        result_code=result_code,
        recorded_by=by,
        note=note,
    )


def mismatched(attempt: int = 1, *, previous: Status | None = None) -> Spec:
    """The session failed because the amount that arrived was not its own."""
    return failed(
        attempt,
        code="AMOUNT_MISMATCH",
        text=OTHER_AMOUNT,
        money_held=True,
        result_code=None,
        previous=previous,
    )


def expired(*, at: str | None = None, previous: Status | None = None) -> Spec:
    return _spec(events.Expired, at, previous)


def surplus(
    attempt: int = 1,
    *,
    receipt: str | None = SECOND_RECEIPT,
    cents: int = TOTAL,
    evidence: Evidence = Evidence.CALLBACK,
    why: str = "second_payment",
    answers: bool = True,
    at: str | None = None,
) -> Spec:
    return _spec(
        events.SurplusReceived,
        at,
        attempt=attempt,
        receipt=receipt,
        amount_cents=cents,
        evidence=str(evidence),
        paid_at=clock("10:32"),
        why=why,
        answers_attempt=answers,
    )


def refund_due(
    refund: int = 1,
    *,
    attempt: int = 1,
    receipt: str | None = SECOND_RECEIPT,
    cents: int = TOTAL,
    why: str = "second_payment",
) -> Spec:
    return _spec(
        events.RefundDue,
        None,
        refund=refund,
        attempt=attempt,
        amount_cents=cents,
        receipt=receipt,
        why=why,
        of_order=False,
        decided_by=None,
        reason=None,
        request=None,
        restock=False,
    )


def order_refund_due(
    refund: int = 1,
    *,
    receipt: str | None = RECEIPT,
    cents: int = TOTAL,
    request: str = "request 1",
    restock: bool = False,
) -> Spec:
    return _spec(
        events.RefundDue,
        "10:40",
        refund=refund,
        attempt=1,
        amount_cents=cents,
        receipt=receipt,
        why="order_refunded",
        of_order=True,
        decided_by="operator 9",
        reason="The goods were bad.",
        request=request,
        restock=restock,
    )


def paid_out(refund: int = 1, *, receipt: str = "UAF0000007") -> Spec:
    """Money that a person sent outside, by M-Pesa's receipt."""
    return _spec(
        events.Refunded,
        "10:40",
        refund=refund,
        reversal_receipt=receipt,
        means="by_hand",
        recorded_by="operator 9",
        note="The goods were bad.",
    )


def refund_approved(refund: int = 1, *, by: str = "operator 9") -> Spec:
    return _spec(events.RefundApproved, "10:40", refund=refund, approved_by=by)


def refund_refused(refund: int = 1) -> Spec:
    return _spec(
        events.RefundRefused,
        "10:40",
        refund=refund,
        refused_by="operator 9",
        reason="The buyer asked for an exchange.",
    )


def refund_requested(refund: int = 1) -> Spec:
    return _spec(events.RefundRequested, "10:40", refund=refund, requested_by="worker")


def refund_accepted(refund: int = 1) -> Spec:
    return _spec(
        events.RefundAccepted,
        "10:40",
        refund=refund,
        conversation_id="AG_1",
        originator_conversation_id="4a3b-1",
    )


def refund_uncertain(refund: int = 1) -> Spec:
    return _spec(events.RefundUncertain, "10:41", refund=refund, reason="no answer in time")


def refunded(refund: int = 1, *, reversal: str | None = "UAF0000009", means: str = "reversal") -> Spec:
    return _spec(
        events.Refunded,
        "10:41",
        refund=refund,
        reversal_receipt=reversal,
        means=means,
        recorded_by=None,
        note=None,
    )


def refunded_by_hand(refund: int = 1) -> Spec:
    return _spec(
        events.Refunded,
        "10:45",
        refund=refund,
        reversal_receipt=None,
        means="by_hand",
        recorded_by="operator 9",
        note="Cash at the counter.",
    )


def refund_failed(
    refund: int = 1, *, code: str = "1", text: str = "The shortcode has too little money.", at: str = "10:41"
) -> Spec:
    return _spec(events.RefundFailed, at, refund=refund, code=code, text=text)
