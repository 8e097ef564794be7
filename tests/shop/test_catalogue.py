import pytest
from freezegun import freeze_time

from ledger.errors import InvalidValue, NotFound
from ledger.store.database import Database
from shop.builtin import BuiltinShop
from shop.builtin.catalogue import ListingDraft
from tests.shop.conftest import EGGS, POTATOES, TOMATOES, change_listing, order_request, set_stock, stock_of

KALE = ListingDraft("Green Valley Farm", "Kale", 30_00, "bunch", 400, stock_thousandths=5_000)


def test_an_operator_creates_a_listing(shop: BuiltinShop) -> None:
    made, is_new = shop.catalogue.put(7, KALE)
    assert is_new
    assert shop.catalogue.get(7) == made
    assert (made.product_name, made.price_cents, made.stock_thousandths) == ("Kale", 30_00, 5_000)


def test_putting_the_same_listing_again_changes_nothing(shop: BuiltinShop) -> None:
    made, _ = shop.catalogue.put(7, KALE)
    assert shop.catalogue.put(7, KALE) == (made, False)


def test_a_change_of_price_does_not_change_the_stock(shop: BuiltinShop) -> None:
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    change_listing(shop, TOMATOES, price_cents=180_00)
    assert stock_of(shop, TOMATOES) == 8_000


def test_a_stock_set_by_an_operator_is_recorded_as_its_difference(
    shop: BuiltinShop, database: Database
) -> None:
    shop.create_order(order_request(shop, 1, tomatoes="2"))
    with freeze_time("2024-01-15T10:30:00Z"):
        set_stock(shop, TOMATOES, 3_000)
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT change_thousandths, changed_by FROM shop_stock_changes WHERE listing_id = %s"
            " ORDER BY stock_change_id",
            (TOMATOES,),
        ).fetchall()
        [latest] = connection.execute(
            "SELECT max(changed_at)::date::text AS day FROM shop_stock_changes WHERE change_thousandths < 0"
        ).fetchall()
    assert [(row["change_thousandths"], row["changed_by"]) for row in rows] == [(10_000, 99), (-5_000, None)]
    assert latest["day"] == "2024-01-15"


def test_the_catalogue_has_pages_without_withdrawn_listings(shop: BuiltinShop) -> None:
    change_listing(shop, EGGS, withdrawn=True)
    first, second = shop.catalogue.page(1, 1), shop.catalogue.page(2, 1)
    assert (first.count, second.count) == (2, 2)
    assert [page.listings[0].listing_id for page in (first, second)] == [TOMATOES, POTATOES]
    assert shop.catalogue.page(3, 1).listings == ()


@pytest.mark.parametrize(("number", "size"), [(0, 0), (-5, -1), (1, 10**9)])
def test_pages_out_of_range_are_brought_within_bounds(shop: BuiltinShop, number: int, size: int) -> None:
    assert shop.catalogue.page(number, size).count == 3


def test_a_withdrawn_listing_can_still_be_read(shop: BuiltinShop) -> None:
    change_listing(shop, EGGS, withdrawn=True)
    assert shop.catalogue.get(EGGS).withdrawn


def test_an_unknown_listing_is_not_found(shop: BuiltinShop) -> None:
    with pytest.raises(NotFound):
        shop.catalogue.get(8)


@pytest.mark.parametrize("listing_id", [0, -1, 2**53])
def test_a_listing_id_is_a_positive_number_that_json_can_carry(shop: BuiltinShop, listing_id: int) -> None:
    with pytest.raises(InvalidValue) as refused:
        shop.catalogue.put(listing_id, KALE)
    assert list(refused.value.errors) == ["listing_id"]


def test_all_errors_of_a_listing_come_at_once() -> None:
    with pytest.raises(InvalidValue) as refused:
        ListingDraft(" ", "Ka\x00le", 0, "b" * 21, -1, stock_thousandths=-1)
    assert sorted(refused.value.errors) == [
        "farm_name",
        "price",
        "product_name",
        "stock",
        "unit_of_measure",
        "unit_weight_grams",
    ]
