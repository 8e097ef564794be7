"""An answer keeps the contract to the letter, or it is none."""

import json
from typing import Any
from uuid import uuid4

import msgspec
import pytest

from ledger.session.cart import SnapshotLine
from ledger.store.caller_texts import LineTexts
from shop.http.messages import (
    AnswerNotUnderstood,
    FoundOrder,
    OrderAnswer,
    QuoteAnswer,
    of_order,
    request_of,
)
from shop.port import OUT_OF_STOCK, OrderRefused, OrderRequest, PlacedOrder, Shortage, UnknownPlace
from tests.shop.conftest import DETAILS, PLACED_AT

LINE = {"product_name": "Fresh Tomatoes", "quantity": "2.5", "unit_price": "99.99", "unit": "kg"}
QUOTE = {"lines": [LINE], "delivery_fee": "50.00"}


def read(answer: Any, shape: Any) -> Any:
    return msgspec.json.decode(json.dumps(answer), type=shape)


def test_a_quote_is_read_to_the_cent_and_its_subtotals_are_ours() -> None:
    ids = {"cart_item_id": 7, "listing_id": 123, "seller": "Green Valley Farm"}
    short = {"product_name": "Eggs", "asked": "3", "available": "1.5", "listing_id": 2}
    answer = {
        "lines": [LINE, LINE | ids],
        "delivery_fee": "0.00",
        "unknown_place": "county_id",
        "shortages": [short],
        "reference": "cart 5812",
        "more": "later",
    }
    quote = read(answer, QuoteAnswer).quote
    bare = SnapshotLine(None, None, "Fresh Tomatoes", "", 2_500, 99_99, 249_98, "kg")
    assert quote.lines == (
        bare,
        SnapshotLine(7, 123, "Fresh Tomatoes", "Green Valley Farm", 2_500, 99_99, 249_98, "kg"),
    )
    assert (quote.delivery_fee_cents, quote.reference) == (0, "cart 5812")
    assert quote.unknown_place is UnknownPlace.COUNTY
    assert quote.shortages == (Shortage(2, "Eggs", 3_000, 1_500),)


@pytest.mark.parametrize(
    "changed",
    [
        {"unit_price": 99.99},
        {"unit_price": 99},
        {"unit_price": "99.9"},
        {"unit_price": "-1.00"},
        {"unit_price": "1e3"},
        {"unit_price": "1,000.00"},
        {"unit_price": "99.99\n"},
        {"quantity": 2},
        {"quantity": "2.0001"},
        {"quantity": "two"},
        {"product_name": ""},
        {"product_name": 200 * "long "},
        {"product_name": None},
        {"listing_id": "123"},
        {"listing_id": 0},
        {"listing_id": 2**53},
        {"cart_item_id": 1.0},
        {"unit": 3},
    ],
)
def test_a_line_that_breaks_the_contract_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(QUOTE | {"lines": [LINE | changed]}, QuoteAnswer)


@pytest.mark.parametrize(
    "changed", [{"lines": None}, {"lines": 101 * [LINE]}, {"delivery_fee": 50}, {"unknown_place": "town"}]
)
def test_a_quote_that_breaks_the_contract_is_refused(changed: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        read(QUOTE | changed, QuoteAnswer)


@pytest.mark.parametrize("name", ["Call 0712345678", "Tomatoes\n", "Tomatoes\u202e"])
def test_what_may_name_a_person_or_mislead_a_reader_is_not_kept(name: str) -> None:
    with pytest.raises(AnswerNotUnderstood):
        _ = read(QUOTE | {"lines": [LINE | {"product_name": name}]}, QuoteAnswer).quote
    with pytest.raises(AnswerNotUnderstood):
        _ = read({"order": {"order_number": name}}, FoundOrder).placed


def test_an_order_is_made_or_refused() -> None:
    assert read({"order": {"order_number": "A-1"}}, OrderAnswer).outcome == PlacedOrder(None, "A-1")
    made = {"order": {"order_number": "A-1", "order_id": 1}, "refused": None}
    assert read(made, OrderAnswer).outcome == PlacedOrder(1, "A-1")
    refused = read({"refused": "OUT_OF_STOCK"}, OrderAnswer).outcome
    assert isinstance(refused, OrderRefused)
    assert refused.code == OUT_OF_STOCK


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"order": None},
        {"refused": "SOLD"},
        {"order": {"order_number": "A-1"}, "refused": "OUT_OF_STOCK"},
    ],
)
def test_an_answer_that_is_neither_is_none(answer: dict[str, Any]) -> None:
    with pytest.raises(AnswerNotUnderstood):
        _ = read(answer, OrderAnswer).outcome


def test_a_session_without_an_order_is_told_apart_from_silence() -> None:
    assert read({"order": None}, FoundOrder).placed is None
    with pytest.raises(msgspec.ValidationError):
        read({}, FoundOrder)


def test_a_request_says_whose_words_a_line_is_in() -> None:
    session_id = uuid4()
    lines = (
        SnapshotLine(7, 123, "Fresh Tomatoes", "Green Valley Farm", 2_000, 150_00, 300_00, "kg"),
        SnapshotLine(None, None, "", "", 500, 80_00, 40_00, ""),
    )
    texts = (None, LineTexts("Olive oil", "sku-9", "l"))
    order = OrderRequest(
        session_id, 7, lines, 390_00, 50_00, DETAILS, PLACED_AT, reference="INV-17", texts=texts
    )
    body = json.loads(request_of("order", PLACED_AT, of_order(order, "user-7")))
    assert (body["type"], body["timestamp"]) == ("order", "2024-01-15T10:30:00Z")
    data = body["data"]
    assert (data["session_id"], data["user"], data["reference"]) == (str(session_id), "user-7", "INV-17")
    assert (data["total"], data["delivery_fee"], data["delivery_details"]) == ("390.00", "50.00", DETAILS)
    assert data["lines"][0] == {
        "cart_item_id": 7,
        "listing_id": 123,
        "product_id": None,
        "product_name": "Fresh Tomatoes",
        "seller": "Green Valley Farm",
        "quantity": "2",
        "unit": "kg",
        "unit_price": "150.00",
        "subtotal": "300.00",
    }
    of_server = {"product_id": "sku-9", "product_name": "Olive oil", "quantity": "0.5", "unit": "l"}
    assert data["lines"][1].items() >= of_server.items()
