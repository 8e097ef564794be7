"""The books' accounts, and which of them an event or a movement of M-Pesa debits and credits: see docs/books.md.

A posting moves one sum from one account to another, so that nothing can be out of balance. What a posting needs beyond
its event follows from earlier events of the session, and from what the books posted of its receipt before.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, NamedTuple
from uuid import UUID

from ledger.session.events import (
    PUBLIC_NAMES,
    Created,
    OrderCreated,
    Paid,
    PaymentReversed,
    ReceiptRecorded,
    RefundDue,
    Refunded,
    RefundFailed,
    RefundRequested,
    SurplusReceived,
)
from projections.follower import Recorded


class Side(StrEnum):
    """The side on which an account grows."""

    DEBIT = "debit"
    CREDIT = "credit"


class Account(StrEnum):
    """The accounts, in the order of a trial balance. The names are stored."""

    MPESA_CLEARING = "mpesa_clearing"
    RECEIPTS_AWAITED = "receipts_awaited"
    REVERSAL_CLEARING = "reversal_clearing"
    BANK_SETTLEMENT = "bank_settlement"
    OTHER_MOVEMENTS = "other_movements"
    CUSTOMER_FUNDS = "customer_funds"
    SURPLUS = "surplus"
    REFUNDS_DUE = "refunds_due"
    REFUNDED_OTHERWISE = "refunded_otherwise"
    UNMATCHED_RECEIPTS = "unmatched_receipts"
    SALES = "sales"
    SALES_RETURNS = "sales_returns"
    DELIVERY = "delivery"
    ROUNDING = "rounding"
    CHARGES = "charges"


class AccountFacts(NamedTuple):
    """What a reader of the books is told of an account; `group` is assets, liabilities, income or expenses."""

    title: str
    group: str
    normal_side: Side
    is_of: str


CHART: dict[Account, AccountFacts] = {
    Account.MPESA_CLEARING: AccountFacts(
        "M-Pesa clearing", "assets", Side.DEBIT, "money in the M-Pesa account, by receipt"
    ),
    Account.RECEIPTS_AWAITED: AccountFacts(
        "Receipts awaited",
        "assets",
        Side.DEBIT,
        "payments that a query proved, whose receipt is not known yet",
    ),
    Account.REVERSAL_CLEARING: AccountFacts(
        "Reversal clearing",
        "liabilities",
        Side.CREDIT,
        "reversals that were requested, or that nobody explains yet",
    ),
    Account.BANK_SETTLEMENT: AccountFacts(
        "Bank settlement", "assets", Side.DEBIT, "money moved from M-Pesa to the bank, and back"
    ),
    Account.OTHER_MOVEMENTS: AccountFacts(
        "Other movements", "assets", Side.DEBIT, "rows of a statement for the bookkeeper to classify"
    ),
    Account.CUSTOMER_FUNDS: AccountFacts(
        "Customer funds held", "liabilities", Side.CREDIT, "payments whose order is not made yet"
    ),
    Account.SURPLUS: AccountFacts(
        "Surplus", "liabilities", Side.CREDIT, "money beyond what was asked, until its refund is due"
    ),
    Account.REFUNDS_DUE: AccountFacts(
        "Refunds due", "liabilities", Side.CREDIT, "money that must go back and was not sent"
    ),
    Account.REFUNDED_OTHERWISE: AccountFacts(
        "Refunded by other means", "liabilities", Side.CREDIT, "refunds that a person paid outside Daftari"
    ),
    Account.UNMATCHED_RECEIPTS: AccountFacts(
        "Unmatched receipts", "liabilities", Side.CREDIT, "money in M-Pesa that belongs to no session yet"
    ),
    Account.SALES: AccountFacts("Sales", "income", Side.CREDIT, "goods of orders"),
    Account.SALES_RETURNS: AccountFacts(
        "Sales returns", "income", Side.DEBIT, "money of orders that goes back"
    ),
    Account.DELIVERY: AccountFacts("Delivery", "income", Side.CREDIT, "delivery fees of orders"),
    Account.ROUNDING: AccountFacts(
        "Rounding", "income", Side.CREDIT, "rounding of orders to whole shillings"
    ),
    Account.CHARGES: AccountFacts("Charges", "expenses", Side.DEBIT, "what M-Pesa charges"),
}

MONEY_OF_CUSTOMERS = (
    Account.CUSTOMER_FUNDS,
    Account.SURPLUS,
    Account.RECEIPTS_AWAITED,
    Account.UNMATCHED_RECEIPTS,
)
"""What is credited where M-Pesa clearing is debited for a customer's payment: once for each receipt."""

