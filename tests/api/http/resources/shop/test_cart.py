from decimal import Decimal
from typing import Any

from api.issued_tokens import Role
from shop.builtin import BuiltinShop
from shop.builtin.carts import MAX_LINES
from shop.builtin.catalogue import ListingDraft
from tests.api.http.resources.shop.conftest import STRANGER, Ask, code_of, content
from tests.shop.conftest import EGGS, TOMATOES, change_listing

EMPTY = {
    "items": [],
    "total_items": 0,
    "total_cost": 0,
    "delivery_fee": "0.00",
    "rounding": 0,
    "total_amount": "0.00",
}


def put(ask: Ask, quantity: Any, listing_id: object = TOMATOES, **caller: Any) -> Any:
    return ask("PUT", f"/api/cart/items/{listing_id}/", {"quantity": quantity}, **caller)


def test_a_new_cart_is_empty_and_costs_nothing(ask: Ask) -> None:
    assert content(ask("GET", "/api/cart/")) == EMPTY


def test_the_cart_is_shown_as_the_contract_shows_it(ask: Ask) -> None:
    cart = content(put(ask, "2"))
    [item] = cart["items"]
    assert isinstance(item.pop("cart_item_id"), int)
    assert item == {
        "listing_id": TOMATOES,
        "product_name": "Fresh Tomatoes",
        "farm_name": "Green Valley Farm",
        "quantity": 2,
        "price_at_addition": 150,
        "subtotal": 300,
        "unit_of_measure": "kg",
    }
    assert {name: cart[name] for name in cart if name != "items"} == {
        "total_items": 2,
        "total_cost": 300,
        "delivery_fee": "50.00",
        "rounding": 0,
        "total_amount": "350.00",
    }
    assert content(ask("GET", "/api/cart")) == content(ask("GET", "/api/cart/"))


def test_numbers_are_printed_as_in_the_contract(ask: Ask) -> None:
    text = put(ask, "2").text
    for piece in (
        '"quantity":2.0,',
        '"price_at_addition":150.00,',
        '"total_items":2,',
        '"total_cost":300.00,',
    ):
        assert piece in text


def test_a_total_is_rounded_to_the_shilling_as_a_session_would_round_it(ask: Ask, shop: BuiltinShop) -> None:
    change_listing(shop, TOMATOES, price_cents=150_49)
    cart = content(put(ask, "1"))
    assert (cart["total_cost"], cart["rounding"], cart["total_amount"]) == (
        Decimal("150.49"),
        Decimal("-0.49"),
        "200.00",
    )


def test_a_quantity_is_text_or_a_number(ask: Ask) -> None:
    for sent, kept in (
        ("2", 2),
        ("0.250", Decimal("0.25")),
        (3, 3),
        (1.5, Decimal("1.5")),
        ("2.0000", 2),
        (" 1 ", 1),
        (1_000, 1_000),
    ):
        cart = content(put(ask, sent))
        assert [item["quantity"] for item in cart["items"]] == [kept]
        assert cart["total_items"] == kept


def test_a_quantity_that_cannot_be_sold_is_refused_by_field(ask: Ask) -> None:
    texts = [
        "0",
        "-1",
        "0.0001",
        "1000.001",
        "1001",
        "NaN",
        "Infinity",
        "1e2",
        "",
        "two",
        "2 kg",
        "9" * 5_000,
    ]
    odd: list[Any] = [0, -1, 10**30, 1e300, 1.0001, True, False, None, [], ["2"], {}]
    for sent in [*texts, *odd]:
        answer = put(ask, sent)
        assert code_of(answer) == (400, "INVALID_INPUT"), sent
        assert set(answer.json["errors"]) == {"quantity"}, sent
    assert content(ask("GET", "/api/cart/")) == EMPTY


def test_what_is_sold_whole_cannot_be_cut(ask: Ask) -> None:
    refused = put(ask, "1.5", EGGS)
    assert code_of(refused) == (400, "INVALID_INPUT")
    assert refused.json["errors"] == {"quantity": ["This is sold by the tray: ask for a whole number."]}
    assert content(put(ask, 2.0, EGGS))["total_items"] == 2


