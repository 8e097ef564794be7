from itertools import islice
from uuid import uuid4

from ledger.store.database import Database
from shop.demo import LISTINGS, TOMATOES, Buyer, demo_data, make_buyers
from shop.port import Sale
from tests.shop.conftest import open_shop, request_for


def test_the_demo_has_farms_listings_and_a_buyer_with_a_cart(database: Database) -> None:
    assert demo_data(database) == [Buyer(1, 1, 5)]
    shop = open_shop(database)
    page = shop.catalogue.page(1, 100)
    assert page.count == len(LISTINGS)
    assert len({listing.farm_name for listing in page.listings}) == 6
    lines = shop.cart_of(1).lines
    assert (lines[0].listing_id, lines[0].quantity_thousandths, len(lines)) == (TOMATOES, 2_000, 3)
    assert shop.shortages(Sale(uuid4(), 1, tuple(line.snapshot for line in lines))) == ()


def test_a_second_call_changes_nothing(database: Database) -> None:
    demo_data(database, users=3)
    shop = open_shop(database)
    before = (shop.catalogue.page(1, 100), [shop.cart_of(user_id) for user_id in (1, 2, 3)])
    demo_data(database, users=3)
    once_more = (shop.catalogue.page(1, 100), [shop.cart_of(user_id) for user_id in (1, 2, 3)])
    assert once_more[1] == before[1]
    assert [listing.price_cents for listing in once_more[0].listings] == [
        listing.price_cents for listing in before[0].listings
    ]


def test_a_second_call_refills_a_cart_that_was_bought(database: Database) -> None:
    demo_data(database)
    shop = open_shop(database)
    shop.create_order(request_for(shop, 1))
    assert shop.cart_of(1).lines == ()
    demo_data(database)
    assert len(shop.cart_of(1).lines) == 3


def test_a_cart_that_its_buyer_changed_is_left_as_it_is(database: Database) -> None:
    demo_data(database)
    shop = open_shop(database)
    changed = shop.carts.delete_line(1, TOMATOES)
    demo_data(database)
    assert shop.cart_of(1) == changed


def test_a_price_that_an_operator_changed_is_left_as_it_is(database: Database) -> None:
    demo_data(database)
    with database.connection() as connection:
        connection.execute("UPDATE shop_listings SET price_cents = 1 WHERE listing_id = %s", (TOMATOES,))
    demo_data(database)
    assert open_shop(database).catalogue.get(TOMATOES).price_cents == 1


def test_thousands_of_buyers_have_filled_carts_and_stock_for_all_of_them(database: Database) -> None:
    buyers = list(make_buyers(database, 500, 2_500))
    assert [buyer.user_id for buyer in buyers] == list(range(500, 3_000))
    with database.connection() as connection:
        carts = connection.execute(
            "SELECT count(DISTINCT user_id) AS users, count(*) AS lines FROM shop_cart_items"
        ).fetchall()
        short = connection.execute(
            "SELECT listing_id FROM shop_listings l WHERE stock_thousandths < (SELECT sum(quantity_thousandths)"
            " FROM shop_cart_items c WHERE c.listing_id = l.listing_id)"
        ).fetchall()
    assert carts == [{"users": 2_500, "lines": 7_500}]
    assert short == []


def test_every_buyer_lives_in_a_subcounty_of_their_county(database: Database) -> None:
    shop = open_shop(database)
    for buyer in islice(make_buyers(database, 1, 400), 400):
        assert shop.unknown_place(buyer.county_id, buyer.subcounty_id) is None