_SURPLUS_REASONS = frozenset({"second_payment", "wrong_amount", "amount_not_named"})
_CATEGORIES = {"charge": Account.CHARGES, "settlement": Account.BANK_SETTLEMENT}
_MET_AGAIN = (
    Account.UNMATCHED_RECEIPTS,
    Account.REVERSAL_CLEARING,
    Account.OTHER_MOVEMENTS,
    Account.REFUNDED_OTHERWISE,
)
"""On what an event may find the other side of a movement that was posted before it."""


class Way(StrEnum):
    """How a receipt is in the books already: as money in, as money out, or as a refund that a person paid."""

    IN = "in"
    OUT = "out"
    OTHERWISE = "otherwise"


Posted = dict[tuple[str, Way], Account]
"""The account on the other side of what the books posted before, by receipt, for the few that an event meets again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of the journal but for its number: `amount_cents` from the account `credit_account` to `debit_account`.

    `occurred_at` is when it happened, `recorded_at` when Daftari stored it; either `position`, in the log, or
    `movement`, in the movement log, is its source. `what` is the event's public name, or what M-Pesa's movement is.
    """

    what: str
    debit_account: str
    credit_account: str
    amount_cents: int
    occurred_at: datetime
    recorded_at: datetime
    position: int | None = None
    movement: int | None = None
    receipt: str | None = None
    session_id: UUID | None = None


class Line(NamedTuple):
    """What an event posts: cents from `credit` to `debit`, and the receipt that it is about."""

    debit: Account
    credit: Account
    cents: int
    receipt: str | None = None


@dataclass
class SessionBooks:
    """What postings need to know of a session: what its earlier events leave behind."""

    totals: Mapping[str, int] = field(default_factory=dict)
    has_order: bool = False
    returned_cents: int = 0
    awaited: dict[int, int] = field(default_factory=dict)
    refunds: dict[int, tuple[Account, int, str | None]] = field(default_factory=dict)

    @property
    def receipts(self) -> Iterator[str]:
        """The receipts of the payments whose refunds may still move."""
        return (receipt for _, _, receipt in self.refunds.values() if receipt is not None)

    def post(self, event: Recorded, posted: Posted) -> Iterator[Entry]:
        """Yield the entries of the session's next event; `posted` is changed by what later ones may meet again."""
        for line in _POSTINGS[event.topic](self, event.state, posted):
            if not line.cents or line.debit == line.credit:
                continue
            if line.credit == Account.REFUNDED_OTHERWISE and line.receipt is not None:
                posted[line.receipt, Way.OTHERWISE] = line.credit
            yield Entry(
                what=_NAMES[event.topic],
                debit_account=line.debit,
                credit_account=line.credit,
                amount_cents=line.cents,
                occurred_at=datetime.fromisoformat(event.state[_OCCURRED.get(event.topic, "timestamp")]),
                recorded_at=event.recorded_at,
                position=event.position,
                receipt=line.receipt,
                session_id=event.session_id,
            )


def posted_of(rows: Iterable[Mapping[str, Any]]) -> Posted:
    """Return how the receipts of entries are in the books, for events that meet them again.

    An account that no movement is posted to was forged, which `daftari verify` reports: it must not stop the books.
    """
    posted: Posted = {}
    for row in rows:
        debit, credit = row["debit_account"], row["credit_account"]
        if debit == Account.MPESA_CLEARING:
            posted[row["receipt"], Way.IN] = _met_again(credit, Account.UNMATCHED_RECEIPTS)
        elif credit == Account.MPESA_CLEARING:
            posted[row["receipt"], Way.OUT] = _met_again(debit, Account.OTHER_MOVEMENTS)
        else:
            posted[row["receipt"], Way.OTHERWISE] = Account.REFUNDED_OTHERWISE
    return posted


