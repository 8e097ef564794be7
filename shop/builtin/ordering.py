"""Makes the orders of paid sessions: one statement takes stock and cart lines and makes the order, or nothing.

Orders take their locks in one sequence, so that they cannot deadlock: the listings by id, then the buyer's cart lines.
Their ids and numbers are drawn from sequences before, so that orders of one day do not wait for each other.
"""

import json
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime
from functools import partial
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from ledger import clock
from ledger.clock import NAIROBI
from ledger.errors import InvalidValue
from ledger.session.cart import SnapshotLine
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.parts import Part, run_parts
from ledger.store.vault import Vault
from shop.port import (
    CART_ALREADY_BOUGHT,
    LISTING_WITHDRAWN,
    ORDER_NOT_MADE,
    OUT_OF_STOCK,
    Order,
    OrderItem,
    OrderRefused,
    OrderRequest,
    PlacedOrder,
    Sale,
    Shortage,
)

ORDER_DELIVERY = "delivery of an order"
"""The purpose of an order's encrypted delivery details, whose row is its session."""

LOCK_LISTINGS = """
SELECT listing_id FROM shop_listings WHERE listing_id = ANY(%s) ORDER BY listing_id FOR NO KEY UPDATE
"""
# Numbers count from a row of the day in shop_order_days; what the release before counted is in shop_order_counters.
ALLOT = "allot_order(%s)"
PLACE = "place_order(%s, %s, %s, %s, %s::jsonb, %s, %s, %s, %s)"
HAS_ITS_ORDER = "DS001"
REFUSALS = {
    "DS002": (ORDER_NOT_MADE, "This order was given up; the payment goes back."),
    "DS003": (CART_ALREADY_BOUGHT, "These goods have already been bought with another payment."),
    "DS004": (OUT_OF_STOCK, "There is not enough left of: {products}."),
    "DS005": (LISTING_WITHDRAWN, "No longer on sale, or not enough left: {products}."),
}
"""What `place_order` refuses, by its SQLSTATE."""

# The ids are another part's.
STOCK_PART = """(
    SELECT json_agg(json_build_array(
        listing_id, CASE WHEN withdrawn THEN 0 ELSE stock_thousandths END, withdrawn
    ))::text FROM shop_listings WHERE listing_id = ANY({listing_ids}::bigint[])
)"""
RULE_OUT = """
INSERT INTO shop_orders_ruled_out (session_id, ruled_out_at) VALUES (%s, %s) ON CONFLICT (session_id) DO NOTHING
"""
RETURN_ORDER = """
INSERT INTO shop_returns (order_id, returned_at) SELECT order_id, %s FROM shop_orders WHERE session_id = %s
ON CONFLICT (order_id) DO NOTHING RETURNING order_id
"""
LISTINGS_OF_ORDER = "SELECT listing_id FROM shop_order_items WHERE order_id = %s"
RESTOCK = """
WITH returned AS (
    SELECT listing_id, sum(quantity_thousandths)::bigint AS thousandths
      FROM shop_order_items WHERE order_id = %(order_id)s GROUP BY listing_id
), noted AS (
    INSERT INTO shop_stock_changes (listing_id, change_thousandths, reason, changed_at)
    SELECT listing_id, thousandths, 'returned', %(now)s FROM returned
)
UPDATE shop_listings AS listing SET stock_thousandths = listing.stock_thousandths + returned.thousandths
  FROM returned WHERE listing.listing_id = returned.listing_id
"""
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


