"""An in-memory double of the built-in shop: carts that are filled once, falling stock, one order a session."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from ledger.application import listings_of
from ledger.clock import NAIROBI
from ledger.session.cart import SnapshotLine
from ledger.store.parts import Part
from shop.builtin import BuiltinShop, carts
from shop.builtin.ordering import order_number
from shop.delivery import DeliveryRates
from shop.port import (
    CART_ALREADY_BOUGHT,
    ORDER_NOT_MADE,
    OUT_OF_STOCK,
    Cart,
    CartLine,
    OrderRefused,
    OrderRequest,
    PlacedOrder,
    Quote,
    Sale,
    Shortage,
    UnknownPlace,
)
from tests.simulation.parts import Effects, PartDouble
from tests.simulation.scheduler import Scheduler

ALLOT, PLACE = "allot_order(%s)", "place_order(%s, %s)"


class NotPlaced(psycopg.DatabaseError):
    """What `place_order` raises where it refuses."""

    sqlstate = "DS004"


class ShopState:
    """The stored state of the shop, shared by every process; quantities are thousandths."""

    def __init__(self) -> None:
        self.stocked: dict[int, int] = {}
        self.stock: dict[int, int] = {}
        self.carts: dict[int, Cart] = {}
        self.orders: dict[UUID, tuple[PlacedOrder, OrderRequest]] = {}
        self.sold_lines: dict[int, UUID] = {}
        self.ruled_out: set[UUID] = set()
        self.returned: set[UUID] = set()
        self._numbers = 0

    def _stock_as_value(self, _: Any, __: Effects) -> str:
        return json.dumps([(listing_id, stock, False) for listing_id, stock in self.stock.items()])

    def _cart_as_value(self, values: Any, _: Effects) -> str | None:
        lines = [
            (
                *(getattr(line, name) for name in CartLine.__match_args__),
                self.stock.get(line.listing_id, 0),
                line.listing_id not in self.stock,
            )
            for line in self.carts.get(values[0], Cart()).lines
        ]
        return json.dumps(lines) if lines else None

    def stock_up(self, listing_id: int, thousandths: int) -> None:
        """Set the initial stock of a listing."""
        self.stocked[listing_id] = self.stock[listing_id] = thousandths

    def shortages(self, lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
        """Return the lines that exceed the stock."""
        return tuple(
            Shortage(
                listing_id,
                str(listing_id),
                asked,
                self.stock.get(listing_id, 0),
                listing_id not in self.stock,
            )
            for listing_id, asked in _asked(lines).items()
            if self.stock.get(listing_id, 0) < asked
        )

    def part_doubles(self) -> dict[str, PartDouble]:
        """Return the doubles of the shop's parts; orders are given as objects of ours."""
        stock = BuiltinShop.stock_part(self, listings_of(UUID(int=0))).sql  # type: ignore[arg-type]  # it needs no shop
        return {
            stock: self._stock_as_value,
            ALLOT: lambda values, _: self.allot(*values),
            PLACE: self._place,
            carts.LINES_PART: self._cart_as_value,
        }

    def allot(self, placed_at: datetime) -> PlacedOrder:
        """Draw the next id and number; some of them stay unused."""
        self._numbers += 1
        return PlacedOrder(self._numbers, order_number(placed_at.astimezone(NAIROBI).date(), self._numbers))

    def _place(self, values: Any, effects: Effects) -> int | None:
        request, order = values
        if request.session_id in self.orders:
            raise NotPlaced
        cart = self.carts.get(request.user_id)
        try:
            placed = self.sell(request, order)
        except OrderRefused as error:
            raise NotPlaced from error
        effects.undone_by(lambda: self._unsell(request, cart))
        return placed.order_id

    def _unsell(self, request: OrderRequest, cart: Cart | None) -> None:
        del self.orders[request.session_id]
        for listing_id, asked in _asked(request.lines).items():
            self.stock[listing_id] += asked
        for line in request.lines:
            del self.sold_lines[line.cart_item_id or 0]
        if cart is not None:
            self.carts[request.user_id] = cart

    def sell(self, request: OrderRequest, placed: PlacedOrder) -> PlacedOrder:
        """Make the order, all or nothing, or return the existing one."""
        earlier = self.orders.get(request.session_id)
        if earlier is not None:
            return earlier[0]
        if request.session_id in self.ruled_out:
            raise OrderRefused(ORDER_NOT_MADE, "This order was given up; the payment goes back.")
        if any(line.cart_item_id in self.sold_lines for line in request.lines):
            raise OrderRefused(
                CART_ALREADY_BOUGHT, "These goods have already been bought with another payment."
            )
        if self.shortages(request.lines):
            raise OrderRefused(OUT_OF_STOCK, "There is not enough left.")
        for listing_id, asked in _asked(request.lines).items():
            self.stock[listing_id] -= asked
        for line in request.lines:
            assert line.cart_item_id is not None
            self.sold_lines[line.cart_item_id] = request.session_id
        self.carts.pop(request.user_id, None)
        self.orders[request.session_id] = placed, request
        return placed

    def take_back(self, session_id: UUID) -> bool:
        """Put the goods of an order back on the shelf, once."""
        if session_id in self.returned or session_id not in self.orders:
            return False
        self.returned.add(session_id)
        for listing_id, thousandths in _asked(self.orders[session_id][1].lines).items():
            self.stock[listing_id] += thousandths
        return True


