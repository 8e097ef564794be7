from decimal import Decimal

import pytest

from api.issued_tokens import Role
from payments.services import Services
from shop.builtin import BuiltinShop
from shop.port import PlacedOrder
from tests.api.http.resources.shop.conftest import BUYER, OPERATOR, STRANGER, Ask, code_of, content
from tests.shop.conftest import DETAILS, EGGS, TOMATOES, change_listing, id_of, request_for
from tests.support.checkouts import new_session


def bought(services: Services, shop: BuiltinShop) -> PlacedOrder:
    """Make the order of the buyer's cart, for a session that the ledger knows."""
    request = request_for(shop, BUYER)
    services.ledger.add(new_session(user_id=BUYER, session_id=request.session_id))
    return shop.create_order(request)


@pytest.fixture
def order_id(services: Services, shop: BuiltinShop) -> int:
    """An order of 2 kg of tomatoes, placed at half past ten."""
    shop.carts.put_line(BUYER, TOMATOES, "2")
    return id_of(bought(services, shop))


def test_a_buyer_sees_the_order(ask: Ask, order_id: int) -> None:
    order = content(ask("GET", f"/api/orders/{order_id}/"))
    assert content(ask("GET", f"/api/orders/{order_id}")) == order
    session_id = order.pop("session_id")
    assert len(session_id) == 36
    assert order == {
        "order_id": order_id,
        "order_number": "ORD-20240115-001",
        "order_status": "confirmed",
        "payment_status": "paid",
        "items": [
            {
                "listing_id": TOMATOES,
                "product_name": "Fresh Tomatoes",
                "farm_name": "Green Valley Farm",
                "quantity": 2,
                "price_at_addition": 150,
                "subtotal": 300,
                "unit_of_measure": "kg",
            }
        ],
        "total_items": 2,
        "total_cost": 300,
        "delivery_fee": "50.00",
        "rounding": 0,
        "total_amount": "350.00",
        "delivery_details": DETAILS,
        "created_at": "2024-01-15T10:30:00Z",
        "receipt": None,
        "refunded": "0.00",
        "refund_status": None,
    }


def test_an_order_stays_as_it_was_bought(ask: Ask, shop: BuiltinShop, order_id: int) -> None:
    before = ask("GET", f"/api/orders/{order_id}/").text
    change_listing(shop, TOMATOES, price_cents=999_00, withdrawn=True)
    assert ask("GET", f"/api/orders/{order_id}/").text == before


def test_an_order_shows_fractions_and_what_rounding_took(
    ask: Ask, services: Services, shop: BuiltinShop
) -> None:
    change_listing(shop, TOMATOES, price_cents=99_99)
    shop.carts.put_line(BUYER, TOMATOES, "0.5")
    shop.carts.put_line(BUYER, EGGS, "1")
    placed = bought(services, shop)
    order = content(ask("GET", f"/api/orders/{placed.order_id}/"))
    assert (order["total_items"], order["total_cost"]) == (Decimal("1.5"), 530)
    change_listing(shop, EGGS, price_cents=480_20)
    shop.carts.put_line(BUYER, EGGS, "1")
    placed = bought(services, shop)
    order = content(ask("GET", f"/api/orders/{placed.order_id}/"))
    assert (order["total_cost"], order["rounding"]) == (Decimal("480.2"), Decimal("-0.2"))
    assert order["total_amount"] == "530.00"


def test_an_erased_buyers_order_has_no_delivery_details(ask: Ask, services: Services, order_id: int) -> None:
    services.vault.erase(BUYER)
    order = content(ask("GET", f"/api/orders/{order_id}/"))
    assert order["delivery_details"] is None
    assert order["total_amount"] == "350.00"


def test_anothers_order_looks_like_one_that_does_not_exist(ask: Ask, order_id: int) -> None:
    anothers = ask("GET", f"/api/orders/{order_id}/", user=STRANGER)
    assert code_of(anothers) == (404, "NOT_FOUND")
    for missing in (0, order_id + 1, 2**63, "9" * 4_000):
        answer = ask("GET", f"/api/orders/{missing}/")
        assert code_of(answer) == (404, "NOT_FOUND")
        assert answer.text == anothers.text
    for odd in ("abc", "-1", "1.0", "9" * 5_000, "ORD-20240115-001"):
        assert code_of(ask("GET", f"/api/orders/{odd}/")) == (404, "NOT_FOUND")


def test_an_order_is_for_customers(ask: Ask, order_id: int) -> None:
    for role in (Role.OPERATOR, Role.AUDITOR, Role.ANALYST):
        answer = ask("GET", f"/api/orders/{order_id}/", user=OPERATOR, role=role)
        assert code_of(answer) == (403, "ROLE_REQUIRED")
    assert code_of(ask("GET", f"/api/orders/{order_id}/", role="")) == (401, "TOKEN_MISSING")


def test_orders_are_read_only(ask: Ask, order_id: int) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        answer = ask(method, f"/api/orders/{order_id}/")
        assert code_of(answer) == (405, "METHOD_NOT_ALLOWED")
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"
    assert code_of(ask("POST", "/api/orders/")) == (404, "NOT_FOUND")
