"""The texts of the pages: amounts, quantities, times in Nairobi, and what the state of a payment means."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from daraja import REVERSAL_FAILURES
from ledger.clock import NAIROBI
from ledger.money import THOUSANDTHS_PER_UNIT, Money
from ledger.session.session import PaymentSession
from ledger.session.status_row import money_of, money_of_order
from ledger.session.values import RefundState, RefundStatus, Status
from payments.checkout.next_action import NextAction
from payments.exceptions.next_steps import KIND_NAMES, Kind
from payments.inbox.inbox import Channel
from payments.refunds.order_refunds import REFUND_ORDER
from projections.sessions import SessionRow

UNIT_SYMBOLS = frozenset({"kg", "g", "l", "ml"})
"""Units that are symbols, which have no plural."""

NOTHING = "\N{EN DASH}"

STATUS_NAMES = {
    Status.PENDING: "Not paid yet",
    Status.PAYMENT_INITIATED: "Waiting for the phone",
    Status.PAID: "Paid, making the order",
    Status.ORDER_CREATED: "Paid and ordered",
    Status.FAILED: "Not paid",
    Status.EXPIRED: "Time ran out",
}
REFUND_NAMES = {
    RefundState.DUE: "Goes back to you",
    RefundState.APPROVED: "Goes back to you",
    RefundState.REFUSED: "Refund on hold",
    RefundState.REQUESTED: "On its way back to you",
    RefundState.REFUNDED: "Gone back to you",
}
"""What a buyer reads of a refund."""

EVENT_NAMES = {
    "Created": "Checkout opened",
    "Extended": "More time given",
    "PaymentRequested": "Payment request prepared",
    "PaymentInitiated": "Request sent to the phone",
    "PaymentRefused": "Request rejected by M-Pesa",
    "PaymentUncertain": "No response from M-Pesa yet",
    "AttemptFailed": "This request was not paid",
    "Paid": "Payment received",
    "ReceiptRecorded": "M-Pesa receipt recorded",
    "EvidenceUpgraded": "Payment confirmed again",
    "ContradictionFound": "M-Pesa sent conflicting information; the shop is reviewing it",
    "ContradictionClosed": "The shop has reviewed it",
    "OrderCreated": "Order created",
    "Failed": "Payment ended without an order",
    "Expired": "Time ran out",
    "SurplusReceived": "More money received than was due",
    "RefundDue": "Refund due",
    "RefundApproved": "Refund approved",
    "RefundRefused": "Refund on hold; the shop will contact you",
    "RefundRequested": "Refund requested",
    "RefundAccepted": "Refund accepted by M-Pesa",
    "RefundUncertain": "Refund requested; waiting for M-Pesa to confirm",
    "Refunded": "Money refunded",
    "RefundFailed": "Refund failed; it is still due",
    "PaymentReversed": "Payment taken back through M-Pesa",
}

CASE_DETAILS = {
    "wrong_amount": "The amount paid differs from the amount due.",
    "second_payment": "It was paid twice.",
    "amount_not_named": "M-Pesa did not report the amount.",
    "order_refunded": "An operator refunds the order.",
    "OUT_OF_STOCK": "Paid, but sold out in the meantime.",
    "LISTING_WITHDRAWN": "Paid, but no longer on sale.",
    "CART_ALREADY_BOUGHT": "Paid, but another payment had already bought the same cart.",
    "ORDER_NOT_MADE": "Paid, but the shop could not make the order.",
    "DARAJA_ANSWER_LOST": "M-Pesa's answer to the request was lost.",
    "DARAJA_UNCERTAIN": "M-Pesa's answer does not say whether it took the request.",
    "QUEUE_TIMEOUT": "M-Pesa reports that the request timed out, and not what came of it.",
    "RESULT_LATE": "M-Pesa took the request, and its result has not come.",
    "RESULT_UNCLEAR": "M-Pesa's result does not say whether the money went back.",
    "SENDER_LOST": "The worker that sent the request ended before M-Pesa answered.",
} | {
    f"failed: {reason.upper()}": f"The last attempt failed. {sentence}"
    for reason, sentence in REVERSAL_FAILURES.items()
}


MESSAGE_NAMES = {
    Channel.STK: "Result of a prompt",
    Channel.REVERSAL_RESULT: "Result of a reversal",
    Channel.REVERSAL_TIMEOUT: "Time-out of a reversal",
    Channel.STATUS_RESULT: "Result of a status request",
    Channel.STATUS_TIMEOUT: "Time-out of a status request",
    Channel.C2B_VALIDATION: "C2B validation",
    Channel.C2B_CONFIRMATION: "C2B confirmation",
    Channel.PULL: "Pulled payment",
    Channel.STATUS_QUERY: "Answer to a status query",
}
"""What M-Pesa's messages are called."""

