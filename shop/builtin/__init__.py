"""The shop that is built in: a catalogue, carts, places and orders in the ledger's own PostgreSQL."""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from ledger.errors import InvalidValue
from ledger.session.cart import SnapshotLine
from ledger.store.database import Database
from ledger.store.vault import Erased, Vault
from shop.builtin.carts import Carts
from shop.builtin.catalogue import Catalogue
from shop.builtin.ordering import details_text, find_shortages, place_order
from shop.builtin.places import Places
from shop.delivery import DeliveryRates
from shop.port import Cart, Order, OrderItem, OrderRequest, PlacedOrder, Quote, Shortage, UnknownPlace

ORDER_BY_SESSION = "SELECT order_id, order_number FROM shop_orders WHERE session_id = %s"
ORDER_OF_USER = """
SELECT order_id, order_number, order_status, payment_status, session_id, items_cents, delivery_fee_cents,
       rounding_cents, total_cents, sealed_delivery_details, placed_at
  FROM shop_orders
 WHERE order_id = %s AND user_id = %s
"""
ITEMS_OF_ORDER = """
SELECT listing_id, product_name, farm_name, quantity_thousandths, price_cents, subtotal_cents, unit_of_measure
  FROM shop_order_items
 WHERE order_id = %s
 ORDER BY cart_item_id
"""


class BuiltinShop:
    """Answers the questions of `shop.port.Shop` from tables; `catalogue`, `carts`, `places` serve the shop's pages."""

    def __init__(self, database: Database, vault: Vault, rates: DeliveryRates | None = None) -> None:
        self._database = database
        self._vault = vault
        self._rates = rates or DeliveryRates()
        self.catalogue = Catalogue(database)
        self.carts = Carts(database)
        self.places = Places(database)

    def quote(self, user_id: int, county_id: int, subcounty_id: int) -> Quote:
        """Quote the user's cart, empty if there is none, to a place."""
        cart, shortages = self.carts.with_shortages(user_id)
        place = self.places.unknown(county_id, subcounty_id)
        return Quote(cart, self._rates.fee_cents(cart), place, shortages)

    def cart_of(self, user_id: int) -> Cart:
        """Return the user's cart, empty if there is none."""
        return self.carts.get(user_id)

    def unknown_place(self, county_id: int, subcounty_id: int) -> UnknownPlace | None:
        """Say what is wrong with a place, None where both exist and the subcounty lies in the county."""
        return self.places.unknown(county_id, subcounty_id)

    def delivery_fee_cents(self, cart: Cart) -> int:
        """Return what bringing this cart to the buyer costs."""
        return self._rates.fee_cents(cart)

    def shortages(self, lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
        """Return the listings that could not be sold now in the quantity asked; promise nothing about later."""
        with self._database.connection() as connection:
            return find_shortages(connection, lines)

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Make the order of a paid session and take its stock, all or nothing, once for each session.

        Raises OrderRefused, InvalidValue for a request without lines, and Erased for a buyer whose data, and with
        it the place to deliver to, were erased after the payment.
        """
        if not request.lines:
            raise InvalidValue("An order needs at least one line.", code="CART_EMPTY")
        encrypted = self._vault.encrypt(request.user_id, details_text(request))
        with self._database.transaction() as connection:
            return place_order(connection, request, encrypted)

    def order_of(self, user_id: int, order_id: int) -> Order | None:
        """Return the user's own order, None where there is none or it is another's."""
        with self._database.connection() as connection:
            row = connection.execute(ORDER_OF_USER, (order_id, user_id)).fetchone()
            items = connection.execute(ITEMS_OF_ORDER, (order_id,)).fetchall()
        return self._order(user_id, row, items) if row else None

    def order_by_session(self, session_id: UUID) -> PlacedOrder | None:
        """Return the order of a payment session, None where none was made."""
        with self._database.connection() as connection:
            row = connection.execute(ORDER_BY_SESSION, (session_id,)).fetchone()
        return PlacedOrder(**row) if row else None

    def _order(self, user_id: int, row: dict[str, Any], items: list[dict[str, Any]]) -> Order:
        details = self._details(user_id, row.pop("sealed_delivery_details"))
        return Order(**row, items=tuple(OrderItem(**item) for item in items), delivery_details=details)

    def _details(self, user_id: int, encrypted: str) -> dict[str, object] | None:
        """Open the delivery details; an erased buyer's order remains, without a name or a place."""
        try:
            text = self._vault.decrypt(user_id, encrypted)
        except Erased:
            return None
        details: dict[str, object] = json.loads(text)
        return details
