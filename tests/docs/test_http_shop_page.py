"""docs/http-shop.md shows the requests that are sent, and answers that are understood."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest

from ledger.session.cart import SnapshotLine
from shop.http import messages
from shop.port import OUT_OF_STOCK, OrderRefused, OrderRequest, PlacedOrder, Shortage
from tests.support.instance import DELIVERY

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "http-shop.md").read_text("utf-8")
AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
SESSION = UUID("550e8400-e29b-41d4-a716-446655440000")
LINE = SnapshotLine(1, 123, "Fresh Tomatoes", "Green Valley Farm", 2_000, 150_00, 300_00, "kg")
ORDER = OrderRequest(SESSION, 7, (LINE,), 350_00, 50_00, DELIVERY, AT, reference="cart 5812")
REQUESTS: dict[str, dict[str, Any]] = {
    "quote": {"user": "7", "county_id": 1, "subcounty_id": 5},
    "shortages": messages.of_sale(ORDER),
    "order": messages.of_order(ORDER, "7"),
    "rule_out": messages.of_session(SESSION),
    "return_goods": messages.of_session(SESSION),
    "find_order": messages.of_session(SESSION),
}


def shown(kind: str) -> list[str]:
    """Return the JSON that the section of a request shows: the request, then answers."""
    section = PAGE.partition(f"\n### {kind}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    return re.findall(r"```json\n(.*?)```", section, re.DOTALL)


@pytest.mark.parametrize("kind", REQUESTS)
def test_a_request_is_what_is_sent(kind: str) -> None:
    assert json.loads(shown(kind)[0]) == json.loads(messages.request_of(kind, AT, REQUESTS[kind]))


def test_the_answers_are_understood() -> None:
    quote = msgspec.json.decode(shown("quote")[1], type=messages.QuoteAnswer).quote
    assert (quote.lines, quote.delivery_fee_cents, quote.reference) == ((LINE,), 50_00, "cart 5812")
    [short] = msgspec.json.decode(shown("shortages")[1], type=messages.ShortagesAnswer).shortages
    assert short.shortage == Shortage(123, "Fresh Tomatoes", 2_000, 500)
    made, refused = (
        msgspec.json.decode(text, type=messages.OrderAnswer).outcome for text in shown("order")[1:]
    )
    assert made == PlacedOrder(17, "WEB-00017")
    assert isinstance(refused, OrderRefused)
    assert refused.code == OUT_OF_STOCK
    assert msgspec.json.decode(shown("rule_out")[1], type=messages.FoundOrder).placed is None
    assert msgspec.json.decode(shown("find_order")[1], type=messages.FoundOrder).placed == made
    assert msgspec.json.decode(shown("return_goods")[1], type=messages.ReturnAnswer).returned


def test_every_refusal_is_named() -> None:
    assert all(f"`{code}`" in PAGE for code in messages.REFUSALS)