_OF_MESSAGE = re.compile(f"({'|'.join(Channel)}): [a-z0-9_ ]+")
_OF_PROPOSAL = re.compile(r"(assign|close) (money_[a-z_]+) [a-z]+\.(\w+)(.*)", re.DOTALL)
_OF_ORDER = f"{REFUND_ORDER} order of session "
_PROPOSED = {"assign": "Allocate", "close": "Close"}


@dataclass(frozen=True)
class Notice:
    """What the buyer sees of a payment: a heading and a sentence."""

    heading: str
    description: str


def notice_of(session: PaymentSession, status: Status, next_action: NextAction, phone: str) -> Notice:
    """Return the status of a payment and what its buyer can do; `phone` is how the phone is called."""
    amount = shillings(session.totals.total_cents)
    if next_action.in_doubt and status in (Status.PENDING, Status.PAYMENT_INITIATED):
        return _doubt(amount, next_action)
    if status == Status.PENDING:
        return _before_payment(amount, next_action)
    if status == Status.PAYMENT_INITIATED:
        return Notice("Check your phone", f"Enter your M-Pesa PIN on {phone} to pay {amount}.")
    if status == Status.PAID:
        return Notice("Payment received", "Thank you. We are creating your order.")
    if status == Status.ORDER_CREATED:
        return ordered(session)
    if status == Status.EXPIRED:
        return Notice("Time ran out", "Nothing was paid. Your cart is as you left it.")
    return _failure(session)


def ordered(session: PaymentSession) -> Notice:
    """Return the status of an order's money: paid, or on its way back, or gone back."""
    amount = shillings(session.totals.total_cents)
    money = money_of_order(session)
    surplus = money_of(session).refunded_cents - money.refunded_cents
    beyond = f" We have refunded the {shillings(surplus)} that you paid beyond it." if surplus else ""
    if money.due_cents:
        due = f"{shillings(money.due_cents)} of {amount} goes back to you."
        return Notice("Your refund is on its way", f"{due}{beyond}")
    if money.status == RefundStatus.REFUNDED:
        back = f"You had paid {amount}; all of it has gone back to you."
        return Notice("Your money has been refunded", f"{back}{beyond}")
    if money.refunded_cents:
        back = f"{shillings(money.refunded_cents)} of {amount} has gone back to you."
        return Notice("Part of your money has been refunded", f"{back}{beyond}")
    return Notice("Thank you", f"You have paid {amount}, and your order is confirmed.{beyond}")


def status_name(row: SessionRow) -> str:
    """Return the status of a payment in a list, and what became of its money."""
    refunded = {
        RefundStatus.DUE: "refund due",
        RefundStatus.PARTLY_REFUNDED: "partly refunded",
        RefundStatus.REFUNDED: "refunded",
    }
    name = STATUS_NAMES[row.session_status]
    status = row.money.status
    return name if status is None else f"{name}, {refunded[status]}"


def _before_payment(amount: str, next_action: NextAction) -> Notice:
    if next_action.paused:
        return Notice(
            "Payments are paused", f"{next_action.paused} Nothing was sent to your phone; try again later."
        )
    if next_action.retry_after == 0:
        return Notice("Ready to pay", f"No payment request is on your phone. Send one for {amount}.")
    if next_action.can_retry:
        return Notice("One moment", "A payment request is on its way to this phone, or still open on it.")
    return Notice("This session can no longer be paid", "Nothing was paid. Your cart is as you left it.")


def _doubt(amount: str, next_action: NextAction) -> Notice:
    known = (
        f"M-Pesa has not confirmed yet whether you paid {amount}. We keep checking; nothing you paid is lost."
    )
    if next_action.retry_after == 0:
        return Notice("Waiting for M-Pesa", f"{known} If no request came, have it sent again.")
    return Notice("Waiting for M-Pesa", f"{known} If the request is on your phone, answer it.")


