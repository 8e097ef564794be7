"""The examples of docs/server-checkouts.md are sent as they stand, and paid."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.http.schemas import checkout_schemas
from payments.checkout.server_checkouts import LONGEST
from tests.scenarios.steps import PAYS_AT_ONCE
from tests.support.instance import Instance, running_instance

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "server-checkouts.md").read_text("utf-8")
FOUND = re.findall(r"<!-- example: ([a-z ]+) -->\n```json\n(.*?)```", PAGE, re.DOTALL)
EXAMPLES: dict[str, dict[str, Any]] = {name: json.loads(text) for name, text in FOUND}
TOTALS = {
    "school fees": "18500.00",
    "donation": "500.00",
    "digital good": "649.00",
    "shop of many products": "894.00",
}
CHECKOUTS = "/api/payments/checkouts/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    origins = "https://shop.example"
    with running_instance(database_url, data_folder, DAFTARI_RETURN_ORIGINS=origins) as running:
        yield running


def test_every_example_is_named() -> None:
    assert EXAMPLES.keys() == TOTALS.keys()
    assert PAGE.count("```json") == len(EXAMPLES)


@pytest.mark.parametrize("name", TOTALS)
def test_an_example_is_created_shown_and_paid(instance: Instance, name: str) -> None:
    shop, example = instance.server("web-shop"), EXAMPLES[name]
    answer = shop.post(CHECKOUTS, json=example)
    assert answer.status_code == 201, answer.text
    created = answer.json()
    assert created["total_amount"] == TOTALS[name]
    assert created["reference"] == example.get("reference")
    assert created["metadata"] == example.get("metadata", {})
    assert shop.initiate(created["session_id"], phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    status = shop.status(created["session_id"])
    assert status["session_status"] == "order_created"
    assert status["order"]["order_number"] == example.get("reference", created["session_id"])


def test_the_bounds_that_the_page_names_are_those_of_the_code() -> None:
    assert f"1 to {checkout_schemas.MAX_LINES} of" in PAGE
    assert f"up to {checkout_schemas.MAX_REFERENCE_CHARACTERS} characters; used once" in PAGE
    assert (
        f"up to {checkout_schemas.MAX_METADATA} texts of up to {checkout_schemas.MAX_METADATA_CHARACTERS}"
        in PAGE
    )
    longest = int(LONGEST.total_seconds())
    assert f"seconds, {checkout_schemas.MIN_SECONDS} to {longest};" in PAGE
