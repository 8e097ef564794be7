"""docs/checkout-contract.md is true: its requests are sent as they stand, and the answers are those that it prints."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from flask.testing import FlaskClient
from freezegun import freeze_time
from werkzeug.test import TestResponse

from tests.scenarios.steps import (
    ANSWER_LOST,
    CONTRACT_CALLBACKS,
    PHONE,
    TOMATOES,
    Clock,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
)
from tests.support.instance import Instance, running_instance

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "checkout-contract.md").read_text("utf-8")
SESSIONS = "/api/payments/sessions/"
NUMBERED = {"session_id", "cart_item_id", "transaction_id", "checkout_request_id", "order_id", "receipt"}
"""Keys whose values are made up anew in each database; their types must be right all the same."""


def read(text: str) -> Any:
    """Read JSON and keep the decimals of its numbers: 150.00 is not 150.0."""
    return json.loads(text, parse_float=Decimal)


def shown(answer: TestResponse) -> Any:
    """Return the JSON of an answer."""
    return read(answer.get_data(as_text=True))


def examples() -> dict[str, Any]:
    """Return the JSON examples of the page by their names."""
    found = re.findall(r"<!-- example: ([a-z ]+) -->\n```json\n(.*?)```", PAGE, re.DOTALL)
    assert len(found) == PAGE.count("```json")
    return {name: read(text) for name, text in found}


EXAMPLES = examples()


def differences(found: Any, example: Any, where: str = "") -> list[str]:
    """Return where an answer has other keys, types or values than an example."""
    if type(found) is not type(example):
        return [f"{where}: {found!r} is not like {example!r}"]
    if isinstance(example, dict):
        extra = [f"{where}.{key}: on one side only" for key in found.keys() ^ example.keys()]
        both = sorted(found.keys() & example.keys())
        return [
            *extra,
            *(line for key in both for line in differences(found[key], example[key], f"{where}.{key}")),
        ]
    if isinstance(example, list):
        if len(found) != len(example):
            return [f"{where}: {len(found)} entries in place of {len(example)}"]
        pairs = enumerate(zip(found, example, strict=True))
        return [line for n, (one, other) in pairs for line in differences(one, other, f"{where}[{n}]")]
    is_free = where.rpartition(".")[2] in NUMBERED
    return [] if is_free or str(found) == str(example) else [f"{where}: {found!r} in place of {example!r}"]


@pytest.fixture
def clock() -> Iterator[Clock]:
    """Time stopped at the moment of the page's examples."""
    with freeze_time(EXAMPLES["created"]["created_at"]) as frozen:
        assert isinstance(frozen, Clock)
        yield frozen


@pytest.fixture
def instance(clock: Clock, database_url: str, data_folder: Path) -> Iterator[Instance]:  # noqa: ARG001 - stops time first
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, product_name="Fresh Tomatoes", stock="40")
        put_in_cart(running.client(1), TOMATOES, "2")
        yield running


@pytest.fixture
def client(instance: Instance) -> FlaskClient:
    """The buyer of the page, by Flask's test client."""
    client = instance.app.test_client()
    client.environ_base["HTTP_AUTHORIZATION"] = f"Bearer {instance.token(1)}"
    return client


@pytest.fixture
def own(client: FlaskClient) -> str:
    """The address of a session that was made by the page's request."""
    created = client.post(SESSIONS, json=EXAMPLES["create request"])
    assert_shown(created, 201, "created")
    return f"{SESSIONS}{shown(created)['session_id']}/"


def assert_shown(answer: TestResponse, status: int, example: str) -> None:
    assert (answer.status_code, differences(shown(answer), EXAMPLES[example])) == (status, [])


def status_of(client: FlaskClient, own: str) -> tuple[str, Any]:
    body = shown(client.get(f"{own}status/"))
    return body["session_status"], body["order"]


def test_a_checkout_goes_as_the_page_prints_it(instance: Instance, client: FlaskClient, own: str) -> None:
    initiated = client.post(f"{own}initiate_payment/", json=EXAMPLES["initiate request"])
    assert_shown(initiated, 200, "initiated")
    report = deepcopy(EXAMPLES["callback"])
    prompt = prompt_of(instance, PHONE)
    report["Body"]["stkCallback"]["MerchantRequestID"] = prompt.merchant_request_id
    report["Body"]["stkCallback"]["CheckoutRequestID"] = prompt.checkout_request_id
    assert_shown(client.post(own_path(prompt), json=report), 200, "acknowledged")
    assert_shown(client.get(f"{own}status/"), 200, "status")
    instance.work()
    assert_shown(client.get(SESSIONS), 200, "list")


def test_more_time_is_given_as_the_page_prints_it(client: FlaskClient, own: str) -> None:
    assert_shown(client.post(f"{own}extend_session/"), 200, "extended")
    for status in (200, 200, 400):
        assert client.post(f"{own}extend_session/").status_code == status


def test_a_lost_answer_and_an_expired_session_are_answered_as_printed(
    clock: Clock, client: FlaskClient, own: str
) -> None:
    other = shown(client.post(SESSIONS, json=EXAMPLES["create request"]))["session_id"]
    assert_shown(client.post(f"{own}initiate_payment/", json={"phone_number": ANSWER_LOST}), 202, "uncertain")
    clock.tick(15 * 60)
    assert_shown(client.post(f"{SESSIONS}{other}/initiate_payment/"), 400, "expired")


def test_wrong_input_is_answered_as_printed(client: FlaskClient) -> None:
    wrong = deepcopy(EXAMPLES["create request"])
    wrong["delivery_details"]["county_id"] = 99
    assert_shown(client.post(SESSIONS, json=wrong), 400, "invalid input")


def test_a_callback_to_the_address_of_the_contract_is_acknowledged_and_proves_nothing(
    instance: Instance, client: FlaskClient, own: str
) -> None:
    client.post(f"{own}initiate_payment/", json=EXAMPLES["initiate request"])
    stranger = instance.app.test_client()
    assert_shown(stranger.post(CONTRACT_CALLBACKS, json=EXAMPLES["callback"]), 200, "acknowledged")
    assert status_of(client, own) == ("payment_initiated", None)


def test_a_session_of_another_user_is_not_found(instance: Instance, own: str) -> None:
    stranger = instance.app.test_client()
    header = {"Authorization": f"Bearer {instance.token(2)}"}
    for address in (own, f"{SESSIONS}{uuid4()}/"):
        assert stranger.get(f"{address}status/", headers=header).status_code == 404
    assert stranger.get(f"{own}status/").status_code == 401


def test_differences_name_keys_types_values_and_lengths() -> None:
    example = {"a": 1, "b": [{"c": "x"}], "order_id": 7}
    assert differences({"a": 1, "b": [{"c": "x"}], "order_id": 8}, example) == []
    assert differences({"a": Decimal("1.0"), "b": [], "d": 0, "order_id": 7}, example) == [
        ".d: on one side only",
        ".a: Decimal('1.0') is not like 1",
        ".b: 0 entries in place of 1",
    ]
