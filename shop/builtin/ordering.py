"""Makes the orders of paid sessions: one transaction takes stock, cart lines and order number, or nothing.

All orders take their locks in the same sequence, so that they cannot deadlock: the listings by id, then the buyer's
cart lines, then the day's counter. The counter comes last because all orders of a day share it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection

from ledger import clock
from ledger.clock import NAIROBI
from ledger.errors import InvalidValue
from ledger.session.cart import SnapshotLine
from ledger.store.customer_keys import Erased
from ledger.store.database import Database
from ledger.store.parts import Part
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
    Shortage,
)

ORDER_DELIVERY = "delivery of an order"
"""The purpose of an order's encrypted delivery details, whose row is its session."""

# Changes of carts lock only the key of a listing, so FOR NO KEY UPDATE does not block them.
LOCK_LISTINGS = """
SELECT listing_id FROM shop_listings WHERE listing_id = ANY(%s) ORDER BY listing_id FOR NO KEY UPDATE
"""
# A row without an order is that of a session whose order was ruled out.
RIVAL_ORDERS = """
SELECT order_id, order_number, session_id FROM shop_orders WHERE session_id = %(session_id)s
UNION
SELECT NULL, NULL, session_id FROM shop_orders_ruled_out WHERE session_id = %(session_id)s
UNION
SELECT order_id, order_number, session_id FROM shop_orders JOIN shop_order_items USING (order_id)
 WHERE cart_item_id = ANY(%(cart_item_ids)s)
"""
TAKE_STOCK = """
UPDATE shop_listings l
   SET stock_thousandths = l.stock_thousandths - asked.thousandths
  FROM unnest(%s::bigint[], %s::bigint[]) AS asked (listing_id, thousandths)
 WHERE l.listing_id = asked.listing_id
   AND NOT l.withdrawn
   AND l.stock_thousandths >= asked.thousandths
"""
# A remainder keeps the price at which the line was put into the cart.
CLEAR_CART = """
WITH gone AS (
    DELETE FROM shop_cart_items c
     USING unnest(%s::bigint[], %s::bigint[]) AS bought (cart_item_id, thousandths)
     WHERE c.cart_item_id = bought.cart_item_id AND c.user_id = %s
    RETURNING c.user_id, c.listing_id, c.quantity_thousandths - bought.thousandths AS rest, c.price_cents
)
INSERT INTO shop_cart_items (user_id, listing_id, quantity_thousandths, price_cents)
SELECT user_id, listing_id, rest, price_cents FROM gone WHERE rest > 0
"""
NEXT_NUMBER = """
INSERT INTO shop_order_counters AS counter (day, last_number) VALUES (%s, 1)
ON CONFLICT (day) DO UPDATE SET last_number = counter.last_number + 1
RETURNING last_number
"""
INSERT_ORDER = """
INSERT INTO shop_orders (order_number, session_id, user_id, items_cents, delivery_fee_cents, rounding_cents,
                         total_cents, sealed_delivery_details, placed_at)
VALUES (%(order_number)s, %(session_id)s, %(user_id)s, %(items_cents)s, %(delivery_fee_cents)s,
        %(rounding_cents)s, %(total_cents)s, %(sealed_delivery_details)s, %(placed_at)s)
RETURNING order_id, order_number
"""
INSERT_ITEMS = """
INSERT INTO shop_order_items (order_id, cart_item_id, listing_id, product_name, farm_name, quantity_thousandths,
                              price_cents, subtotal_cents, unit_of_measure)
SELECT %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::bigint[], %s::bigint[],
                         %s::bigint[], %s::text[])
"""
AVAILABLE = """
SELECT listing_id, CASE WHEN withdrawn THEN 0 ELSE stock_thousandths END AS available, withdrawn
  FROM shop_listings
 WHERE listing_id = ANY(%s)
"""
# The same rows as one value; the ids are another part's.
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

    def shortages(self, lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
        """Return the listings that could not be sold now in these quantities; no stock is reserved."""
        with self._database.connection() as connection:
            return find_shortages(connection, lines)

    def stock_part(self, listing_ids: Part) -> Part:
        """Return the part of a statement that reads the stock of listings; their ids are the bigint[] of a part."""
        return Part(STOCK_PART.format(listing_ids=listing_ids.sql), listing_ids.values)

    def shortages_of(self, stock: str | None, lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
        """Return what is short for these lines of the stock that a `stock_part` read."""
        rows = msgspec.json.decode(stock) if stock else ()
        return _shortages(
            lines, {listing_id: (available, withdrawn) for listing_id, available, withdrawn in rows}
        )

    def create_order(self, request: OrderRequest) -> PlacedOrder:
        """Make the order of a paid session and take its stock, all or nothing, once for each session.

        Raises OrderRefused, InvalidValue for a request without lines, and Erased if the buyer's data were erased
        after the payment.
        """
        if not request.lines:
            raise InvalidValue("An order needs at least one line.", code="CART_EMPTY")
        encrypted = self._vault.encrypt(
            request.user_id,
            json.dumps(dict(request.delivery_details), sort_keys=True),
            purpose=ORDER_DELIVERY,
            row=request.session_id,
        )
        with self._database.transaction() as connection:
            return place_order(connection, request, encrypted)

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


def place_order(connection: Connection[Any], request: OrderRequest, sealed_details: str) -> PlacedOrder:
    """Make the order inside the caller's transaction, or return the one that the session already has.

    Raises OrderRefused; the caller must roll back then.
    """
    asked = _asked_by_listing(request.lines)
    connection.execute(LOCK_LISTINGS, (list(asked),))
    earlier = _earlier_order(connection, request)
    if earlier is not None:
        return earlier
    taken = connection.execute(TAKE_STOCK, (list(asked), list(asked.values())))
    if taken.rowcount != len(asked):
        raise _refusal(find_shortages(connection, request.lines))
    cart_item_ids = [line.cart_item_id for line in request.lines]
    quantities = [line.quantity_thousandths for line in request.lines]
    connection.execute(CLEAR_CART, (cart_item_ids, quantities, request.user_id))
    return _write_down(connection, request, sealed_details)


def find_shortages(connection: Connection[Any], lines: Sequence[SnapshotLine]) -> tuple[Shortage, ...]:
    """Return the listings whose stock is less than the lines ask for."""
    rows = connection.execute(AVAILABLE, (list(_asked_by_listing(lines)),)).fetchall()
    return _shortages(lines, {row["listing_id"]: (row["available"], row["withdrawn"]) for row in rows})


def _shortages(lines: Sequence[SnapshotLine], stock: Mapping[int, tuple[int, bool]]) -> tuple[Shortage, ...]:
    names = {line.listing_id: line.product_name for line in lines}
    found = []
    for listing_id, thousandths in _asked_by_listing(lines).items():
        available, withdrawn = stock.get(listing_id, (0, True))
        if available < thousandths:
            found.append(Shortage(listing_id, names[listing_id], thousandths, available, withdrawn))
    return tuple(found)


def order_number(day: date, number: int) -> str:
    """Return the order number: the day in Nairobi, and a counter that starts at 1 each day."""
    return f"ORD-{day:%Y%m%d}-{number:03d}"


def _asked_by_listing(lines: Sequence[SnapshotLine]) -> dict[int, int]:
    asked: Counter[int] = Counter()
    for line in lines:
        if line.listing_id is not None:
            asked[line.listing_id] += line.quantity_thousandths
    return dict(asked)


def _earlier_order(connection: Connection[Any], request: OrderRequest) -> PlacedOrder | None:
    """Return the session's order; raise OrderRefused if it is ruled out, or another session has bought its lines.

    The listings are locked, and a rival for the same lines locks the same listings, so this check cannot race.
    """
    cart_item_ids = [line.cart_item_id for line in request.lines]
    rivals = connection.execute(
        RIVAL_ORDERS, {"session_id": request.session_id, "cart_item_ids": cart_item_ids}
    ).fetchall()
    for row in rivals:
        if row["session_id"] == request.session_id:
            if row["order_id"] is None:
                raise OrderRefused(ORDER_NOT_MADE, "This order was given up; the payment goes back.")
            return PlacedOrder(row["order_id"], row["order_number"])
    if rivals:
        raise OrderRefused(CART_ALREADY_BOUGHT, "These goods have already been bought with another payment.")
    return None


def _refusal(shortages: tuple[Shortage, ...]) -> OrderRefused:
    names = ", ".join(shortage.product_name for shortage in shortages)
    if any(shortage.withdrawn for shortage in shortages):
        return OrderRefused(LISTING_WITHDRAWN, f"No longer on sale, or not enough left: {names}.")
    return OrderRefused(OUT_OF_STOCK, f"There is not enough left of: {names}.")


def _write_down(connection: Connection[Any], request: OrderRequest, sealed_details: str) -> PlacedOrder:
    day = request.placed_at.astimezone(NAIROBI).date()
    [counted] = connection.execute(NEXT_NUMBER, (day,)).fetchall()
    items_cents = sum(line.subtotal_cents for line in request.lines)
    values = {
        "order_number": order_number(day, counted["last_number"]),
        "session_id": request.session_id,
        "user_id": request.user_id,
        "items_cents": items_cents,
        "delivery_fee_cents": request.delivery_fee_cents,
        "rounding_cents": request.total_cents - items_cents - request.delivery_fee_cents,
        "total_cents": request.total_cents,
        "sealed_delivery_details": sealed_details,
        "placed_at": request.placed_at,
    }
    [order] = connection.execute(INSERT_ORDER, values).fetchall()
    connection.execute(INSERT_ITEMS, (order["order_id"], *_columns(request.lines)))
    return PlacedOrder(**order)


def _columns(lines: Sequence[SnapshotLine]) -> tuple[list[Any], ...]:
    return (
        [line.cart_item_id for line in lines],
        [line.listing_id for line in lines],
        [line.product_name for line in lines],
        [line.farm_name for line in lines],
        [line.quantity_thousandths for line in lines],
        [line.price_cents for line in lines],
        [line.subtotal_cents for line in lines],
        [line.unit_of_measure for line in lines],
    )
