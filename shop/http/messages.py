"""What Daftari and a shop behind HTTP say to each other: requests and answers, as docs/http-shop.md has them.

Money and quantities are decimal text, never numbers. An answer may have more members than these, and nothing else.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import msgspec
from msgspec import Meta

from ledger.money import Money
from ledger.phone import holds_phone
from ledger.session.cart import SnapshotLine
from ledger.store.caller_texts import LineTexts
from shop.port import (
    CART_ALREADY_BOUGHT,
    LISTING_WITHDRAWN,
    ORDER_NOT_MADE,
    OUT_OF_STOCK,
    OrderRefused,
    OrderRequest,
    PlacedOrder,
    Quote,
    Sale,
    Shortage,
    UnknownPlace,
)

MAX_LINES = 100
MAX_ID = 2**53 - 1
"""The largest whole number that every JSON parser keeps exactly."""

REFUSALS = {
    OUT_OF_STOCK: "There is not enough left of what you paid for.",
    LISTING_WITHDRAWN: "Something that you paid for is no longer on sale.",
    CART_ALREADY_BOUGHT: "These goods have already been bought with another payment.",
    ORDER_NOT_MADE: "The shop could not make your order.",
}
"""Why a shop may refuse an order, in our words: the log keeps them for ever, and a shop's own might name somebody."""

_Id = Annotated[int, Meta(ge=1, le=MAX_ID)]
_Amount = Annotated[str, Meta(pattern=r"^[0-9]{1,9}\.[0-9]{2}\Z")]
_Quantity = Annotated[str, Meta(pattern=r"^[0-9]{1,7}(\.[0-9]{1,3})?\Z")]
_Name = Annotated[str, Meta(min_length=1, max_length=200)]
_Word = Annotated[str, Meta(max_length=100)]


class AnswerNotUnderstood(Exception):
    """An answer breaks the contract; the argument says how, and repeats nothing of it that could be personal."""


class Line(msgspec.Struct, frozen=True):
    """One line of a cart or an order, as the shop has it."""

    product_name: _Name
    quantity: _Quantity
    unit_price: _Amount
    unit: Annotated[str, Meta(max_length=20)] = ""
    seller: _Word = ""
    cart_item_id: _Id | None = None
    listing_id: _Id | None = None

    @property
    def snapshot(self) -> SnapshotLine:
        """The line as a payment session keeps it; the subtotal is ours."""
        price, thousandths = Money.parse(self.unit_price), _thousandths(self.quantity)
        return SnapshotLine(
            self.cart_item_id,
            self.listing_id,
            _in_the_clear(self.product_name),
            _in_the_clear(self.seller),
            thousandths,
            price.cents,
            price.times_thousandths(thousandths).cents,
            _in_the_clear(self.unit),
        )


class ShortLine(msgspec.Struct, frozen=True):
    """Something of which there is less than was asked."""

    product_name: _Name
    asked: _Quantity
    available: _Quantity
    withdrawn: bool = False
    listing_id: _Id | None = None

    @property
    def shortage(self) -> Shortage:
        """The same as the ledger has it."""
        asked, available = _thousandths(self.asked), _thousandths(self.available)
        return Shortage(
            self.listing_id, _in_the_clear(self.product_name), asked, available, withdrawn=self.withdrawn
        )


class QuoteAnswer(msgspec.Struct, frozen=True):
    """A user's cart, empty if there is none, and what prevents buying it now."""

    lines: Annotated[list[Line], Meta(max_length=MAX_LINES)]
    delivery_fee: _Amount
    unknown_place: Annotated[str, Meta(pattern=r"^(county_id|subcounty_id)\Z")] | None = None
    shortages: Annotated[list[ShortLine], Meta(max_length=MAX_LINES)] = []
    reference: Annotated[str, Meta(min_length=1, max_length=100)] | None = None

    @property
    def quote(self) -> Quote:
        """The same as the ledger has it."""
        return Quote(
            tuple(line.snapshot for line in self.lines),
            Money.parse(self.delivery_fee).cents,
            UnknownPlace(self.unknown_place) if self.unknown_place else None,
            tuple(line.shortage for line in self.shortages),
            self.reference,
        )


