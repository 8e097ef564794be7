"""The five endpoints of payment sessions answer as the checkout contract prints them, key by key and type by type."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import pytest

from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, put_in_cart, put_on_shelf
from tests.support.instance import DELIVERY, Client, Instance, running_instance

SESSIONS = "/api/payments/sessions/"
PROBLEM = "application/problem+json"
NEW_ORDER = {"order_id": 789, "order_number": "ORD-20240115-001"}
CREATED: dict[str, Any] = {
    "session_id": "550e8400-e29b-41d4-a716-446655440000",
    "user": 1,
    "cart_snapshot": {
        "items": [
            {
                "cart_item_id": 1,
                "listing_id": 123,
                "product_name": "Fresh Tomatoes",
                "farm_name": "Green Valley Farm",
                "quantity": 2.0,
                "price_at_addition": 150.00,
                "subtotal": 300.00,
                "unit_of_measure": "kg",
            }
        ],
        "total_items": 2,
        "total_cost": 300.00,
        "created_at": "2024-01-15T10:30:00Z",
    },
    "delivery_details": {
        **DELIVERY,
        "special_instructions": "Leave at the gate",
        "delivery_time_slot": "morning",
        "estimated_delivery_date": None,
    },
    "total_amount": "350.00",
    "delivery_fee": "50.00",
    "phone_number": "0712345678",
    "session_status": "pending",
    "order": None,
    "created_at": "2024-01-15T10:30:00Z",
    "expires_at": "2024-01-15T10:45:00Z",
}
INITIATED = {
    "status": "success",
    "message": "STK Push sent successfully. Please check your phone.",
    "session_id": "550e8400-e29b-41d4-a716-446655440000",
    "transaction_id": 456,
    "checkout_request_id": "ws_CO_15012024103045123",
    "customer_message": "Please check your phone for M-Pesa prompt.",
}
STATUS = {
    "session_id": "550e8400-e29b-41d4-a716-446655440000",
    "session_status": "order_created",
    "order": NEW_ORDER | {"order_status": "confirmed", "payment_status": "paid"},
    "expires_at": "2024-01-15T10:45:00Z",
    "created_at": "2024-01-15T10:30:00Z",
}
EXTENDED = {"status": "success", "message": "Session extended", "expires_at": "2024-01-15T11:00:00Z"}
LISTED = {
    "count": 2,
    "next": None,
    "previous": None,
    "results": [
        {
            "session_id": "550e8400-e29b-41d4-a716-446655440000",
            "session_status": "order_created",
            "total_amount": "350.00",
            "created_at": "2024-01-15T10:30:00Z",
            "order_details": NEW_ORDER,
        }
    ],
}


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, product_name="Fresh Tomatoes", stock="40")
        yield running


@pytest.fixture
def buyer(instance: Instance) -> Client:
    client = instance.client(1)
    put_in_cart(client, TOMATOES, "2")
    return client


def assert_shaped_like(shown: Any, example: Any, where: str = "answer") -> None:
    """Fail unless `shown` has every key of `example`, each with a value of the same JSON type."""
    assert _json_type(shown) == _json_type(example), where
    if isinstance(example, dict):
        assert set(example) <= set(shown), where
        for name, part in example.items():
            assert_shaped_like(shown[name], part, f"{where}.{name}")
    elif isinstance(example, list) and example:
        assert shown, where
        for part in shown:
            assert_shaped_like(part, example[0], where)


def _json_type(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value)
    return "number" if isinstance(value, int | float) else type(value).__name__


def assert_refused(answer: Any, status: int, code: str) -> None:
    body = answer.json()
    assert (answer.status_code, body["status"], body["error_code"]) == (status, "error", code)
    assert body["message"]


@pytest.mark.parametrize("slash", ["/", ""])
def test_every_answer_has_the_contracts_keys_and_types(instance: Instance, buyer: Client, slash: str) -> None:
    body = {
        "delivery_details": DELIVERY,
        "special_instructions": "Leave at the gate",
        "delivery_time_slot": "morning",
    }
    created = buyer.post(f"/api/payments/sessions{slash}", json=body)
    assert created.status_code == 201
    assert_shaped_like(created.json(), CREATED)
    own = f"{SESSIONS}{created.json()['session_id']}"
    extended = buyer.post(f"{own}/extend_session{slash}")
    assert extended.status_code == 200
    assert_shaped_like(extended.json(), EXTENDED)
    initiated = buyer.post(f"{own}/initiate_payment{slash}", json={"phone_number": PAYS_AT_ONCE})
    assert initiated.status_code == 200
    assert_shaped_like(initiated.json(), INITIATED)
    assert type(initiated.json()["transaction_id"]) is int
    instance.work()
    assert_shaped_like(buyer.get(f"{own}/status{slash}").json(), STATUS)
    assert_shaped_like(buyer.get(f"/api/payments/sessions{slash}").json(), LISTED)
    assert_shaped_like(buyer.get(own + slash).json(), CREATED | {"order": STATUS["order"]})
    assert buyer.get(f"{own}/events{slash}").json()["events"][0]["event"] == "Created"


def test_a_refusal_has_the_contracts_keys_or_those_of_problem_details(buyer: Client) -> None:
    address = f"{SESSIONS}{uuid4()}/status/"
    assert_refused(buyer.get(address), 404, "SESSION_NOT_FOUND")
    problem = buyer.get(address, headers={"Accept": PROBLEM})
    assert problem.headers["Content-Type"] == PROBLEM
    shown = problem.json()
    assert (shown["status"], shown["title"]) == (404, "Not Found")
    assert (shown["error_code"], shown["type"]) == ("SESSION_NOT_FOUND", "/docs/#SESSION_NOT_FOUND")


def test_everything_wrong_with_the_input_comes_in_one_answer_by_field(buyer: Client) -> None:
    details = DELIVERY | {
        "full_name": " ",
        "phone_number": "0812345678",
        "county_id": "1",
        "subcounty_id": True,
    }
    del details["detailed_address"]
    answer = buyer.create(
        delivery_details=details,
        special_instructions="x" * 501,
        delivery_time_slot="midnight",
        estimated_delivery_date="15/01/2024",
    )
    assert_refused(answer, 400, "INVALID_INPUT")
    nested = ("full_name", "phone_number", "county_id", "subcounty_id", "detailed_address")
    assert set(answer.json()["errors"]) == {
        *(f"delivery_details.{name}" for name in nested),
        "special_instructions",
        "delivery_time_slot",
        "estimated_delivery_date",
    }


@pytest.mark.parametrize(
    ("place", "field"), [({"county_id": 48}, "county_id"), ({"subcounty_id": 100}, "subcounty_id")]
)
def test_a_place_that_does_not_exist_is_named_with_whatever_else_is_wrong(
    buyer: Client, place: dict[str, int], field: str
) -> None:
    for wrong in ({"full_name": " "}, {}):
        answer = buyer.create(delivery_details=DELIVERY | place | wrong, delivery_time_slot="midnight")
        assert set(answer.json()["errors"]) == {
            "delivery_time_slot",
            *(f"delivery_details.{name}" for name in (field, *wrong)),
        }
    alone = buyer.create(delivery_details=DELIVERY | place)
    assert set(alone.json()["errors"]) == {f"delivery_details.{field}"}


@pytest.mark.parametrize("details", [None, [], "John Doe", 7])
def test_details_that_are_no_object_are_named(buyer: Client, details: Any) -> None:
    answer = buyer.post(SESSIONS, json={"delivery_details": details})
    assert_refused(answer, 400, "INVALID_INPUT")
    assert set(answer.json()["errors"]) == {"delivery_details"}


@pytest.mark.parametrize(
    "phone", ["", "12", "07" + "\uff11" * 8, "+1 555 0100", 712345678, None, ["0712345678"]]
)
def test_a_phone_that_cannot_be_prompted_is_named(buyer: Client, phone: Any) -> None:
    session_id = buyer.create().json()["session_id"]
    answer = buyer.initiate(session_id, phone_number=phone)
    assert_refused(answer, 400, "INVALID_INPUT")
    assert list(answer.json()["errors"]) == ["phone_number"]


def test_a_key_makes_each_post_safe_to_repeat_and_is_bound_to_its_body(buyer: Client) -> None:
    created = buyer.create(key="create")
    again = buyer.create(key="create")
    assert (again.status_code, again.content) == (created.status_code, created.content)
    assert again.headers["Idempotency-Replayed"] == "true"
    assert_refused(buyer.create(key="create", special_instructions="Ring"), 422, "IDEMPOTENCY_KEY_REUSED")

    own = f"{SESSIONS}{created.json()['session_id']}"
    for action in ("extend_session", "initiate_payment"):
        key = {"Idempotency-Key": action}
        first = buyer.post(f"{own}/{action}/", headers=key)
        second = buyer.post(f"{own}/{action}", headers=key)
        assert (first.status_code, first.content) == (200, second.content)
        other = buyer.post(f"{own}/{action}/", json={"phone_number": "0722000001"}, headers=key)
        assert_refused(other, 422, "IDEMPOTENCY_KEY_REUSED")
    assert buyer.events(created.json()["session_id"]) == [
        "Created",
        "Extended",
        "PaymentRequested",
        "PaymentInitiated",
    ]


def test_the_same_key_of_another_buyer_is_another_key(instance: Instance, buyer: Client) -> None:
    other = instance.client(2)
    put_in_cart(other, TOMATOES, "1")
    mine, others = buyer.create(key="one"), other.create(key="one")
    assert (mine.status_code, others.status_code) == (201, 201)
    assert mine.json()["session_id"] != others.json()["session_id"]


@pytest.mark.parametrize("role", ["operator", "analyst", "auditor"])
def test_only_customers_have_sessions(instance: Instance, buyer: Client, role: str) -> None:
    session_id = buyer.create().json()["session_id"]
    asking = instance.client(1, role)
    assert_refused(asking.create(), 403, "ROLE_REQUIRED")
    assert_refused(asking.get(SESSIONS), 403, "ROLE_REQUIRED")
    for name in ("", "status/", "events/"):
        assert_refused(asking.get(f"{SESSIONS}{session_id}/{name}"), 403, "ROLE_REQUIRED")
    for name in ("initiate_payment/", "extend_session/"):
        assert_refused(asking.post(f"{SESSIONS}{session_id}/{name}"), 403, "ROLE_REQUIRED")


def test_anothers_session_looks_like_one_that_does_not_exist(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    stranger = instance.client(2)
    for owned in (session_id, str(uuid4())):
        for name in ("", "status/", "events/"):
            assert_refused(stranger.get(f"{SESSIONS}{owned}/{name}"), 404, "SESSION_NOT_FOUND")
        for name in ("initiate_payment/", "extend_session/"):
            assert_refused(stranger.post(f"{SESSIONS}{owned}/{name}"), 404, "SESSION_NOT_FOUND")
    assert stranger.get(SESSIONS).json()["count"] == 0
    assert buyer.events(session_id) == ["Created"]


def test_the_links_of_a_list_lead_through_all_pages_and_back(instance: Instance, buyer: Client) -> None:
    put_in_cart(buyer, TOMATOES, "2")
    for _ in range(3):
        assert buyer.post(SESSIONS, json={"delivery_details": DELIVERY}).status_code == 201
    pages = [buyer.get(SESSIONS + "?page_size=1").json()]
    while pages[-1]["next"]:
        pages.append(buyer.get(pages[-1]["next"].removeprefix(instance.base_url)).json())
    shown = [session["session_id"] for page in pages for session in page["results"]]
    assert len(set(shown)) == len(shown) == pages[0]["count"]
    assert "cursor=after~" in unquote(pages[0]["next"])
    for page, following in pairwise(pages):
        assert buyer.get(following["previous"].removeprefix(instance.base_url)).json() == page


def test_the_list_is_filtered_by_status_and_capped(buyer: Client) -> None:
    first, second = (buyer.create().json()["session_id"] for _ in range(2))
    buyer.initiate(first)
    waiting = buyer.get(SESSIONS, params={"status": "payment_initiated"}).json()
    assert [row["session_id"] for row in waiting["results"]] == [first]
    pending = buyer.get(SESSIONS, params={"status": "pending", "page_size": "5000"}).json()
    assert (pending["count"], [row["session_id"] for row in pending["results"]]) == (1, [second])
    assert_refused(buyer.get(SESSIONS, params={"status": "lost"}), 400, "INVALID_INPUT")
    page = buyer.get(SESSIONS, params={"page_size": 1}).json()
    assert len(page["results"]) == 1
    assert "page=2" in page["next"]
