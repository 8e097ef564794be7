"""The demo shop: six farms, two dozen products, and any number of buyers with filled carts."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.store.database import Database

BATCH = 1_000
LINES_PER_BUYER = 3
MAX_UNITS_PER_LINE = 3
STOCK_THOUSANDTHS = 500_000
"""The stock of each product beyond what the buyers' carts may need."""

TOMATOES, SUKUMA_WIKI, AVOCADOS = 123, 124, 125
FIRST_BUYER_LISTINGS = (TOMATOES, SUKUMA_WIKI, AVOCADOS)

# listing, farm, product, price in cents, unit, grams of a unit
LISTINGS: tuple[tuple[int, str, str, int, str, int], ...] = (
    (101, "Kinangop Highlands Farm", "Irish Potatoes", 80_00, "kg", 1_000),
    (102, "Kinangop Highlands Farm", "Cabbage", 60_00, "head", 1_500),
    (103, "Kinangop Highlands Farm", "Carrots", 90_00, "kg", 1_000),
    (104, "Kinangop Highlands Farm", "Fresh Milk", 70_00, "litre", 1_030),
    (105, "Mwea Rice Growers", "Mwea Pishori Rice", 220_00, "kg", 1_000),
    (106, "Mwea Rice Growers", "Brown Rice", 240_00, "kg", 1_000),
    (107, "Mwea Rice Growers", "Green Grams", 180_00, "kg", 1_000),
    (108, "Mwea Rice Growers", "French Beans", 140_00, "kg", 1_000),
    (109, "Makueni Orchards", "Apple Mangoes", 40_00, "piece", 400),
    (110, "Makueni Orchards", "Oranges", 130_00, "kg", 1_000),
    (111, "Makueni Orchards", "Pawpaw", 100_00, "piece", 1_200),
    (112, "Makueni Orchards", "Acacia Honey", 650_00, "jar", 700),
    (113, "Kisii Banana Growers", "Sweet Bananas", 150_00, "bunch", 2_000),
    (114, "Kisii Banana Growers", "Green Bananas (Matoke)", 120_00, "kg", 1_000),
    (115, "Kisii Banana Growers", "Sugarcane", 50_00, "piece", 1_000),
    (116, "Kisii Banana Growers", "Managu", 40_00, "bunch", 300),
    (117, "Kitengela Poultry", "Kienyeji Eggs", 480_00, "tray", 1_800),
    (118, "Kitengela Poultry", "Kienyeji Chicken", 950_00, "piece", 1_500),
    (119, "Kitengela Poultry", "Broiler Chicken", 550_00, "piece", 1_300),
    (120, "Kitengela Poultry", "Natural Yoghurt", 160_00, "litre", 1_050),
    (121, "Green Valley Farm", "Red Onions", 120_00, "kg", 1_000),
    (122, "Green Valley Farm", "Coriander (Dhania)", 20_00, "bunch", 100),
    (TOMATOES, "Green Valley Farm", "Fresh Tomatoes", 150_00, "kg", 1_000),
    (SUKUMA_WIKI, "Green Valley Farm", "Sukuma Wiki", 30_00, "bunch", 400),
    (AVOCADOS, "Green Valley Farm", "Hass Avocados", 25_00, "piece", 250),
)

