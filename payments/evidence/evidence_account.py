"""The account of a payment in plain words, as one page that prints: no script, no link, no personal data."""

from collections.abc import Iterator, Sequence
from html import escape
from uuid import UUID

from ledger.clock import in_nairobi
from ledger.money import Money
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState, Discrepancy, Evidence, Refund, RefundState, Status
from projections.event_descriptions import describe
from projections.history import Entry

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.3rem .8rem .3rem 0;"
    "border-bottom:1px solid #ccc}code{overflow-wrap:anywhere}@media print{body{margin:0}}"
)
_KNOWN_BY = {
    Evidence.QUERY: "M-Pesa's answer when it was asked",
    Evidence.CALLBACK: "M-Pesa's callback",
    Evidence.C2B: "the books of the paybill",
    Evidence.STATEMENT: "the organisation's statement",
}
_STANDS = {
    Status.PENDING: "The payment was opened, and nothing was paid yet.",
    Status.PAYMENT_INITIATED: "M-Pesa was asked for the money, and has not said how that ended.",
    Status.PAID: "The money arrived, and there is no order for it yet.",
    Status.ORDER_CREATED: "The money arrived, and the order was made.",
    Status.FAILED: "The payment failed.",
    Status.EXPIRED: "The time ran out before anything was paid.",
}
_REFUND_STANDS = {
    RefundState.DUE: "is due",
    RefundState.APPROVED: "was approved, and is not sent yet",
    RefundState.REFUSED: "is held back by a decision",
    RefundState.REQUESTED: "was sent, and M-Pesa has not said how that ended",
    RefundState.REFUNDED: "went back",
}
_DISAGREE = {
    "outcome": "about the outcome of",
    "amount": "about the amount of",
    "books": "whether the books hold the payment of",
}


def account(session_id: UUID, session: PaymentSession | None, entries: Sequence[Entry], head: str) -> str:
    """Return the page: what the payment is about, how it stands after its last event, and each event in a sentence.

    `session` is what the events before the first forged one come to, None without any. Forged ones are told first.
    """
    sentences = "".join(f"<p>{escape(sentence)}</p>" for sentence in _sentences(session)) if session else ""
    rows = "".join(
        f"<tr><td>{entry.version}</td><td>{in_nairobi(entry.happened_at)}</td><td>{escape(entry.name)}</td>"
        f"<td>{escape(words)}</td></tr>"
        for entry, words in zip(entries, _words(entries), strict=True)
    )
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Payment {session_id}</title>'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head><body>'
        f"{_warning(entries)}"
        f"<h1>Account of a payment</h1><p>Payment session <code>{session_id}</code>, as the log had it under head "
        f"<code>{escape(head)}</code>. Times are those of Nairobi, amounts are Kenyan shillings.</p>"
        f"<h2>What happened</h2>{sentences}"
        "<h2>Every event</h2><table><thead><tr><th>No.</th><th>When</th><th>Event</th><th>What it says</th></tr>"
        f"</thead><tbody>{rows}</tbody></table>"
        "<h2>How to check it</h2><p>Type <code>python verify.py pack.zip</code>, with a verify.py from a place that "
        "you trust. It says what is proved, by whom, and what is not.</p></body></html>\n"
    )


def _warning(entries: Sequence[Entry]) -> str:
    """Return what a reader must know before all else, nothing where every event is genuine."""
    forged = [str(entry.version) for entry in entries if entry.event is None]
    if not forged:
        return ""
    return (
        f"<p><strong>NOT GENUINE: event {', '.join(forged)} of this payment is not as Daftari wrote it. Somebody else "
        "wrote it into the log, or altered it there. What happened is told by the events before the first such one "
        "alone.</strong></p>"
    )


def _words(entries: Sequence[Entry]) -> Iterator[str]:
    is_told = True
    for entry in entries:
        is_told = is_told and entry.event is not None
        if entry.event is None:
            yield f"NOT GENUINE. It says to be {entry.topic}, and is believed in nothing."
        elif is_told:
            yield describe(entry.event)
        else:
            yield f"{describe(entry.event)} It follows an event that is not genuine, and is not told above."


def _sentences(session: PaymentSession) -> Iterator[str]:
    asked = session.totals
    yield (
        f"Buyer number {session.user_id} was to pay {Money(asked.total_cents)}: {Money(asked.goods_cents)} for goods, "
        f"{Money(asked.delivery_fee_cents)} for delivery, {Money(asked.rounding_cents)} of rounding."
    )
    for line in session.lines:
        name = line.product_name or "goods"
        yield (
            f"{line.quantity_thousandths / 1000:g} {line.unit_of_measure} of {name} at {Money(line.price_cents)}: "
            f"{Money(line.subtotal_cents)}."
        )
    yield from map(_prompt, session.attempts.values())
    for credit in session.credits.values():
        known_by = _KNOWN_BY[credit.evidence]
        yield f"{Money(credit.amount_cents)} arrived with M-Pesa's receipt {credit.receipt}, known by {known_by}."
    if session.paid and session.paid.receipt is None:
        yield f"{Money(session.received_cents)} arrived; M-Pesa has not named a receipt for it yet."
    yield _STANDS[session.status]
    if session.order:
        yield f"The order is {session.order[1]}."
    if session.failure:
        yield f"The reason: {session.failure[1]}"
    yield from map(_refund, session.refunds.values())
    yield from map(_discrepancy, session.discrepancies.values())


def _prompt(attempt: Attempt) -> str:
    """Return what is known of a prompt: that M-Pesa took it does not say that it was seen."""
    if attempt.state == AttemptState.REFUSED:
        how = "M-Pesa refused it, and sent nothing to the buyer's phone"
    elif attempt.merchant_request_id:
        how = "M-Pesa took it, to prompt the buyer's phone"
    else:
        how = "M-Pesa gave no answer, and the buyer's phone may have been prompted"
    return f"Attempt {attempt.number}: {how}."


def _refund(refund: Refund) -> str:
    of = f" of receipt {refund.receipt}" if refund.receipt else ""
    by = f", with receipt {refund.reversal_receipt}" if refund.reversal_receipt else ""
    stands = f"{Money(refund.amount_cents)}{of} {_REFUND_STANDS[refund.state]}{by}"
    if refund.by_hand:
        return f"Refund {refund.number}: an operator recorded by hand that {stands}."
    return f"Refund {refund.number}: {stands}."


def _discrepancy(found: Discrepancy) -> str:
    told = f" The later one told of receipt {found.receipt}." if found.receipt else ""
    stands = "Nobody has looked at it yet." if found.is_open else "An operator looked at it."
    about = f"{_DISAGREE[found.about]} attempt {found.attempt}"
    return f"Discrepancy {found.number}: sources disagree {about}.{told} {stands}"
