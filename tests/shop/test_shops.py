"""Which shop makes the order of a session, and an order that no shop makes."""

from uuid import uuid4

import pytest

from ledger.errors import Rejected, Unavailable
from ledger.session.values import BUILTIN_SHOP, NO_SHOP
from shop.builtin import BuiltinShop
from shop.port import OrderRequest, PlacedOrder, Shop
from shop.shops import Shops
from shop.without import NoShop
from tests.shop.conftest import DETAILS, PLACED_AT
from tests.support.checkouts import new_session


def request(reference: str | None) -> OrderRequest:
    return OrderRequest(uuid4(), 7, (), 350_00, 0, DETAILS, PLACED_AT, reference=reference)


@pytest.fixture
def shops(shop: BuiltinShop) -> Shops:
    return Shops({BUILTIN_SHOP: shop, NO_SHOP: NoShop()})


def test_carts_are_the_built_in_shop_s_and_checkouts_nobody_s(shops: Shops, shop: BuiltinShop) -> None:
    assert shops.named(shops.for_carts) is shop
    assert isinstance(shops.named(shops.for_checkouts), NoShop)
    assert shops.local is shop


def test_nothing_is_read_of_a_shop_before_a_command_knows_that_it_is_the_session_s(shop: BuiltinShop) -> None:
    shops = Shops({BUILTIN_SHOP: shop, NO_SHOP: NoShop()}, for_carts=NO_SHOP)
    assert shops.local is None
    assert shops.named(new_session().shop) is shop


def test_a_shop_that_the_settings_do_not_name_is_unavailable_and_says_what_is_missing(shops: Shops) -> None:
    with pytest.raises(Unavailable, match="DAFTARI_SHOP_URL") as caught:
        shops.named("http")
    assert caught.value.code == "SHOP_NOT_CONFIGURED"


@pytest.mark.parametrize(
    "reference",
    [
        "INV-2026-17",
        "invoice 17",
        "A0712345678",
        "0812345678",
        "01-2026-0001",
        "6fa1b2c8-0712-4345-a678-0712345678ab",
    ],
)
def test_an_order_without_a_shop_is_called_what_its_server_calls_it(reference: str) -> None:
    assert NoShop().create_order(request(reference)) == PlacedOrder(None, reference)


@pytest.mark.parametrize(
    "reference",
    [
        None,
        "0712345678",
        "of +254712345678",
        "254112345678",
        "0712 345 678",
        "+254 712-345-678",
        "fees-0712345678",
    ],
)
def test_it_is_called_by_its_session_where_there_is_no_reference_or_one_with_a_phone(
    reference: str | None,
) -> None:
    wanted = request(reference)
    assert NoShop().create_order(wanted) == PlacedOrder(None, str(wanted.session_id))


def test_where_there_is_no_shop_there_are_no_carts_and_no_goods() -> None:
    shop: Shop = NoShop()
    with pytest.raises(Rejected, match="NO_CARTS"):
        shop.quote(7, 1, 5)
    assert shop.shortages(request(None)) == ()
    assert shop.unknown_place(99, 1) is None
    assert shop.rule_out_order(uuid4(), ()) is None
    assert shop.return_goods(uuid4()) is False
    assert shop.order_by_session(uuid4()) is None
    assert shop.order_of(7, 1) is None
