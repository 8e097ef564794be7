import psycopg
import pytest
from psycopg.rows import dict_row

from ledger.store.database import Database
from shop.builtin import BuiltinShop
from shop.invariants import check
from tests.shop.conftest import order_request


def violations_after(database: Database, *statements: str) -> list[str]:
    """Tamper with the tables as their owner in a transaction that is rolled back; return the violations."""
    with (
        psycopg.connect(database.url, row_factory=dict_row) as connection,
        connection.transaction(force_rollback=True),
    ):
        for statement in statements:
            connection.execute(statement)
        return check(connection)


def test_a_shop_with_orders_has_no_violations(shop: BuiltinShop, database: Database) -> None:
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    shop.create_order(order_request(shop, 2, tomatoes="0.333", eggs="1"))
    with database.connection() as connection:
        assert check(connection) == []


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        (
            "UPDATE shop_listings SET stock_thousandths = 9000 WHERE listing_id = 123",
            "stocked minus sold is 8000",
        ),
        ("DELETE FROM shop_stock_changes", "stocked minus sold is"),
        ("UPDATE shop_order_items SET subtotal_cents = subtotal_cents + 1", "not price times quantity"),
        ("DELETE FROM shop_order_items", "does not add up"),
        ("UPDATE shop_orders SET order_number = 'ORD-20240116-001'", "not its day in Nairobi"),
        ("UPDATE shop_orders SET placed_at = placed_at + interval '1 day'", "not its day in Nairobi"),
        (
            "INSERT INTO shop_cart_items (cart_item_id, user_id, listing_id, quantity_thousandths, price_cents)"
            " OVERRIDING SYSTEM VALUE SELECT cart_item_id, 5, listing_id, 1, 1 FROM shop_order_items",
            "still in a cart",
        ),
    ],
)
def test_tampering_is_a_violation(
    shop: BuiltinShop, database: Database, statement: str, expected: str
) -> None:
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    assert any(expected in violation for violation in violations_after(database, statement))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shop_listings SET stock_thousandths = -1",
        "UPDATE shop_orders SET total_cents = total_cents + 1",
        "UPDATE shop_orders SET rounding_cents = 51, total_cents = total_cents + 51",
    ],
)
def test_check_constraints_refuse_impossible_values(
    shop: BuiltinShop, database: Database, statement: str
) -> None:
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    with pytest.raises(Exception, match="violates check constraint"):
        violations_after(database, statement)