def _met_again(name: str, otherwise: Account) -> Account:
    return Account(name) if name in _MET_AGAIN else otherwise


def in_order(
    events: Iterable[Recorded],
    movements: Iterable[Mapping[str, Any]],
    books_of: Callable[[Recorded], SessionBooks],
    posted: Posted,
) -> Iterator[Entry]:
    """Yield the entries of events, and of rows of the movement log, each before the events that came after it."""
    left = iter(movements)
    movement = next(left, None)
    for event in events:
        while movement is not None and movement["posted_after"] < event.position:
            yield of_movement(movement, posted)
            movement = next(left, None)
        yield from books_of(event).post(event, posted)
    while movement is not None:
        yield of_movement(movement, posted)
        movement = next(left, None)


def of_movement(row: Mapping[str, Any], posted: Posted) -> Entry:
    """Return the entry of a row of the movement log; `posted` is changed by it."""
    receipt, money_in = row["receipt"], row["money_in"]
    account = Account.UNMATCHED_RECEIPTS if row["kind"] == "payment" else _counterpart(row, posted)
    if account not in _CATEGORIES.values():  # A charge may repeat the receipt that it is for.
        posted[receipt, Way.IN if money_in else Way.OUT] = account
    clearing = Account.MPESA_CLEARING
    return Entry(
        what=row["category"] or row["kind"],
        debit_account=clearing if money_in else account,
        credit_account=account if money_in else clearing,
        amount_cents=row["amount_cents"],
        occurred_at=row["occurred_at"],
        recorded_at=row["recorded_at"],
        movement=row["ordinal"],
        receipt=receipt,
        session_id=row["session_id"],
    )


def _counterpart(row: Mapping[str, Any], posted: Posted) -> Account:
    """Return the account for what is no payment: what the money was for, as far as M-Pesa and the books know."""
    if row["category"] in _CATEGORIES:
        return _CATEGORIES[row["category"]]
    if any((receipt, Way.OTHERWISE) in posted for receipt in (row["receipt"], row["linked_receipt"])):
        return Account.REFUNDED_OTHERWISE
    if row["kind"] == "reversal":
        reverses_unmatched = posted.get((row["linked_receipt"], Way.IN)) == Account.UNMATCHED_RECEIPTS
        return Account.UNMATCHED_RECEIPTS if reverses_unmatched else Account.REVERSAL_CLEARING
    return Account.OTHER_MOVEMENTS


def _created(books: SessionBooks, state: dict[str, Any], _: Posted) -> Iterator[Line]:
    books.totals = state["totals"]
    yield from ()


def _money_in(receipt: str, posted: Posted) -> Account:
    """Return what is debited for a receipt: M-Pesa clearing, or where the books put it before its session was known."""
    return posted.get((receipt, Way.IN), Account.MPESA_CLEARING)


def _received(books: SessionBooks, state: dict[str, Any], posted: Posted, account: Account) -> Iterator[Line]:
    receipt, cents = state["receipt"], state["amount_cents"]
    if receipt is None:
        books.awaited[state["attempt"]] = cents
    debit = Account.RECEIPTS_AWAITED if receipt is None else _money_in(receipt, posted)
    yield Line(debit, account, cents, receipt)


def _paid(books: SessionBooks, state: dict[str, Any], posted: Posted) -> Iterator[Line]:
    return _received(books, state, posted, Account.CUSTOMER_FUNDS)


def _surplus(books: SessionBooks, state: dict[str, Any], posted: Posted) -> Iterator[Line]:
    return _received(books, state, posted, Account.SURPLUS)


def _receipt_recorded(books: SessionBooks, state: dict[str, Any], posted: Posted) -> Iterator[Line]:
    cents = books.awaited.pop(state["attempt"], 0)
    yield Line(_money_in(state["receipt"], posted), Account.RECEIPTS_AWAITED, cents, state["receipt"])