def _failure(session: PaymentSession) -> Notice:
    reason = session.failure[1] if session.failure else ""
    held = sum(r.amount_cents for r in session.refunds.values() if r.state != RefundState.REFUNDED)
    if held:
        return Notice("There is no order", f"{reason} We will refund {shillings(held)} to you.")
    if session.refunds:
        return Notice("There is no order", f"{reason} Your money has been refunded.")
    return Notice("The payment did not go through", reason)


def shillings(cents: int) -> str:
    """Return an amount for people: `KES 1,234.50`."""
    return f"KES {Money(cents).as_decimal():,.2f}"


def shillings_of(text: str) -> str:
    """Return an amount of the API, `1234.50`, for people."""
    return shillings(Money.parse(text).cents)


def words_of(name: str) -> str:
    """Return a stored name, such as `order_created` or `total_cents`, as words."""
    return name.removesuffix("_cents").replace("_", " ")


def cause(metadata: Mapping[str, str]) -> str:
    """Return what caused an event, and who: `request by user:1`; "" where nobody said."""
    what = words_of(metadata.get("cause", ""))
    by = f"by {metadata['actor']}" if "actor" in metadata else ""
    return " ".join(part for part in (what, by) if part)


def readable(body: str) -> str:
    """Return a body of JSON with its lines broken, for reading; other text as it is."""
    try:
        return json.dumps(json.loads(body), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return body


def quantity(thousandths: int) -> str:
    """Return a quantity for people, without needless zeros: 2500 is `2.5`."""
    return f"{(Decimal(thousandths) / THOUSANDTHS_PER_UNIT).normalize():f}"


def measure(thousandths: int, unit: str) -> str:
    """Return a quantity with its unit: `2.5 kg`, `1 bunch`, `3 bunches`."""
    if thousandths == THOUSANDTHS_PER_UNIT or unit in UNIT_SYMBOLS:
        return f"{quantity(thousandths)} {unit}"
    return f"{quantity(thousandths)} {unit}{'es' if unit.endswith('ch') else 's'}"


def as_moment(text: str) -> datetime:
    """Return the moment that ISO 8601 text names, as stored reports write it."""
    return datetime.fromisoformat(text)


def moment(at: datetime) -> str:
    """Return a time in Nairobi: `15 January 2024, 13:30`."""
    local = at.astimezone(NAIROBI)
    return f"{local.day} {local:%B %Y, %H:%M}"


def moment_to_the_second(at: datetime) -> str:
    """Return a time in Nairobi: `15 January 2024, 13:30:05`."""
    local = at.astimezone(NAIROBI)
    return f"{local.day} {local:%B %Y, %H:%M:%S}"


def time_of_day(at: datetime) -> str:
    """Return the time of day in Nairobi: `13:30:05`."""
    return f"{at.astimezone(NAIROBI):%H:%M:%S}"


def case_detail(detail: str) -> str:
    """Return the detail of an open case; one without words of its own here is a sentence already."""
    if _OF_MESSAGE.fullmatch(detail):
        channel, _, why = detail.partition(": ")
        return f"{MESSAGE_NAMES[Channel(channel)]}: {words_of(why)}"
    proposed = _OF_PROPOSAL.fullmatch(detail)
    if proposed:
        action, kind, receipt, rest = proposed.groups()
        return f"{_PROPOSED[action]} {KIND_NAMES[Kind(kind)].lower()} {receipt}{rest}"
    if detail.startswith(_OF_ORDER):
        return f"Refund the order of session {detail.removeprefix(_OF_ORDER)}"
    return CASE_DETAILS.get(detail) or f"{detail[:1].upper()}{detail[1:]}"


def age(span: timedelta) -> str:
    """Return how long a case has been open, in its two largest units."""
    minutes = int(span.total_seconds()) // 60
    days, hours = minutes // (24 * 60), minutes // 60 % 24
    if days:
        return f"for {days} d {hours} h"
    return f"for {hours} h {minutes % 60} min" if hours else f"for {minutes} min"


def span_between(earlier: datetime, later: datetime) -> str:
    """Return how long before another a moment was, or after it, in its largest unit: `12 min before`."""
    seconds = int((later - earlier).total_seconds())
    side, seconds = ("before", seconds) if seconds >= 0 else ("after", -seconds)
    for unit, size in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit} {side}"
    return f"{seconds} s {side}"