class MemoryShop(BuiltinShop):
    """The shop as one process sees it; without a scheduler there are no faults."""

    def __init__(self, shop_state: ShopState, scheduler: Scheduler | None = None) -> None:
        self._state = shop_state
        self._scheduler = scheduler
        self._rates = DeliveryRates()

    def _quote(self, cart: Cart, shortages: tuple[Shortage, ...], county_id: int, subcounty_id: int) -> Quote:
        place = self.unknown_place(county_id, subcounty_id)
        lines = tuple(line.snapshot for line in cart.lines)
        return Quote(lines, self._rates.fee_cents(cart), place, shortages)

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Accept the one place where all buyers live."""
        return None if (county_id, subcounty_id) == (1, 5) else UnknownPlace.COUNTY

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Make the order of a paid session."""
        lost = self._step("create_order")
        placed = self._state.sell(request, self._state.allot(request.placed_at))
        if lost and self._scheduler is not None:
            self._scheduler.lose_answer("create_order")
        return placed

    def allotment_part(self, placed_at: datetime) -> Part:
        """Return the part that draws an order's id and number."""
        return Part(ALLOT, (placed_at,))

    def allotted(self, placed_at: datetime, value: PlacedOrder) -> PlacedOrder:  # noqa: ARG002
        """Return what was drawn."""
        return value

    def order_part(self, request: OrderRequest, order: PlacedOrder) -> Part:
        """Return the part that makes an order."""
        return Part(PLACE, (request, order))

    def rule_out_order(self, session_id: UUID, lines: Sequence[SnapshotLine]) -> PlacedOrder | None:  # noqa: ARG002
        """Rule the order of a session out, unless it was made."""
        self._ask("rule_out_order")
        made = self._state.orders.get(session_id)
        if made is None:
            self._state.ruled_out.add(session_id)
        return made[0] if made else None

    def return_goods(self, session_id: UUID) -> bool:
        """Put the goods of an order back on the shelf."""
        lost = self._step("return_goods")
        is_news = self._state.take_back(session_id)
        if lost and self._scheduler is not None:
            self._scheduler.lose_answer("return_goods")
        return is_news

    def _ask(self, what: str) -> None:
        if self._step(what) and self._scheduler is not None:
            self._scheduler.lose_answer(what)

    def _step(self, what: str) -> bool:
        return self._scheduler is not None and self._scheduler.before_step(what)


class OutsideShop(MemoryShop):
    """A shop that answers by itself alone, as one behind HTTP does: its orders are in no commit of the ledger's."""

    allotment_part = allotted = order_part = None  # type: ignore[assignment]  # it is no LocalShop

    def shortages(self, sale: Sale) -> tuple[Shortage, ...]:
        """Return the lines that could not be sold now."""
        self._ask("shortages")
        return self._state.shortages(sale.lines)

    def quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Quote the user's cart to a place."""
        self._ask("quote")
        cart = self._state.carts.get(user_id, Cart())
        shortages = self._state.shortages([line.snapshot for line in cart.lines])
        return self._quote(cart, shortages, county_id, subcounty_id)


def _asked(lines: Sequence[SnapshotLine]) -> dict[int, int]:
    asked: dict[int, int] = {}
    for line in lines:
        assert line.listing_id is not None
        asked[line.listing_id] = asked.get(line.listing_id, 0) + line.quantity_thousandths
    return asked
