"""The invariants of the built-in shop's tables, as SQL."""

from typing import Any

from psycopg import Connection

NEGATIVE_STOCK = """
SELECT format('listing %s has a stock below zero', listing_id)
  FROM shop_listings WHERE stock_thousandths < 0
"""
UNEXPLAINED_STOCK = """
SELECT format('listing %s holds %s thousandths; stocked minus sold is %s', listing_id, stock_thousandths, expected)
  FROM (SELECT l.listing_id, l.stock_thousandths,
               coalesce(stocked.thousandths, 0) - coalesce(sold.thousandths, 0) AS expected
          FROM shop_listings l
          LEFT JOIN (SELECT listing_id, sum(change_thousandths) AS thousandths
                       FROM shop_stock_changes GROUP BY listing_id) AS stocked USING (listing_id)
          LEFT JOIN (SELECT listing_id, sum(quantity_thousandths) AS thousandths
                       FROM shop_order_items GROUP BY listing_id) AS sold USING (listing_id)) AS stock
 WHERE stock_thousandths <> expected
"""
# round() of a numeric rounds half away from zero, which for prices is half up.
WRONG_SUBTOTAL = """
SELECT format('cart item %s was sold at a subtotal that is not price times quantity', cart_item_id)
  FROM shop_order_items
 WHERE subtotal_cents <> round(price_cents::numeric * quantity_thousandths / 1000)
"""
WRONG_TOTAL = """
SELECT format('order %s does not add up: items + delivery + rounding = total', order_id)
  FROM shop_orders
  LEFT JOIN (SELECT order_id, sum(subtotal_cents) AS subtotals_cents
               FROM shop_order_items GROUP BY order_id) AS items USING (order_id)
 WHERE items_cents IS DISTINCT FROM subtotals_cents
    OR total_cents <> items_cents + delivery_fee_cents + rounding_cents
    OR rounding_cents NOT BETWEEN -50 AND 50
"""
TWO_ORDERS = """
SELECT format('session %s has %s orders', session_id, count(*))
  FROM shop_orders GROUP BY session_id HAVING count(*) > 1
"""
BOUGHT_TWICE = """
SELECT format('cart item %s was bought %s times', cart_item_id, count(*))
  FROM shop_order_items GROUP BY cart_item_id HAVING count(*) > 1
"""
STILL_IN_CART = """
SELECT format('cart item %s was bought and is still in a cart', cart_item_id)
  FROM shop_cart_items JOIN shop_order_items USING (cart_item_id)
"""
WRONG_DAY = """
SELECT format('order %s is numbered %s, which is not its day in Nairobi', order_id, order_number)
  FROM shop_orders
 WHERE order_number NOT LIKE to_char(placed_at AT TIME ZONE 'Africa/Nairobi', '"ORD-"YYYYMMDD"-%"')
"""
RULES = (
    NEGATIVE_STOCK,
    UNEXPLAINED_STOCK,
    WRONG_SUBTOTAL,
    WRONG_TOTAL,
    TWO_ORDERS,
    BOUGHT_TWICE,
    STILL_IN_CART,
    WRONG_DAY,
)


def check(connection: Connection[Any]) -> list[str]:
    """Return a sentence for each violation; reads only.

    While orders are being made, the caller must open a REPEATABLE READ transaction, so that all rules see the same
    state.
    """
    rows = [row for rule in RULES for row in connection.execute(rule)]
    return [str(row["format"]) for row in rows]
