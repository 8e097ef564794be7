from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from ledger.errors import InvalidValue
from ledger.store.database import Database
from ledger.store.parts import run_parts
from ledger.store.vault import Vault
from shop.builtin import BuiltinShop
from shop.builtin.ordering import order_number
from shop.port import OrderRefused, PlacedOrder, Shortage
from tests.shop.conftest import (
    DETAILS,
    EGGS,
    MASTER_KEY,
    PLACED_AT,
    POTATOES,
    TOMATOES,
    change_listing,
    for_another_session,
    id_of,
    open_shop,
    order_request,
    request_for,
    set_stock,
    stock_of,
)


def test_an_order_takes_the_stock_and_the_lines_of_the_cart(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2", eggs="1")
    placed = shop.create_order(request)
    assert placed.order_number == "ORD-20240115-001"
    assert (stock_of(shop, TOMATOES), stock_of(shop, EGGS), stock_of(shop, POTATOES)) == (
        8_000,
        9_000,
        10_000,
    )
    assert shop.cart_of(1).lines == ()


def test_an_order_shows_its_items_and_its_totals_to_the_cent(shop: BuiltinShop) -> None:
    placed = shop.create_order(order_request(shop, 1, tomatoes="2"))
    order = shop.order_of(1, id_of(placed))
    assert order is not None
    assert (order.items_cents, order.delivery_fee_cents, order.rounding_cents, order.total_cents) == (
        300_00,
        50_00,
        0,
        350_00,
    )
    assert (order.order_status, order.payment_status) == ("confirmed", "paid")
    assert order.placed_at == PLACED_AT
    assert order.delivery_details == DETAILS
    [item] = order.items
    assert (item.listing_id, item.product_name, item.quantity_thousandths) == (
        TOMATOES,
        "Fresh Tomatoes",
        2_000,
    )
    assert (item.price_cents, item.subtotal_cents, item.unit_of_measure) == (150_00, 300_00, "kg")


def test_the_rounding_to_the_shilling_is_recorded(shop: BuiltinShop) -> None:
    change_listing(shop, TOMATOES, price_cents=99_99)
    placed = shop.create_order(order_request(shop, 1, tomatoes="0.333"))
    order = shop.order_of(1, id_of(placed))
    assert order is not None
    assert (order.items_cents, order.rounding_cents, order.total_cents) == (33_30, -30, 83_00)


def test_an_order_is_shown_to_its_buyer_only(shop: BuiltinShop) -> None:
    placed = shop.create_order(order_request(shop, 1, tomatoes="2"))
    assert shop.order_of(2, id_of(placed)) is None
    assert shop.order_of(1, id_of(placed) + 1) is None


def test_delivery_details_are_not_in_the_table_in_the_clear(shop: BuiltinShop, database: Database) -> None:
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    with database.connection() as connection:
        text = str(connection.execute("SELECT * FROM shop_orders").fetchall())
    assert "John Doe" not in text
    assert "Main Street" not in text


def test_an_erased_buyers_order_remains_without_delivery_details(
    shop: BuiltinShop, database: Database
) -> None:
    placed = shop.create_order(order_request(shop, 1, tomatoes="2"))
    Vault(database, MASTER_KEY).erase(1)
    order = open_shop(database).order_of(1, id_of(placed))
    assert order is not None
    assert order.delivery_details is None
    assert order.total_cents == 350_00


def test_a_repeat_for_the_same_session_is_the_same_order(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    first = shop.create_order(request)
    assert shop.create_order(request) == first
    assert shop.order_by_session(request.session_id) == first
    assert stock_of(shop, TOMATOES) == 8_000


def test_a_repeat_is_the_same_order_even_if_the_stock_is_gone(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    first = shop.create_order(request)
    change_listing(shop, TOMATOES, stock_thousandths=0, withdrawn=True)
    assert shop.create_order(request) == first


def test_a_session_without_an_order_has_none(shop: BuiltinShop) -> None:
    assert shop.order_by_session(uuid4()) is None


def test_a_cart_line_is_bought_once_over_all_sessions(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    shop.create_order(request)
    with pytest.raises(OrderRefused) as refused:
        shop.create_order(for_another_session(request))
    assert refused.value.code == "CART_ALREADY_BOUGHT"
    assert stock_of(shop, TOMATOES) == 8_000


def test_a_bought_cart_is_refused_as_bought_even_if_it_took_the_last_stock(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="10")
    shop.create_order(request)
    with pytest.raises(OrderRefused) as refused:
        shop.create_order(for_another_session(request))
    assert refused.value.code == "CART_ALREADY_BOUGHT"


def test_an_order_that_cannot_be_filled_changes_nothing(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2", eggs="3")
    set_stock(shop, EGGS, 2_000)
    with pytest.raises(OrderRefused) as refused:
        shop.create_order(request)
    assert refused.value.code == "OUT_OF_STOCK"
    assert "Kienyeji Eggs" in refused.value.message
    assert "Fresh Tomatoes" not in refused.value.message
    assert (stock_of(shop, TOMATOES), stock_of(shop, EGGS)) == (10_000, 2_000)
    assert tuple(line.snapshot for line in shop.cart_of(1).lines) == request.lines
    assert shop.order_by_session(request.session_id) is None


def test_a_refused_order_leaves_a_gap_and_no_number_is_given_twice(shop: BuiltinShop) -> None:
    first = shop.create_order(order_request(shop, 1, tomatoes="1"))
    with pytest.raises(OrderRefused):
        shop.create_order(order_request(shop, 2, tomatoes="11"))
    third = shop.create_order(order_request(shop, 3, tomatoes="1"))
    assert (first.order_number, third.order_number) == ("ORD-20240115-001", "ORD-20240115-003")
    assert id_of(third) > id_of(first)


def test_a_day_that_the_release_before_has_counted_goes_on_after_its_last_number(
    shop: BuiltinShop, database: Database
) -> None:
    with psycopg.connect(database.url) as owner:
        owner.execute("ALTER TABLE shop_order_counters DISABLE TRIGGER USER")
        owner.execute("INSERT INTO shop_order_counters (day, last_number) VALUES ('2024-01-15', 41)")
    orders = [shop.create_order(order_request(shop, user, tomatoes="1")) for user in (1, 2)]
    assert [order.order_number for order in orders] == ["ORD-20240115-042", "ORD-20240115-043"]


def test_an_order_reads_by_keys_however_little_was_sold_when_it_was_planned(
    shop: BuiltinShop, database: Database
) -> None:
    request = order_request(shop, 1, tomatoes="2", eggs="1")
    with database.transaction() as connection:
        found = run_parts(connection, {"allotted": shop.allotment_part(PLACED_AT)})
        placed = shop.allotted(PLACED_AT, found["allotted"])
        scanned = (
            "SELECT relname, seq_scan FROM pg_stat_xact_user_tables WHERE relname ~ '^shop_' ORDER BY relname"
        )
        before = connection.execute(scanned).fetchall()
        run_parts(connection, {"order_id": shop.order_part(request, placed)})
        assert connection.execute(scanned).fetchall() == before


def test_the_first_orders_of_a_day_drawn_at_once_have_numbers_of_their_own(
    shop: BuiltinShop, database: Database
) -> None:
    def draw(_: int) -> PlacedOrder:
        with database.connection() as connection:
            found = run_parts(connection, {"allotted": shop.allotment_part(PLACED_AT)})
        return shop.allotted(PLACED_AT, found["allotted"])

    with ThreadPoolExecutor(8) as pool:
        drawn = list(pool.map(draw, range(24)))
    assert len({order.order_number for order in drawn}) == len({order.order_id for order in drawn}) == 24
    assert min(order.order_number for order in drawn) >= "ORD-20240115-001"


def test_a_listing_withdrawn_after_the_snapshot_is_refused(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    change_listing(shop, TOMATOES, withdrawn=True)
    with pytest.raises(OrderRefused) as refused:
        shop.create_order(request)
    assert refused.value.code == "LISTING_WITHDRAWN"


def test_an_order_without_lines_is_refused(shop: BuiltinShop) -> None:
    with pytest.raises(InvalidValue):
        shop.create_order(request_for(shop, 1))


def test_the_price_of_the_snapshot_counts(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    change_listing(shop, TOMATOES, price_cents=999_00)
    placed = shop.create_order(request)
    order = shop.order_of(1, id_of(placed))
    assert order is not None
    assert order.items_cents == 300_00


def test_an_item_added_after_the_snapshot_stays_in_the_cart(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    shop.carts.put_line(1, EGGS, "1")
    shop.create_order(request)
    assert [(line.listing_id, line.quantity_thousandths) for line in shop.cart_of(1).lines] == [(EGGS, 1_000)]


def test_a_line_that_grew_keeps_the_difference_and_can_be_bought(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    shop.carts.put_line(1, TOMATOES, "5")
    shop.create_order(request)
    [rest] = shop.cart_of(1).lines
    assert rest.quantity_thousandths == 3_000
    assert rest.cart_item_id != request.lines[0].cart_item_id
    shop.create_order(request_for(shop, 1))
    assert stock_of(shop, TOMATOES) == 5_000


def test_a_line_that_shrank_is_bought_in_the_paid_quantity(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="5")
    shop.carts.put_line(1, TOMATOES, "1")
    shop.create_order(request)
    assert shop.cart_of(1).lines == ()
    assert stock_of(shop, TOMATOES) == 5_000


def test_a_line_removed_after_the_snapshot_is_still_ordered(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    shop.carts.delete_line(1, TOMATOES)
    shop.create_order(request)
    assert stock_of(shop, TOMATOES) == 8_000


def test_a_line_taken_out_and_put_back_is_a_new_line(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="2")
    shop.carts.delete_line(1, TOMATOES)
    shop.carts.put_line(1, TOMATOES, "1")
    shop.create_order(request)
    assert [line.quantity_thousandths for line in shop.cart_of(1).lines] == [1_000]


def test_another_buyers_cart_is_left_alone(shop: BuiltinShop) -> None:
    theirs = order_request(shop, 2, tomatoes="1")
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    assert tuple(line.snapshot for line in shop.cart_of(2).lines) == theirs.lines


def test_order_numbers_carry_the_day_in_nairobi(shop: BuiltinShop) -> None:
    for user_id in (1, 2, 3):
        order_request(shop, user_id, tomatoes="1")
    before = datetime(2024, 1, 15, 20, 59, 59, tzinfo=UTC)
    after = datetime(2024, 1, 15, 21, 0, 0, tzinfo=UTC)
    numbers = [
        shop.create_order(request_for(shop, user_id, placed_at)).order_number
        for user_id, placed_at in ((1, before), (2, after), (3, after))
    ]
    assert numbers == ["ORD-20240115-001", "ORD-20240116-001", "ORD-20240116-002"]


def test_a_day_may_have_more_than_999_orders() -> None:
    assert order_number(PLACED_AT.date(), 999) == "ORD-20240115-999"
    assert order_number(PLACED_AT.date(), 1_000) == "ORD-20240115-1000"


def test_shortages_name_listings_that_are_short_missing_or_withdrawn(shop: BuiltinShop) -> None:
    request = order_request(shop, 1, tomatoes="10", eggs="3", potatoes="1")
    assert shop.shortages(request) == ()
    set_stock(shop, EGGS, 2_000)
    change_listing(shop, POTATOES, withdrawn=True)
    assert shop.shortages(request) == (
        Shortage(EGGS, "Kienyeji Eggs", 3_000, 2_000),
        Shortage(POTATOES, "Irish Potatoes", 1_000, 0, withdrawn=True),
    )
