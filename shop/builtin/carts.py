"""The carts of buyers: at most one line for each listing, at most a hundred lines."""

from collections.abc import Sequence
from typing import Any

import msgspec

from ledger.errors import Rejected
from ledger.store.connection import Connection
from ledger.store.database import Database
from ledger.store.parts import Part, run_parts
from shop.builtin.catalogue import no_such_listing
from shop.port import Cart, CartLine, Shortage
from shop.quantities import parse_quantity, require_price

MAX_LINES = 100

_COLUMNS = (
    "cart_item_id", "listing_id", "product_name", "farm_name", "quantity_thousandths", "price_cents",
    "unit_of_measure", "unit_weight_grams", "stock_thousandths", "withdrawn",
)  # fmt: skip
LINES_PART = """(
    SELECT json_agg(json_build_array(
        c.cart_item_id, c.listing_id, l.product_name, l.farm_name, c.quantity_thousandths, c.price_cents,
        l.unit_of_measure, l.unit_weight_grams, l.stock_thousandths, l.withdrawn
    ) ORDER BY c.cart_item_id)::text
      FROM shop_cart_items c
      JOIN shop_listings l USING (listing_id)
     WHERE c.user_id = %s
)"""
LISTING_ON_SALE = (
    "SELECT unit_of_measure, price_cents FROM shop_listings WHERE listing_id = %s AND NOT withdrawn"
)
LOCK_CART = "SELECT pg_advisory_xact_lock(hashtextextended('shop cart ' || %s::text, 0))"
COUNT_OTHER_LINES = "SELECT count(*) AS count FROM shop_cart_items WHERE user_id = %s AND listing_id <> %s"
PUT_LINE = """
INSERT INTO shop_cart_items (user_id, listing_id, quantity_thousandths, price_cents)
VALUES (%s, %s, %s, %s)
ON CONFLICT (user_id, listing_id)
DO UPDATE SET quantity_thousandths = excluded.quantity_thousandths, price_cents = excluded.price_cents
"""
DELETE_LINE = "DELETE FROM shop_cart_items WHERE user_id = %s AND listing_id = %s"


class Carts:
    """The carts of all users; every user has one."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, user_id: int) -> Cart:
        """Return the user's cart, empty if there is nothing in it."""
        return self.with_shortages(user_id)[0]

    def with_shortages(self, user_id: int) -> tuple[Cart, tuple[Shortage, ...]]:
        """Return the user's cart, and its lines that could not be sold now."""
        with self._database.connection() as connection:
            return _read(connection, user_id)

    def put_line(self, user_id: int, listing_id: int, quantity: object) -> Cart:
        """Set the quantity of a listing in the cart, at its current price; return the whole cart.

        `quantity` is decimal text such as "2" or "0.5". Raises InvalidValue for a quantity that cannot be sold,
        NotFound for a listing that is not on sale, Rejected CART_FULL beyond MAX_LINES lines.
        """
        with self._database.transaction() as connection:
            listing = connection.execute(LISTING_ON_SALE, (listing_id,)).fetchone()
            if listing is None:
                raise no_such_listing()
            thousandths = parse_quantity(quantity, listing["unit_of_measure"])
            require_price(listing["price_cents"], thousandths)
            _refuse_a_full_cart(connection, user_id, listing_id)
            connection.execute(PUT_LINE, (user_id, listing_id, thousandths, listing["price_cents"]))
            return _read(connection, user_id)[0]

    def delete_line(self, user_id: int, listing_id: int) -> Cart:
        """Remove a listing from the cart, if it is there; return the whole cart."""
        with self._database.transaction() as connection:
            connection.execute(DELETE_LINE, (user_id, listing_id))
            return _read(connection, user_id)[0]


def _read(connection: Connection, user_id: int) -> tuple[Cart, tuple[Shortage, ...]]:
    return cart_of(run_parts(connection, {"cart": cart_part(user_id)})["cart"])


def cart_part(user_id: int) -> Part:
    """Return the part of a statement that reads the user's cart; `cart_of` knows its value."""
    return Part(LINES_PART, (user_id,))


def cart_of(value: str | None) -> tuple[Cart, tuple[Shortage, ...]]:
    """Return, of the value of a `cart_part`, the cart, and its lines that could not be sold then."""
    rows = [dict(zip(_COLUMNS, line, strict=True)) for line in (msgspec.json.decode(value) if value else ())]
    return _cart(rows), tuple(shortage for row in rows if (shortage := _shortage(row)))


def _cart(rows: Sequence[dict[str, Any]]) -> Cart:
    names = CartLine.__match_args__
    return Cart(tuple(CartLine(*(row[name] for name in names)) for row in rows))


def _shortage(row: dict[str, Any]) -> Shortage | None:
    """Return the shortage of a line; a cart has at most one line for each listing."""
    available = 0 if row["withdrawn"] else row["stock_thousandths"]
    asked = row["quantity_thousandths"]
    if available >= asked:
        return None
    return Shortage(row["listing_id"], row["product_name"], asked, available, row["withdrawn"])


def _refuse_a_full_cart(connection: Connection, user_id: int, listing_id: int) -> None:
    """Count under a lock on the cart, because two concurrent lines would each see room for one."""
    connection.execute(LOCK_CART, (user_id,))
    [others] = connection.execute(COUNT_OTHER_LINES, (user_id, listing_id)).fetchall()
    if others["count"] >= MAX_LINES:
        raise Rejected("CART_FULL", f"A cart holds at most {MAX_LINES} products. Take one out first.")