class Orders:
    """The orders of paid sessions. Safe to share between threads."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def shortages(self, sale: Sale) -> tuple[Shortage, ...]:
        """Return the listings that could not be sold now in these quantities; no stock is reserved."""
        asked = Part("%s", (list(_asked_by_listing(sale.lines)),))
        with self._database.connection() as connection:
            stock = run_parts(connection, {"stock": self.stock_part(asked)})["stock"]
        return self.shortages_of(stock, sale.lines)

    def stock_part(self, listing_ids: Part) -> Part:
        """Return the part of a statement that reads the stock of listings; their ids are the bigint[] of a part."""
        return Part(STOCK_PART.format(listing_ids=listing_ids.sql), listing_ids.values)

    def shortages_of(self, stock: str | None, lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
        """Return what is short for these lines of the stock that a `stock_part` read."""
        rows = msgspec.json.decode(stock) if stock else ()
        stocks = {listing_id: (available, withdrawn) for listing_id, available, withdrawn in rows}
        names = {line.listing_id: line.product_name for line in lines}
        found = []
        for listing_id, thousandths in _asked_by_listing(lines).items():
            available, withdrawn = stocks.get(listing_id, (0, True))
            if available < thousandths:
                found.append(Shortage(listing_id, names[listing_id], thousandths, available, withdrawn))
        return tuple(found)

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Make the order of a paid session and take its stock, all or nothing, once for each session.

        Raises OrderRefused, InvalidValue for a request without lines, and Erased if the buyer's data were erased
        after the payment.
        """
        with self._database.connection() as connection:
            allotted = run_parts(connection, {"allotted": self.allotment_part(request.placed_at)})["allotted"]
            order = self.allotted(request.placed_at, allotted)
            try:
                run_parts(connection, {"order_id": self.order_part(request, order)})
            except psycopg.Error as error:
                if error.sqlstate != HAS_ITS_ORDER:
                    raise
                [row] = connection.execute(ORDER_BY_SESSION, (request.session_id,)).fetchall()
                return PlacedOrder(**row)
        return order

    def allotment_part(self, placed_at: datetime) -> Part:
        """Return the part of a read that draws id and number of an order; `allotted` reads its value."""
        return Part(ALLOT, (_day(placed_at),))

    def allotted(self, placed_at: datetime, value: Any) -> PlacedOrder:
        """Return the id and number that were drawn for an order of this moment. Both may stay unused."""
        order_id, number = value
        return PlacedOrder(order_id, order_number(_day(placed_at), number))

    def order_part(self, request: OrderRequest, order: PlacedOrder) -> Part:
        """Return the part of a write that makes the order, all or nothing.

        Its statement raises OrderRefused by REFUSALS, or fails with HAS_ITS_ORDER. Raises InvalidValue for a request
        without lines, and Erased if the buyer's data were erased after the payment.
        """
        if not request.lines:
            raise InvalidValue("An order needs at least one line.", code="CART_EMPTY")
        encrypted = self._vault.encrypt(
            request.user_id,
            json.dumps(dict(request.delivery_details), sort_keys=True),
            purpose=ORDER_DELIVERY,
            row=request.session_id,
        )
        values = (
            order.order_id,
            order.order_number,
            request.session_id,
            request.user_id,
            msgspec.json.encode(request.lines).decode(),
            request.delivery_fee_cents,
            request.total_cents,
            encrypted,
            request.placed_at,
        )
        return Part(PLACE, values, {state: partial(_refused, *what) for state, what in REFUSALS.items()})

    def rule_out_order(self, session_id: UUID, lines: Sequence[SnapshotLine]) -> PlacedOrder | None:
        """Promise that a session with these lines gets no order any more; return its order if it has one.

        Takes the same locks as the order would, so that of the two one wins.
        """
        with self._database.transaction() as connection:
            connection.execute(LOCK_LISTINGS, (list(_asked_by_listing(lines)),))
            row = connection.execute(ORDER_BY_SESSION, (session_id,)).fetchone()
            if row is None:
                connection.execute(RULE_OUT, (session_id, clock.now()))
        return PlacedOrder(**row) if row else None

    def return_goods(self, session_id: UUID) -> bool:
        """Put the goods of a session's order back on the shelf, once; return whether they were not there yet."""
        now = clock.now()
        with self._database.transaction() as connection:
            row = connection.execute(RETURN_ORDER, (now, session_id)).fetchone()
            if row is None:
                return False
            order_id = row["order_id"]
            listings = connection.execute(LISTINGS_OF_ORDER, (order_id,)).fetchall()
            connection.execute(LOCK_LISTINGS, ([line["listing_id"] for line in listings],))
            connection.execute(RESTOCK, {"order_id": order_id, "now": now})
        return True

    def order_of(self, user_id: int, order_id: int) -> Order | None:
        """Return the user's order, None if there is none or it is another user's."""
        with self._database.connection() as connection:
            row = connection.execute(ORDER_OF_USER, (order_id, user_id)).fetchone()
            items = connection.execute(ITEMS_OF_ORDER, (order_id,)).fetchall()
        return self._order(user_id, row, items) if row else None

    def order_by_session(self, session_id: UUID) -> PlacedOrder | None:
        """Return the order of a payment session, None if none was made."""
        with self._database.connection() as connection:
            row = connection.execute(ORDER_BY_SESSION, (session_id,)).fetchone()
        return PlacedOrder(**row) if row else None

    def _order(self, user_id: int, row: dict[str, Any], items: list[dict[str, Any]]) -> Order:
        details = self._details(user_id, row["session_id"], row.pop("sealed_delivery_details"))
        return Order(**row, items=tuple(OrderItem(**item) for item in items), delivery_details=details)

    def _details(self, user_id: int, session_id: UUID, encrypted: str) -> dict[str, object] | None:
        """Decrypt the delivery details; return None if the buyer's data were erased."""
        try:
            text = self._vault.decrypt(user_id, encrypted, purpose=ORDER_DELIVERY, row=session_id)
        except Erased:
            return None
        details: dict[str, object] = json.loads(text)
        return details


def order_number(day: date, number: int) -> str:
    """Return the order number: the day in Nairobi, and a counter that starts at 1 each day."""
    return f"ORD-{day:%Y%m%d}-{number:03d}"


def _asked_by_listing(lines: Sequence[SnapshotLine]) -> dict[int, int]:
    asked: Counter[int] = Counter()
    for line in lines:
        if line.listing_id is not None:
            asked[line.listing_id] += line.quantity_thousandths
    return dict(asked)


def _day(moment: datetime) -> date:
    return moment.astimezone(NAIROBI).date()


def _refused(code: str, sentence: str, error: psycopg.Error) -> OrderRefused:
    return OrderRefused(code, sentence.format(products=error.diag.message_detail))
