import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.errors import InvalidValue, NotFound, Rejected
from shop.builtin import BuiltinShop
from shop.builtin.carts import MAX_LINES
from shop.builtin.catalogue import ListingDraft
from shop.port import Cart
from tests.shop.conftest import EGGS, TOMATOES, change_listing, order_request, stock_of


def test_a_new_cart_is_empty(shop: BuiltinShop) -> None:
    assert shop.cart_of(1) == Cart()


def test_a_line_has_product_farm_price_and_weight(shop: BuiltinShop) -> None:
    [line] = shop.carts.put_line(1, TOMATOES, "2.5").lines
    assert (line.product_name, line.farm_name, line.unit_of_measure) == (
        "Fresh Tomatoes",
        "Green Valley Farm",
        "kg",
    )
    assert (line.quantity_thousandths, line.price_cents, line.subtotal_cents) == (2_500, 150_00, 375_00)
    assert line.weight_milligrams == 2_500_000


def test_putting_a_line_again_sets_its_quantity_and_keeps_its_id(shop: BuiltinShop) -> None:
    [first] = shop.carts.put_line(1, TOMATOES, "2").lines
    [second] = shop.carts.put_line(1, TOMATOES, "3").lines
    assert (second.cart_item_id, second.quantity_thousandths) == (first.cart_item_id, 3_000)


def test_a_line_keeps_its_price_until_it_is_put_again(shop: BuiltinShop) -> None:
    shop.carts.put_line(1, TOMATOES, "2")
    change_listing(shop, TOMATOES, price_cents=200_00)
    assert shop.cart_of(1).goods_cents == 300_00
    assert shop.carts.put_line(1, TOMATOES, "2").goods_cents == 400_00


def test_a_cart_takes_no_stock(shop: BuiltinShop) -> None:
    shop.carts.put_line(1, TOMATOES, "2")
    assert stock_of(shop, TOMATOES) == 10_000


def test_deleting_a_line_twice_is_the_same_as_once(shop: BuiltinShop) -> None:
    shop.carts.put_line(1, TOMATOES, "2")
    shop.carts.put_line(1, EGGS, "1")
    after_once = shop.carts.delete_line(1, TOMATOES)
    assert [line.listing_id for line in after_once.lines] == [EGGS]
    assert shop.carts.delete_line(1, TOMATOES) == after_once


def test_each_user_has_a_cart_of_their_own(shop: BuiltinShop) -> None:
    shop.carts.put_line(1, TOMATOES, "2")
    assert shop.carts.delete_line(2, TOMATOES) == Cart()
    assert len(shop.cart_of(1).lines) == 1


def test_a_listing_that_is_not_on_sale_cannot_be_put_into_a_cart(shop: BuiltinShop) -> None:
    change_listing(shop, EGGS, withdrawn=True)
    for listing_id in (EGGS, 999, 2**70):
        with pytest.raises(NotFound) as refused:
            shop.carts.put_line(1, listing_id, "1")
        assert refused.value.code == "LISTING_NOT_FOUND"


def test_a_tray_of_eggs_is_sold_whole(shop: BuiltinShop) -> None:
    with pytest.raises(InvalidValue):
        shop.carts.put_line(1, EGGS, "1.5")


def test_a_cart_takes_a_hundred_lines_even_if_they_come_at_once(shop: BuiltinShop) -> None:
    draft = ListingDraft("Green Valley Farm", "Kale", 10_00, "bunch", 100)
    for listing_id in range(1_000, 1_000 + MAX_LINES + 4):
        shop.catalogue.put(listing_id, draft)
    for listing_id in range(1_000, 1_000 + MAX_LINES - 1):
        shop.carts.put_line(1, listing_id, "1")
    gate = threading.Barrier(5)

    def put(listing_id: int) -> str:
        gate.wait(timeout=10)
        try:
            shop.carts.put_line(1, listing_id, "1")
        except Rejected as refusal:
            return refusal.code
        return "room"

    with ThreadPoolExecutor(5) as threads:
        outcomes = list(threads.map(put, range(1_000 + MAX_LINES - 1, 1_000 + MAX_LINES + 4)))
    assert sorted(outcomes) == ["CART_FULL"] * 4 + ["room"]
    assert len(shop.carts.put_line(1, 1_000, "9").lines) == MAX_LINES


def test_a_line_enlarged_during_its_order_gets_a_new_id(
    shop: BuiltinShop,
) -> None:
    for user_id in range(1, 9):
        request = order_request(shop, user_id, tomatoes="1")
        gate = threading.Barrier(2)

        def enlarge(user_id: int = user_id, gate: threading.Barrier = gate) -> None:
            gate.wait(timeout=10)
            shop.carts.put_line(user_id, TOMATOES, "3")

        with ThreadPoolExecutor(1) as threads:
            enlarged = threads.submit(enlarge)
            gate.wait(timeout=10)
            shop.create_order(request)
            enlarged.result(timeout=10)
        [line] = shop.cart_of(user_id).lines
        assert line.cart_item_id != request.lines[0].cart_item_id
        assert line.quantity_thousandths in (2_000, 3_000)
