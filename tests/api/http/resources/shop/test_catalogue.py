from decimal import Decimal
from typing import Any

from flask.testing import FlaskClient

from api.issued_tokens import Role
from payments.services import Services
from shop.builtin import BuiltinShop
from tests.api.http.resources.shop.conftest import OPERATOR, Ask, code_of, content
from tests.shop.conftest import EGGS, TOMATOES, change_listing, set_stock, stock_of

TOMATOES_SHOWN = {
    "listing_id": TOMATOES,
    "product_name": "Fresh Tomatoes",
    "farm_name": "Green Valley Farm",
    "price": 150,
    "unit_of_measure": "kg",
    "stock": 10,
    "unit_weight_grams": 1_000,
    "withdrawn": False,
}
EGGS_SHOWN = TOMATOES_SHOWN | {
    "listing_id": EGGS,
    "product_name": "Kienyeji Eggs",
    "price": 480,
    "unit_of_measure": "tray",
}
HONEY: dict[str, Any] = {
    "product_name": "Acacia Honey",
    "farm_name": "Makueni Orchards",
    "price": "650.50",
    "unit_of_measure": "jar",
    "stock": "12",
    "unit_weight_grams": 700,
}


def put(ask: Ask, body: Any, listing_id: object = 555) -> Any:
    return ask("PUT", f"/api/catalogue/{listing_id}/", body, user=OPERATOR, role=Role.OPERATOR)


def test_the_catalogue_is_public(ask: Ask) -> None:
    for role in ("", *Role):
        listed = content(ask("GET", "/api/catalogue/", role=role))
        assert listed.pop("results") == [TOMATOES_SHOWN, EGGS_SHOWN]
        assert listed == {"count": 2, "next": None, "previous": None}


def test_a_token_that_is_not_valid_does_no_harm_where_none_is_needed(client: FlaskClient) -> None:
    assert client.get("/api/catalogue/", headers={"Authorization": "Bearer x"}).status_code == 200


def test_prices_keep_their_two_decimals(ask: Ask) -> None:
    text = ask("GET", f"/api/catalogue/{TOMATOES}").text
    assert '"price":150.00,' in text
    assert '"stock":10.0,' in text


def test_the_catalogue_comes_in_pages(ask: Ask) -> None:
    first = content(ask("GET", "/api/catalogue/?page_size=1"))
    assert (first["count"], first["previous"]) == (2, None)
    second = content(ask("GET", first["next"]))
    assert [page["results"][0]["listing_id"] for page in (first, second)] == [TOMATOES, EGGS]
    assert second["next"] is None
    assert content(ask("GET", "/api/catalogue?page=1000000&page_size=999"))["results"] == []
    for query in ("page=0", "page=x", "page_size=-1", "page=" + "9" * 5_000, "page=NaN", "as_of=yesterday"):
        assert code_of(ask("GET", f"/api/catalogue/?{query}")) == (400, "INVALID_INPUT")


def test_a_listing_is_shown_with_and_without_a_slash_at_the_end(ask: Ask) -> None:
    for path in (f"/api/catalogue/{TOMATOES}/", f"/api/catalogue/{TOMATOES}"):
        assert content(ask("GET", path, role="")) == TOMATOES_SHOWN


def test_a_withdrawn_listing_leaves_the_list_and_can_still_be_looked_up(ask: Ask, shop: BuiltinShop) -> None:
    change_listing(shop, TOMATOES, withdrawn=True)
    assert [row["listing_id"] for row in content(ask("GET", "/api/catalogue/"))["results"]] == [EGGS]
    assert content(ask("GET", f"/api/catalogue/{TOMATOES}/"))["withdrawn"] is True


def test_a_listing_that_does_not_exist_is_not_found(ask: Ask) -> None:
    for listing_id in (0, 999, 2**63, "9" * 4_000):
        assert code_of(ask("GET", f"/api/catalogue/{listing_id}/")) == (404, "LISTING_NOT_FOUND")
    for odd in ("abc", "-1", "1.0", "%00"):
        assert code_of(ask("GET", f"/api/catalogue/{odd}/")) == (404, "NOT_FOUND")


def test_an_operator_makes_a_listing_and_changes_it(ask: Ask) -> None:
    made = content(put(ask, HONEY), 201)
    assert made == HONEY | {"listing_id": 555, "price": Decimal("650.5"), "stock": 12, "withdrawn": False}
    changed = content(put(ask, HONEY | {"price": "700", "stock": "0.5"}))
    assert (changed["price"], changed["stock"]) == (700, Decimal("0.5"))
    assert content(ask("GET", "/api/catalogue/555/")) == changed


def test_numbers_may_be_json_numbers_too(ask: Ask) -> None:
    body = '{"product_name":"H","farm_name":"F","unit_of_measure":"kg","price":0.1,"stock":2.250}'
    made = content(put(ask, body), 201)
    assert (made["price"], made["stock"]) == (Decimal("0.10"), Decimal("2.25"))
    assert made["unit_weight_grams"] == 0


def test_a_stock_that_is_left_out_stays_as_it_is(ask: Ask, shop: BuiltinShop) -> None:
    put(ask, HONEY)
    set_stock(shop, 555, 3_000)
    without = {name: value for name, value in HONEY.items() if name != "stock"}
    for body in (without, without | {"stock": None}):
        assert content(put(ask, body))["stock"] == 3
    assert stock_of(shop, 555) == 3_000