def test_a_body_without_a_quantity_is_refused(ask: Ask) -> None:
    for body in (None, {}, {"Quantity": "2"}):
        refused = content(ask("PUT", f"/api/cart/items/{TOMATOES}/", body), 400)
        assert set(refused["errors"]) == {"quantity", *(body or {})}
    for text in ("[]", "2", "null", "{", '{"quantity": NaN}', '{"quantity": "2\\u0000"}', '"' + "x" * 100):
        assert code_of(ask("PUT", f"/api/cart/items/{TOMATOES}/", text)) == (400, "MALFORMED_JSON"), text


def test_putting_again_sets_the_quantity_and_keeps_the_line(ask: Ask) -> None:
    [first] = content(put(ask, "2"))["items"]
    [second] = content(put(ask, "3"))["items"]
    assert second == first | {"quantity": 3, "subtotal": 450}


def test_a_line_keeps_the_price_of_its_addition(ask: Ask, shop: BuiltinShop) -> None:
    put(ask, "2")
    change_listing(shop, TOMATOES, price_cents=200_00)
    assert content(ask("GET", "/api/cart/"))["total_cost"] == 300
    assert content(put(ask, "2"))["total_cost"] == 400


def test_taking_a_product_out_answers_with_the_rest_of_the_cart(ask: Ask) -> None:
    put(ask, "2")
    put(ask, "1", EGGS)
    for _ in range(2):
        cart = content(ask("DELETE", f"/api/cart/items/{TOMATOES}"))
        assert [item["listing_id"] for item in cart["items"]] == [EGGS]
    assert content(ask("DELETE", f"/api/cart/items/{EGGS}/")) == EMPTY


def test_only_what_is_on_sale_can_be_put(ask: Ask, shop: BuiltinShop) -> None:
    change_listing(shop, EGGS, withdrawn=True)
    for listing_id in (EGGS, 0, 999, 2**63, "9" * 4_000):
        assert code_of(put(ask, "1", listing_id)) == (404, "LISTING_NOT_FOUND")
    for odd in ("abc", "-1", "1.0"):
        assert code_of(put(ask, "1", odd)) == (404, "NOT_FOUND")
    for listing_id in (999, 2**63, "9" * 4_000):
        assert content(ask("DELETE", f"/api/cart/items/{listing_id}/")) == EMPTY


def test_a_cart_has_a_maximum_of_lines(ask: Ask, shop: BuiltinShop) -> None:
    for listing_id in range(1_000, 1_000 + MAX_LINES):
        shop.catalogue.put(listing_id, ListingDraft("Farm", "Thing", 1_00, "piece", 0))
        shop.carts.put_line(7, listing_id, "1")
    assert code_of(put(ask, "1")) == (400, "CART_FULL")
    assert content(put(ask, "2", 1_000))["total_items"] == MAX_LINES + 1


def test_each_buyer_has_a_cart_of_their_own(ask: Ask) -> None:
    put(ask, "2")
    assert content(ask("GET", "/api/cart/", user=STRANGER)) == EMPTY
    ask("DELETE", f"/api/cart/items/{TOMATOES}/", user=STRANGER)
    assert content(ask("GET", "/api/cart/"))["total_items"] == 2


def test_a_cart_is_for_customers(ask: Ask) -> None:
    blueprint = (("GET", "/api/cart/"), ("PUT", "/api/cart/items/123/"), ("DELETE", "/api/cart/items/123/"))
    for method, path in blueprint:
        for role in (Role.OPERATOR, Role.AUDITOR, Role.ANALYST):
            assert code_of(ask(method, path, {"quantity": "2"}, role=role)) == (403, "ROLE_REQUIRED")
        assert code_of(ask(method, path, {"quantity": "2"}, role="")) == (401, "TOKEN_MISSING")


def test_other_methods_are_refused_with_a_list_of_those_that_work(ask: Ask) -> None:
    for method, path, allowed in (
        ("POST", "/api/cart/", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", "/api/cart/", {"GET", "HEAD", "OPTIONS"}),
        ("POST", "/api/cart/items/123/", {"DELETE", "OPTIONS", "PUT"}),
        ("GET", "/api/cart/items/123/", {"DELETE", "OPTIONS", "PUT"}),
    ):
        answer = ask(method, path)
        assert code_of(answer) == (405, "METHOD_NOT_ALLOWED")
        assert set(answer.headers["Allow"].split(", ")) == allowed
