"""The port to a shop: what the ledger asks of it, and the values it returns.

Money is whole cents, quantities are whole thousandths of the unit of measure, times are aware UTC.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from ledger.errors import Rejected
from ledger.session.cart import SnapshotLine, subtotal_cents
from ledger.store.caller_texts import LineTexts
from ledger.store.parts import Part

OUT_OF_STOCK = "OUT_OF_STOCK"
CART_ALREADY_BOUGHT = "CART_ALREADY_BOUGHT"
LISTING_WITHDRAWN = "LISTING_WITHDRAWN"
ORDER_NOT_MADE = "ORDER_NOT_MADE"


class OrderRefused(Rejected):
    """The shop cannot make this order now or later; its code is one of the four above."""


class UnknownPlace(StrEnum):
    """What may be wrong with a place, by the field of the delivery details."""

    COUNTY = "county_id"
    SUBCOUNTY = "subcounty_id"


@dataclass(frozen=True, slots=True)
class CartLine:
    """A quantity of one listing, at its price when it was put into the cart."""

    cart_item_id: int
    listing_id: int
    product_name: str
    farm_name: str
    quantity_thousandths: int
    price_cents: int
    unit_of_measure: str
    unit_weight_grams: int = 0

    @property
    def subtotal_cents(self) -> int:
        """Price times quantity, rounded half up to the cent."""
        return subtotal_cents(self.price_cents, self.quantity_thousandths)

    @property
    def weight_milligrams(self) -> int:
        """The weight of the whole line, exact: grams of a unit times thousandths of a unit."""
        return self.unit_weight_grams * self.quantity_thousandths

    @property
    def snapshot(self) -> SnapshotLine:
        """The line as a payment session keeps it."""
        return SnapshotLine(
            self.cart_item_id,
            self.listing_id,
            self.product_name,
            self.farm_name,
            self.quantity_thousandths,
            self.price_cents,
            self.subtotal_cents,
            self.unit_of_measure,
        )


@dataclass(frozen=True, slots=True)
class Cart:
    """What a buyer wants to buy; lines in the order in which they were added."""

    lines: tuple[CartLine, ...] = ()

    @property
    def goods_cents(self) -> int:
        """The sum of the subtotals, without delivery."""
        return sum(line.subtotal_cents for line in self.lines)

    @property
    def weight_milligrams(self) -> int:
        """The weight of all lines together."""
        return sum(line.weight_milligrams for line in self.lines)


@dataclass(frozen=True, slots=True)
class Shortage:
    """Less stock than was asked of one listing, whose id may be unknown here; `withdrawn` if it is not on sale."""

    listing_id: int | None
    product_name: str
    asked_thousandths: int
    available_thousandths: int
    withdrawn: bool = False


@dataclass(frozen=True, slots=True)
class Quote:
    """What is in a user's cart, its delivery fee, and what prevents buying it now.

    `reference` is the shop's own name of the cart as it is now, if it gives it one.
    """

    lines: tuple[SnapshotLine, ...]
    delivery_fee_cents: int
    unknown_place: UnknownPlace | None
    shortages: tuple[Shortage, ...]
    reference: str | None = None


@dataclass(frozen=True, slots=True)
class Sale:
    """What a session sells, as its shop knows it.

    `reference` is what the shop, or its server, calls the session; `texts` are what its server calls each line. Both
    are personal data.
    """

    session_id: UUID
    user_id: int
    lines: tuple[SnapshotLine, ...]
    reference: str | None = field(default=None, kw_only=True)
    texts: Sequence[LineTexts | None] = field(default=(), kw_only=True)


@dataclass(frozen=True, slots=True)
class OrderRequest(Sale):
    """A request for the order of a paid session. `delivery_details` are personal data: JSON values only."""

    total_cents: int
    delivery_fee_cents: int
    delivery_details: Mapping[str, object]
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An order's id, None if it has none, and the number that people read."""

    order_id: int | None
    order_number: str


@dataclass(frozen=True, slots=True)
class OrderItem:
    """One line of an order, as it was bought."""

    listing_id: int
    product_name: str
    farm_name: str
    quantity_thousandths: int
    price_cents: int
    subtotal_cents: int
    unit_of_measure: str


@dataclass(frozen=True, slots=True)
class Order:
    """An order as its buyer sees it; `delivery_details` is None once the buyer's data are erased."""

    order_id: int
    order_number: str
    order_status: str
    payment_status: str
    session_id: UUID
    items: tuple[OrderItem, ...]
    items_cents: int
    delivery_fee_cents: int
    rounding_cents: int
    total_cents: int
    delivery_details: Mapping[str, object] | None
    placed_at: datetime


@runtime_checkable
class LocalShop(Protocol):
    """A shop on the ledger's own PostgreSQL: what it reads and writes is part of a command's own statements."""

    def cart_part(self, user_id: int) -> Part:
        """Return the part that reads the user's cart; `quote_of` knows its value."""

    def quote_of(self, cart: str | None, county_id: int, subcounty_id: int) -> Quote:
        """Quote the cart that a `cart_part` read, to a place."""

    def stock_part(self, listing_ids: Part) -> Part:
        """Return the part that reads the stock of listings, whose ids are the bigint[] of another part."""

    def shortages_of(self, stock: str | None, lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
        """Return what is short for these lines of the stock that a `stock_part` read."""

    def allotment_part(self, placed_at: datetime) -> Part:
        """Return the part of a read that draws id and number of an order; `allotted` reads its value."""

    def allotted(self, placed_at: datetime, value: Any) -> PlacedOrder:
        """Return the id and number that were drawn for an order of this moment. Both may stay unused."""

    def order_part(self, request: OrderRequest, order: PlacedOrder) -> Part:
        """Return the part of a write that makes the order by its id and number, as `create_order` does.

        Its statement raises OrderRefused where `create_order` does, and fails where the session has its order. Raises
        Erased.
        """


class Shop(Protocol):
    """What a shop can do. Each call may raise Unavailable: the shop did not answer, and a retry may help."""

    def quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Quote the user's cart, empty if there is none, to a place."""

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Say what is wrong with a place, None if both exist and the subcounty is in the county."""

    def shortages(self, sale: Sale) -> tuple[Shortage, ...]:
        """Return what could not be sold now in these quantities; no stock is reserved."""

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Make the order of a paid session and take its stock, all or nothing.

        A repeat for the same session, even a concurrent one, returns the same order. Raises OrderRefused, and
        OrderRefused ORDER_NOT_MADE once the session's order is ruled out.
        """

    def rule_out_order(self, session_id: UUID, lines: Sequence[SnapshotLine]) -> PlacedOrder | None:
        """Promise that this session, with these lines, gets no order any more; return its order if it has one.

        Of this and a concurrent `create_order` one wins, so that no money goes back for goods that are sent.
        """

    def return_goods(self, session_id: UUID) -> bool:
        """Put the goods of a session's order back on the shelf, once; return whether they were not there yet."""

    def order_of(self, user_id: int, order_id: int) -> Order | None:
        """Return the user's order; None if there is none, it is another user's, or the shop shows it by itself."""

    def order_by_session(self, session_id: UUID) -> PlacedOrder | None:
        """Return the order of a payment session, None if none was made."""