def test_a_listing_can_be_withdrawn_and_put_back(ask: Ask) -> None:
    assert content(put(ask, HONEY | {"withdrawn": True}), 201)["withdrawn"] is True
    assert content(put(ask, HONEY))["withdrawn"] is False


def test_what_is_shown_can_be_sent_back(ask: Ask) -> None:
    shown = ask("GET", f"/api/catalogue/{TOMATOES}/").text
    assert put(ask, shown, TOMATOES).text == shown
    assert set(put(ask, shown, TOMATOES + 1).json["errors"]) == {"listing_id"}


def test_all_wrong_fields_are_named_in_one_answer(ask: Ask) -> None:
    empty = put(ask, {})
    assert set(empty.json["errors"]) == {"product_name", "farm_name", "price", "unit_of_measure"}
    wrong: dict[str, Any] = {name: [] for name in (*HONEY, "withdrawn")}
    assert set(put(ask, wrong).json["errors"]) == set(wrong)
    assert code_of(ask("GET", "/api/catalogue/555/")) == (404, "LISTING_NOT_FOUND")


IMPOSSIBLE: dict[str, list[Any]] = {
    "product_name": ["", " ", "x" * 101, "two\nlines", "a\u202eb", "a\x1bb", 7, None, True, ["x"], {}],
    "farm_name": ["", "x" * 101, "a\tb", None],
    "unit_of_measure": ["", "x" * 21, "k\ng", 1],
    "price": ["0", "-1", "0.001", "1000000.01", "NaN", "free", 10**30, True, None, [], {}],
    "stock": ["-1", "0.0001", "1000001", "Infinity", 10**30, True, []],
    "unit_weight_grams": [-1, 1_000_001, 1.5, "1", True, None, 10**30],
    "withdrawn": ["true", 1, 0, None, []],
}


def test_invalid_values_are_refused_by_field(ask: Ask) -> None:
    for field, values in IMPOSSIBLE.items():
        for value in values:
            answer = put(ask, HONEY | {field: value})
            assert code_of(answer) == (400, "INVALID_INPUT"), (field, value)
            assert set(answer.json["errors"]) == {field}, value


def test_a_body_that_is_no_object_or_no_text_is_refused(ask: Ask) -> None:
    long_number = '{"price": ' + "9" * 5_000 + "}"
    for body in ("[]", "null", "x", '{"price": NaN}', '{"product_name": "a\\u0000b"}', long_number):
        assert code_of(put(ask, body)) == (400, "MALFORMED_JSON"), body[:40]
    assert code_of(put(ask, '{"price": 1e999999999}')) == (400, "INVALID_INPUT")
    assert code_of(put(ask, '{"product_name": "' + "x" * 70_000 + '"}')) == (413, "BODY_TOO_LARGE")


def test_a_listing_id_has_bounds(ask: Ask) -> None:
    assert content(put(ask, HONEY, 2**53 - 1), 201)["listing_id"] == 2**53 - 1
    for listing_id in (0, 2**53, 2**63, "9" * 4_000):
        answer = put(ask, HONEY, listing_id)
        assert code_of(answer) == (400, "INVALID_INPUT")
        assert set(answer.json["errors"]) == {"listing_id"}


def test_only_an_operator_changes_the_catalogue(ask: Ask, shop: BuiltinShop) -> None:
    for role in (Role.CUSTOMER, Role.AUDITOR, Role.ANALYST):
        for body in (HONEY, {}):
            answer = ask("PUT", f"/api/catalogue/{TOMATOES}/", body, role=role)
            assert code_of(answer) == (403, "ROLE_REQUIRED")
    assert code_of(ask("PUT", f"/api/catalogue/{TOMATOES}/", HONEY, role="")) == (401, "TOKEN_MISSING")
    assert shop.catalogue.get(TOMATOES).product_name == "Fresh Tomatoes"


def test_the_stock_change_names_the_operator(ask: Ask, services: Services) -> None:
    put(ask, HONEY)
    with services.database.connection() as connection:
        query = "SELECT changed_by, change_thousandths FROM shop_stock_changes WHERE listing_id = 555"
        assert connection.execute(query).fetchall() == [
            {"changed_by": OPERATOR, "change_thousandths": 12_000}
        ]


def test_other_methods_are_refused_with_a_list_of_those_that_work(ask: Ask) -> None:
    for method, path, allowed in (
        ("POST", "/api/catalogue/", {"GET", "HEAD", "OPTIONS"}),
        ("DELETE", f"/api/catalogue/{TOMATOES}/", {"GET", "HEAD", "OPTIONS", "PUT"}),
        ("PATCH", f"/api/catalogue/{TOMATOES}/", {"GET", "HEAD", "OPTIONS", "PUT"}),
    ):
        answer = ask(method, path)
        assert code_of(answer) == (405, "METHOD_NOT_ALLOWED")
        assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_draft_takes_all_that_the_schema_accepts(ask: Ask) -> None:
    most = {"price": "1000000.00", "stock": "1000000.000", "unit_weight_grams": 1_000_000}
    longest = {"product_name": "p" * 100, "farm_name": "f" * 100, "unit_of_measure": "u" * 20}
    assert content(put(ask, most | longest), 201)["price"] == 1_000_000
