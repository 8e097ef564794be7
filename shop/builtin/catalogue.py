"""The catalogue: listings with their prices and stock."""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.errors import InvalidValue, NotFound
from ledger.store.database import Database

MAX_PRICE_CENTS = 1_000_000_00
MAX_STOCK_THOUSANDTHS = 1_000_000_000
MAX_UNIT_WEIGHT_GRAMS = 1_000_000
MAX_LISTING_ID = 2**53 - 1
MAX_NAME_CHARACTERS = 100
MAX_UNIT_CHARACTERS = 20
MAX_PAGE_SIZE = 100

LISTING = """
SELECT listing_id, farm_name, product_name, price_cents, unit_of_measure, unit_weight_grams,
       stock_thousandths, withdrawn
  FROM shop_listings
"""
LISTING_BY_ID = LISTING + "WHERE listing_id = %s"
LISTINGS_ON_SALE = LISTING + "WHERE NOT withdrawn ORDER BY listing_id LIMIT %s OFFSET %s"
COUNT_ON_SALE = "SELECT count(*) AS count FROM shop_listings WHERE NOT withdrawn"

MAKE_LISTING = """
INSERT INTO shop_listings (listing_id, farm_name, product_name, price_cents, unit_of_measure, unit_weight_grams)
VALUES (%(listing_id)s, %(farm_name)s, %(product_name)s, %(price_cents)s, %(unit_of_measure)s,
        %(unit_weight_grams)s)
ON CONFLICT (listing_id) DO NOTHING
"""
LOCK_STOCK = "SELECT stock_thousandths FROM shop_listings WHERE listing_id = %s FOR NO KEY UPDATE"
CHANGE_LISTING = """
UPDATE shop_listings
   SET farm_name = %(farm_name)s, product_name = %(product_name)s, price_cents = %(price_cents)s,
       unit_of_measure = %(unit_of_measure)s, unit_weight_grams = %(unit_weight_grams)s,
       withdrawn = %(withdrawn)s, stock_thousandths = stock_thousandths + %(change_thousandths)s
 WHERE listing_id = %(listing_id)s
RETURNING listing_id, farm_name, product_name, price_cents, unit_of_measure, unit_weight_grams,
          stock_thousandths, withdrawn
"""
RECORD_STOCK_CHANGE = """
INSERT INTO shop_stock_changes (listing_id, change_thousandths, reason, changed_by, changed_at)
VALUES (%s, %s, 'stock set by an operator', %s, %s)
"""


@dataclass(frozen=True, slots=True)
class Listing:
    """One product of one farm, as it is sold now; 0 grams if its weight does not count for delivery."""

    listing_id: int
    farm_name: str
    product_name: str
    price_cents: int
    unit_of_measure: str
    unit_weight_grams: int
    stock_thousandths: int
    withdrawn: bool


@dataclass(frozen=True, slots=True)
class ListingDraft:
    """What an operator sets of a listing; without `stock_thousandths` the stock stays as it is."""

    farm_name: str
    product_name: str
    price_cents: int
    unit_of_measure: str
    unit_weight_grams: int
    stock_thousandths: int | None = None
    withdrawn: bool = False

    def __post_init__(self) -> None:
        errors = {
            **_text_errors("farm_name", self.farm_name, MAX_NAME_CHARACTERS),
            **_text_errors("product_name", self.product_name, MAX_NAME_CHARACTERS),
            **_text_errors("unit_of_measure", self.unit_of_measure, MAX_UNIT_CHARACTERS),
            **_number_errors("price", self.price_cents, 1, MAX_PRICE_CENTS),
            **_number_errors("unit_weight_grams", self.unit_weight_grams, 0, MAX_UNIT_WEIGHT_GRAMS),
            **_number_errors("stock", self.stock_thousandths or 0, 0, MAX_STOCK_THOUSANDTHS),
        }
        if errors:
            raise InvalidValue("The listing is not as it should be; see errors.", errors)


@dataclass(frozen=True, slots=True)
class CataloguePage:
    """One page of the listings on sale, and the count of all."""

    count: int
    listings: tuple[Listing, ...]


class Catalogue:
    """The listings: everyone may read them, operators write them."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def page(self, number: int, size: int) -> CataloguePage:
        """Return page `number`, from 1, of the listings on sale, by id; `size` is cut to MAX_PAGE_SIZE."""
        size = max(1, min(size, MAX_PAGE_SIZE))
        with self._database.connection() as connection:
            [counted] = connection.execute(COUNT_ON_SALE).fetchall()
            rows = connection.execute(LISTINGS_ON_SALE, (size, size * (max(1, number) - 1))).fetchall()
        return CataloguePage(counted["count"], tuple(Listing(**row) for row in rows))

    def get(self, listing_id: int) -> Listing:
        """Return one listing, withdrawn or not; raises NotFound LISTING_NOT_FOUND."""
        with self._database.connection() as connection:
            row = connection.execute(LISTING_BY_ID, (listing_id,)).fetchone()
        if row is None:
            raise no_such_listing()
        return Listing(**row)

    def put(
        self, listing_id: int, draft: ListingDraft, operator_id: int | None = None
    ) -> tuple[Listing, bool]:
        """Create or change a listing; return it, and whether it is new.

        The stock is set to the given value; the difference is recorded as a stock change. Raises InvalidValue.
        """
        errors = _number_errors("listing_id", listing_id, 1, MAX_LISTING_ID)
        if errors:
            raise InvalidValue(errors["listing_id"][0], errors)
        values = {
            "listing_id": listing_id,
            "farm_name": draft.farm_name,
            "product_name": draft.product_name,
            "price_cents": draft.price_cents,
            "unit_of_measure": draft.unit_of_measure,
            "unit_weight_grams": draft.unit_weight_grams,
            "withdrawn": draft.withdrawn,
        }
        with self._database.transaction() as connection:
            is_new = connection.execute(MAKE_LISTING, values).rowcount == 1
            change = _stock_change(connection, listing_id, draft.stock_thousandths)
            row = connection.execute(CHANGE_LISTING, {**values, "change_thousandths": change}).fetchone()
            if change:
                connection.execute(RECORD_STOCK_CHANGE, (listing_id, change, operator_id, clock.now()))
        return Listing(**row), is_new


def no_such_listing() -> NotFound:
    """Return the error for a listing that does not exist or is withdrawn."""
    return NotFound("There is no such product on sale. Choose one from the catalogue.", "LISTING_NOT_FOUND")


def _stock_change(connection: Connection[Any], listing_id: int, wanted_thousandths: int | None) -> int:
    """Lock the listing until the commit; return the change of its stock."""
    [row] = connection.execute(LOCK_STOCK, (listing_id,)).fetchall()
    return 0 if wanted_thousandths is None else wanted_thousandths - int(row["stock_thousandths"])


def _text_errors(field: str, text: str, max_characters: int) -> dict[str, list[str]]:
    if text.strip() and len(text) <= max_characters and text.isprintable():
        return {}
    return {field: [f"Write 1 to {max_characters} printable characters."]}


def _number_errors(field: str, number: int, least: int, most: int) -> dict[str, list[str]]:
    return {} if least <= number <= most else {field: ["This number is too small or too large."]}