class ShortagesAnswer(msgspec.Struct, frozen=True):
    """What is short of the lines that were asked about."""

    shortages: Annotated[list[ShortLine], Meta(max_length=MAX_LINES)]


class Order(msgspec.Struct, frozen=True):
    """An order: the number that people read, and an id if it has one that is a whole number."""

    order_number: Annotated[str, Meta(min_length=1, max_length=100)]
    order_id: _Id | None = None

    @property
    def placed(self) -> PlacedOrder:
        """The same as the ledger has it."""
        return PlacedOrder(self.order_id, _in_the_clear(self.order_number))


class OrderAnswer(msgspec.Struct, frozen=True):
    """The order of a session, or why there will never be one."""

    order: Order | None = None
    refused: Annotated[str, Meta(max_length=40)] | None = None

    @property
    def outcome(self) -> PlacedOrder | OrderRefused:
        """The order, or its refusal. Raises AnswerNotUnderstood if the answer is neither."""
        if self.order is not None and self.refused is None:
            return self.order.placed
        if self.order is None and self.refused in REFUSALS:
            return OrderRefused(self.refused, REFUSALS[self.refused])
        raise AnswerNotUnderstood(f"neither an order nor one of {', '.join(REFUSALS)}")


class FoundOrder(msgspec.Struct, frozen=True):
    """The order of a session, None if it has none."""

    order: Order | None

    @property
    def placed(self) -> PlacedOrder | None:
        """The same as the ledger has it."""
        return self.order.placed if self.order is not None else None


class ReturnAnswer(msgspec.Struct, frozen=True):
    """Whether goods went back on the shelf now, and not before."""

    returned: bool


def request_of(kind: str, sent_at: datetime, data: Mapping[str, Any]) -> bytes:
    """Return a request's body, in the form of Standard Webhooks."""
    return msgspec.json.encode({"type": kind, "timestamp": sent_at, "data": data})


def of_sale(sale: Sale) -> dict[str, Any]:
    """Return what a request says of a session and what it sells."""
    texts = sale.texts or [None] * len(sale.lines)
    return {
        "session_id": sale.session_id,
        "reference": sale.reference,
        "lines": [_line(line, words) for line, words in zip(sale.lines, texts, strict=True)],
    }


def of_order(order: OrderRequest, user: str | None) -> dict[str, Any]:
    """Return what a request for an order says; `user` is None for a buyer whom nobody named."""
    return of_sale(order) | {
        "user": user,
        "delivery_fee": str(Money(order.delivery_fee_cents)),
        "total": str(Money(order.total_cents)),
        "delivery_details": order.delivery_details,
        "placed_at": order.placed_at,
    }


def of_session(session_id: UUID) -> dict[str, Any]:
    """Return what a request says that is about a session alone."""
    return {"session_id": session_id}


def _line(line: SnapshotLine, texts: LineTexts | None) -> dict[str, Any]:
    return {
        "cart_item_id": line.cart_item_id,
        "listing_id": line.listing_id,
        "product_id": texts.product_id if texts else None,
        "product_name": texts.name if texts else line.product_name,
        "seller": line.farm_name,
        "quantity": _quantity(line.quantity_thousandths),
        "unit": (texts.unit if texts else None) or line.unit_of_measure,
        "unit_price": str(Money(line.price_cents)),
        "subtotal": str(Money(line.subtotal_cents)),
    }


def _quantity(thousandths: int) -> str:
    whole, rest = divmod(thousandths, 1_000)
    return f"{whole}.{rest:03d}".rstrip("0") if rest else str(whole)


def _thousandths(quantity: str) -> int:
    whole, _, rest = quantity.partition(".")
    return int(whole) * 1_000 + int(rest.ljust(3, "0"))


def _in_the_clear(text: str) -> str:
    """Return a text that is kept in the clear for ever; raise AnswerNotUnderstood if it may name a person."""
    if not text.isprintable() or holds_phone(text):
        raise AnswerNotUnderstood("a name or a number that holds a phone number or a control character")
    return text