def _order_created(books: SessionBooks, _: dict[str, Any], __: Posted) -> Iterator[Line]:
    books.has_order = True
    totals, funds = books.totals, Account.CUSTOMER_FUNDS
    yield Line(funds, Account.SALES, totals["goods_cents"])
    yield Line(funds, Account.DELIVERY, totals["delivery_fee_cents"])
    rounding = totals["rounding_cents"]
    yield (
        Line(funds, Account.ROUNDING, rounding) if rounding > 0 else Line(Account.ROUNDING, funds, -rounding)
    )


def _refund_due(books: SessionBooks, state: dict[str, Any], _: Posted) -> Iterator[Line]:
    cents, receipt = state["amount_cents"], state["receipt"]
    books.refunds[state["refund"]] = Account.REFUNDS_DUE, cents, receipt
    debit = Account.SURPLUS if state["why"] in _SURPLUS_REASONS else Account.CUSTOMER_FUNDS
    if state.get("of_order"):
        debit = Account.SALES_RETURNS
        books.returned_cents += cents
    yield Line(debit, Account.REFUNDS_DUE, cents, receipt)


def _refund_moves(books: SessionBooks, state: dict[str, Any], to: Account) -> Iterator[Line]:
    account, cents, receipt = books.refunds[state["refund"]]
    if account != to:
        books.refunds[state["refund"]] = to, cents, receipt
        yield Line(account, to, cents, receipt)


def _refund_requested(books: SessionBooks, state: dict[str, Any], _: Posted) -> Iterator[Line]:
    return _refund_moves(books, state, Account.REVERSAL_CLEARING)


def _refund_failed(books: SessionBooks, state: dict[str, Any], _: Posted) -> Iterator[Line]:
    return _refund_moves(books, state, Account.REFUNDS_DUE)


def _money_out(state: dict[str, Any], receipt: str | None, posted: Posted) -> tuple[Account, str | None]:
    """Return what is credited for money that went back, and its receipt; without one of its own, the payment's."""
    out = state["reversal_receipt"] or receipt
    known = posted.get((out, Way.OUT)) if out is not None else None
    return known or Account.MPESA_CLEARING, out


def _refunded(books: SessionBooks, state: dict[str, Any], posted: Posted) -> Iterator[Line]:
    account, cents, receipt = books.refunds[state["refund"]]
    credit, out = _money_out(state, receipt, posted)
    if state["means"] == "by_hand" and credit == Account.MPESA_CLEARING:
        credit = Account.REFUNDED_OTHERWISE
    if credit != account:  # A reversal that the books could not explain was this one.
        yield Line(account, credit, cents, out)


def _payment_reversed(books: SessionBooks, state: dict[str, Any], posted: Posted) -> Iterator[Line]:
    credit, out = _money_out(state, state["receipt"], posted)
    cents = state["amount_cents"]
    if not books.has_order:
        yield Line(Account.CUSTOMER_FUNDS, credit, cents, out)
        return
    returned = min(cents, max(0, books.totals["total_cents"] - books.returned_cents))
    books.returned_cents += returned
    yield Line(Account.SALES_RETURNS, credit, returned, out)
    yield Line(Account.OTHER_MOVEMENTS, credit, cents - returned, out)


_POSTINGS: dict[str, Callable[[SessionBooks, dict[str, Any], Posted], Iterator[Line]]] = {
    Created.TOPIC: _created,
    Paid.TOPIC: _paid,
    SurplusReceived.TOPIC: _surplus,
    ReceiptRecorded.TOPIC: _receipt_recorded,
    OrderCreated.TOPIC: _order_created,
    RefundDue.TOPIC: _refund_due,
    RefundRequested.TOPIC: _refund_requested,
    RefundFailed.TOPIC: _refund_failed,
    Refunded.TOPIC: _refunded,
    PaymentReversed.TOPIC: _payment_reversed,
}
_OCCURRED = {
    Paid.TOPIC: "paid_at",
    SurplusReceived.TOPIC: "paid_at",
    PaymentReversed.TOPIC: "reversed_at",
}
_NAMES = {event.TOPIC: name for event, name in PUBLIC_NAMES.items()}  # type: ignore[attr-defined]

STATE_TOPICS = tuple(_POSTINGS)
"""The events that the state of a session's books follows from."""

MONEY_TOPICS = tuple(topic for topic in _POSTINGS if topic != Created.TOPIC)
"""The events that may post something."""