MAKE_LISTING = """
INSERT INTO shop_listings (listing_id, farm_name, product_name, price_cents, unit_of_measure, unit_weight_grams)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (listing_id) DO NOTHING
"""
# The rows are locked in the order of their ids, as orders lock them.
TOP_UP_STOCK = """
WITH locked AS (
    SELECT listing_id, stock_thousandths FROM shop_listings
     WHERE listing_id = ANY(%(listing_ids)s) AND stock_thousandths < %(wanted)s
     ORDER BY listing_id FOR NO KEY UPDATE
), risen AS (
    UPDATE shop_listings l SET stock_thousandths = %(wanted)s
      FROM locked WHERE locked.listing_id = l.listing_id
    RETURNING l.listing_id, %(wanted)s - locked.stock_thousandths AS change
)
INSERT INTO shop_stock_changes (listing_id, change_thousandths, reason, changed_at)
SELECT listing_id, change, 'demo data', %(now)s FROM risen
"""
ALL_IN_CARTS = """
SELECT coalesce(max(thousandths), 0) AS thousandths
  FROM (SELECT sum(quantity_thousandths) AS thousandths FROM shop_cart_items GROUP BY listing_id) AS asked
"""
SUBCOUNTIES = "SELECT subcounty_id, county_id FROM shop_subcounties ORDER BY subcounty_id"
USERS_WITH_A_CART = "SELECT DISTINCT user_id FROM shop_cart_items WHERE user_id BETWEEN %s AND %s"
FILL_CARTS = """
INSERT INTO shop_cart_items (user_id, listing_id, quantity_thousandths, price_cents)
SELECT item.user_id, item.listing_id, item.thousandths, l.price_cents
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) WITH ORDINALITY
       AS item (user_id, listing_id, thousandths, ordinal)
  JOIN shop_listings l USING (listing_id)
 ORDER BY item.ordinal
ON CONFLICT (user_id, listing_id) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Buyer:
    """A user with a filled cart, and a place to deliver to."""

    user_id: int
    county_id: int
    subcounty_id: int


def demo_data(database: Database, users: int = 1) -> list[Buyer]:
    """Put the demo shop into the database, and `users` buyers from user 1 on; return the buyers.

    A second call changes nothing, except that it refills empty carts and low stock.
    """
    return list(make_buyers(database, 1, users))


def make_buyers(database: Database, first_user_id: int, count: int) -> Iterator[Buyer]:
    """Fill the carts of `count` users from `first_user_id` on, and stock up for all of them; yield each buyer.

    Carts that are not empty stay as they are. Carts are filled as the buyers are consumed, a thousand at a time, so
    the caller must consume them all.
    """
    with database.transaction() as connection:
        connection.cursor().executemany(MAKE_LISTING, LISTINGS)
        _stock_up(connection, count)
        places = [(row["county_id"], row["subcounty_id"]) for row in connection.execute(SUBCOUNTIES)]
    past_last = first_user_id + count
    for start in range(first_user_id, past_last, BATCH):
        batch = range(start, min(start + BATCH, past_last))
        with database.transaction() as connection:
            _fill_carts(connection, batch)
        yield from (_buyer(user_id, places) for user_id in batch)


def _stock_up(connection: Connection[Any], buyers: int) -> None:
    """Stock enough of every product for all carts, old and new, even if all hold the same one."""
    [carts] = connection.execute(ALL_IN_CARTS).fetchall()
    new_carts = buyers * MAX_UNITS_PER_LINE * 1_000
    wanted = STOCK_THOUSANDTHS + int(carts["thousandths"]) + new_carts
    listing_ids = [listing[0] for listing in LISTINGS]
    connection.execute(TOP_UP_STOCK, {"listing_ids": listing_ids, "wanted": wanted, "now": clock.now()})


def _fill_carts(connection: Connection[Any], user_ids: range) -> None:
    rows = connection.execute(USERS_WITH_A_CART, (user_ids[0], user_ids[-1]))
    with_cart = {row["user_id"] for row in rows}
    items = [item for user_id in user_ids if user_id not in with_cart for item in _cart_items(user_id)]
    connection.execute(FILL_CARTS, [list(column) for column in zip(*items, strict=True)] or [[], [], []])


def _cart_items(user_id: int) -> list[tuple[int, int, int]]:
    """Return a user's cart items, always the same: (user, listing, thousandths), in whole units."""
    listing_ids = FIRST_BUYER_LISTINGS if user_id == 1 else _listings_of(user_id)
    return [
        (user_id, listing_id, 1_000 * (1 + (user_id + index) % MAX_UNITS_PER_LINE))
        for index, listing_id in enumerate(listing_ids)
    ]


def _listings_of(user_id: int) -> tuple[int, ...]:
    """Choose different products for consecutive users, spread over the whole catalogue."""
    step = 1 + user_id // len(LISTINGS) % 7
    return tuple(LISTINGS[(user_id + index * step) % len(LISTINGS)][0] for index in range(LINES_PER_BUYER))


def _buyer(user_id: int, places: Sequence[tuple[int, int]]) -> Buyer:
    """Spread the buyers over the country; user 1 lives in Mvita, Mombasa."""
    county_id, subcounty_id = places[(user_id + 3) % len(places)]
    return Buyer(user_id, county_id, subcounty_id)
