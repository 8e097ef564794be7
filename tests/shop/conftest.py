"""A shop with three listings, on a database of its own."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from ledger.money import Money
from ledger.store.database import Database
from ledger.store.vault import Vault
from shop.builtin import BuiltinShop
from shop.builtin.catalogue import ListingDraft
from shop.invariants import check
from shop.port import OrderRefused, OrderRequest, PlacedOrder

TOMATOES, EGGS, POTATOES = 123, 200, 300
MASTER_KEY = bytes(range(32))
PLACED_AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
DETAILS = {"full_name": "John Doe", "detailed_address": "123 Main Street", "county_id": 1, "subcounty_id": 5}

Outcome = PlacedOrder | OrderRefused


def open_shop(database: Database) -> BuiltinShop:
    """Build the shop as the application does, with a vault on the same database."""
    return BuiltinShop(database, Vault(database, MASTER_KEY))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    with database.connection() as connection:
        violations = check(connection)
    database.close()
    assert violations == []


@pytest.fixture
def shop(database: Database) -> BuiltinShop:
    """Tomatoes by the kilogram, eggs by the tray, potatoes by the kilogram: ten units of each."""
    shop = open_shop(database)
    for listing_id, name, price_cents, unit in (
        (TOMATOES, "Fresh Tomatoes", 150_00, "kg"),
        (EGGS, "Kienyeji Eggs", 480_00, "tray"),
        (POTATOES, "Irish Potatoes", 80_00, "kg"),
    ):
        draft = ListingDraft("Green Valley Farm", name, price_cents, unit, 1_000, stock_thousandths=10_000)
        shop.catalogue.put(listing_id, draft, operator_id=99)
    return shop


def stock_of(shop: BuiltinShop, listing_id: int) -> int:
    """Return the stock of a listing in thousandths."""
    return shop.catalogue.get(listing_id).stock_thousandths


def set_stock(shop: BuiltinShop, listing_id: int, thousandths: int) -> None:
    """Set the stock of a listing."""
    change_listing(shop, listing_id, stock_thousandths=thousandths)


def change_listing(
    shop: BuiltinShop,
    listing_id: int,
    *,
    stock_thousandths: int | None = None,
    price_cents: int | None = None,
    withdrawn: bool = False,
) -> None:
    """Change some of a listing and keep the rest."""
    now = shop.catalogue.get(listing_id)
    draft = ListingDraft(
        now.farm_name,
        now.product_name,
        price_cents or now.price_cents,
        now.unit_of_measure,
        now.unit_weight_grams,
        stock_thousandths,
        withdrawn,
    )
    shop.catalogue.put(listing_id, draft)


def request_for(
    shop: BuiltinShop, user_id: int, placed_at: datetime = PLACED_AT, session_id: UUID | None = None
) -> OrderRequest:
    """Return the order request of a session that is created now from the user's cart."""
    cart = shop.cart_of(user_id)
    fee_cents = shop.delivery_fee_cents(cart)
    total = Money(cart.goods_cents + fee_cents).to_whole_shilling()
    lines = tuple(line.snapshot for line in cart.lines)
    return OrderRequest(session_id or uuid4(), user_id, lines, total.cents, fee_cents, DETAILS, placed_at)


def order_request(shop: BuiltinShop, user_id: int, **lines: str) -> OrderRequest:
    """Fill a cart with quantities such as `tomatoes="2"`, and return the order request."""
    listings = {"tomatoes": TOMATOES, "eggs": EGGS, "potatoes": POTATOES}
    for name, quantity in lines.items():
        shop.carts.put_line(user_id, listings[name], quantity)
    return request_for(shop, user_id)


def id_of(order: PlacedOrder) -> int:
    """Return the id of an order of the built-in shop, which all have."""
    assert order.order_id is not None
    return order.order_id


def for_another_session(request: OrderRequest) -> OrderRequest:
    """Return the same request for another session."""
    return replace(request, session_id=uuid4())


def order_at_once(shop: BuiltinShop, requests: list[OrderRequest]) -> list[Outcome]:
    """Make all orders at the same moment, each in a thread of its own."""
    barrier = threading.Barrier(len(requests))

    def order(request: OrderRequest) -> Outcome:
        barrier.wait(timeout=10)
        try:
            return shop.create_order(request)
        except OrderRefused as refusal:
            return refusal

    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(order, requests))
