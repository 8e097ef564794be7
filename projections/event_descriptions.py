"""Descriptions of events for people, one for each event class, without personal data."""

from datetime import datetime
from functools import singledispatch

from ledger.clock import NAIROBI
from ledger.money import Money
from ledger.session import events


def clock_time(moment: datetime) -> str:
    """Return the time of day in Nairobi, to the second."""
    return f"{moment.astimezone(NAIROBI):%H:%M:%S}"


@singledispatch
def describe(event: events.Event) -> str:
    """Return what happened. Raises TypeError for an event class without a description."""
    raise TypeError(
        f"No description of {type(event).__name__}; add one to projections/event_descriptions.py."
    )


@describe.register
def _created(event: events.Created) -> str:
    totals, lines = event.totals, len(event.lines)
    goods = f"{lines} {'line' if lines == 1 else 'lines'} of goods at {Money(totals.goods_cents)}"
    delivery = f"delivery {Money(totals.delivery_fee_cents)}, rounding {Money(totals.rounding_cents)}"
    until = clock_time(event.expires_at)
    return f"{Money(totals.total_cents)} by user {event.user_id}: {goods}, {delivery}; open until {until}"


@describe.register
def _extended(event: events.Extended) -> str:
    return f"open until {clock_time(event.expires_at)}"


@describe.register
def _payment_requested(event: events.PaymentRequested) -> str:
    return f"attempt {event.attempt}, {Money(event.amount_cents)}, transaction {event.transaction_id}"


@describe.register
def _payment_initiated(event: events.PaymentInitiated) -> str:
    return f"attempt {event.attempt} accepted by M-Pesa as {event.merchant_request_id}"


@describe.register
def _payment_refused(event: events.PaymentRefused) -> str:
    return f"attempt {event.attempt} not sent, {event.code}: {event.message}"


@describe.register
def _payment_uncertain(event: events.PaymentUncertain) -> str:
    return f"attempt {event.attempt} without an answer, {event.reason}; a prompt may be on the phone"


@describe.register
def _attempt_failed(event: events.AttemptFailed) -> str:
    return f"attempt {event.attempt} unpaid, {_why(event.code, event.result_code, event.text)}{_recorded_by(event)}"


@describe.register
def _paid(event: events.Paid) -> str:
    return (
        f"{Money(event.amount_cents)} for attempt {event.attempt} at {clock_time(event.paid_at)},"
        f" {_receipt(event.receipt)}, known by {event.evidence}"
    )


@describe.register
def _receipt_recorded(event: events.ReceiptRecorded) -> str:
    return f"{_receipt(event.receipt)} of attempt {event.attempt}, known by {event.evidence}"


@describe.register
def _evidence_upgraded(event: events.EvidenceUpgraded) -> str:
    return f"{_receipt(event.receipt)} of attempt {event.attempt}, known by {event.evidence} now"


@describe.register
def _discrepancy_found(event: events.DiscrepancyFound) -> str:
    return (
        f"discrepancy {event.contradiction} about the {event.about} of attempt {event.attempt},"
        f" {event.evidence} reports: {event.told}"
    )


@describe.register
def _discrepancy_closed(event: events.DiscrepancyClosed) -> str:
    return f"discrepancy {event.contradiction} looked at by {event.closed_by}: {event.note}"


@describe.register
def _order_created(event: events.OrderCreated) -> str:
    return f"order {event.order_number}" + (f" (id {event.order_id})" if event.order_id else "")


@describe.register
def _failed(event: events.Failed) -> str:
    held = "the buyer's money is held" if event.money_held else "no money is held"
    return f"{_why(event.code, event.result_code, event.text)} ({held}){_recorded_by(event)}"


@describe.register
def _expired(event: events.Expired) -> str:
    return f"the time ran out while the session was {event.previous_status}"


@describe.register
def _surplus_received(event: events.SurplusReceived) -> str:
    return (
        f"{Money(event.amount_cents)} more than was owed, {event.why}: attempt {event.attempt},"
        f" {_receipt(event.receipt)}, known by {event.evidence}"
    )


@describe.register
def _refund_due(event: events.RefundDue) -> str:
    refund = f"refund {event.refund} of {Money(event.amount_cents)}"
    if event.of_order:
        goods = "; the goods go back on the shelf" if event.restock else ""
        return f"{refund} of the order, decided by {event.decided_by}: {event.reason}{goods}"
    return f"{refund}, {_receipt(event.receipt)}: {event.why}"


@describe.register
def _refund_approved(event: events.RefundApproved) -> str:
    return f"refund {event.refund} approved by {event.approved_by}"


@describe.register
def _refund_refused(event: events.RefundRefused) -> str:
    return f"refund {event.refund} held by {event.refused_by}: {event.reason}"


@describe.register
def _refund_accepted(event: events.RefundAccepted) -> str:
    return f"refund {event.refund} accepted by M-Pesa as {event.conversation_id}"


@describe.register
def _refund_uncertain(event: events.RefundUncertain) -> str:
    return f"refund {event.refund} without an answer, {event.reason}; it may have gone back"


@describe.register
def _refund_requested(event: events.RefundRequested) -> str:
    return f"refund {event.refund} is being sent back, by {event.requested_by}"


@describe.register
def _refunded(event: events.Refunded) -> str:
    if event.recorded_by:
        return f"refund {event.refund} has gone back by hand, recorded by {event.recorded_by}: {event.note}"
    return f"refund {event.refund} has gone back by {event.means}, {_receipt(event.reversal_receipt)}"


@describe.register
def _refund_failed(event: events.RefundFailed) -> str:
    return f"refund {event.refund} failed, {event.code}: {event.text}; it is still due"


@describe.register
def _payment_reversed(event: events.PaymentReversed) -> str:
    return (
        f"{Money(event.amount_cents)} of {_receipt(event.receipt)} taken back without us as refund {event.refund},"
        f" {_receipt(event.reversal_receipt)}, known by {event.evidence}"
    )


def _receipt(receipt: str | None) -> str:
    return f"receipt {receipt}" if receipt else "no receipt yet"


def _why(code: str, result_code: str | None, text: str) -> str:
    return f"{code} ({result_code}): {text}" if result_code else f"{code}: {text}"


def _recorded_by(event: events.AttemptFailed | events.Failed) -> str:
    return f", recorded by {event.recorded_by}: {event.note}" if event.recorded_by else ""
