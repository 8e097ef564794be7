"""Validation of what buyers and other clients send."""

from typing import Any

import pytest

from tests.scenarios.steps import (
    CALLBACK_LOST,
    TOMATOES,
    Clock,
    count,
    event_names,
    observe,
    prompt_of,
    put_in_cart,
)
from tests.support.instance import DELIVERY, Client, Instance

SAME_NUMBER = (
    "0712345678",
    "+254712345678",
    "254712345678",
    "712345678",
    "0712 345 678",
    " 0712-345-678 ",
    "+254 (0) 712 345 678",
    "00254712345678",
    "0712\u00a0345\u00a0678",
)
NO_NUMBER: tuple[object, ...] = (
    "0",
    "07abc",
    "254",
    "",
    " ",
    712345678,
    254712345678,
    7.1e8,
    None,
    True,
    [],
    ["0712345678"],
    {"number": "0712345678"},
    "0712345678901234",
    "+14155552671",
    "+255712345678",
    "0812345678",
    "0202345678",
    "071234567",
    "254708***430",
    "０７１２３４５６７８",  # noqa: RUF001 - full-width digits are digits to Python, and none to M-Pesa
    "0712345678\n0712345679",
    "0712345678' OR 1=1",
    "0" * 10_000,
)
IN_DETAILS: tuple[tuple[str, object], ...] = (
    ("full_name", ""),
    ("full_name", "   "),
    ("full_name", None),
    ("full_name", 7),
    ("full_name", ["John", "Doe"]),
    ("full_name", {"first": "John"}),
    ("full_name", "x" * 101),
    ("full_name", "a\x07b"),
    ("detailed_address", "x" * 5_000),
    ("detailed_address", None),
    ("detailed_address", True),
    ("county_id", "abc"),
    ("county_id", "1"),
    ("county_id", None),
    ("county_id", 1.5),
    ("county_id", 1.0),
    ("county_id", True),
    ("county_id", 0),
    ("county_id", -1),
    ("county_id", 48),
    ("county_id", 2**63),
    ("county_id", 10**30),
    ("county_id", [1]),
    ("subcounty_id", "5"),
    ("subcounty_id", None),
    ("subcounty_id", False),
    ("subcounty_id", 999_999),
    ("subcounty_id", 100),
)
BESIDE_DETAILS: tuple[tuple[str, object], ...] = (
    ("delivery_details", None),
    ("delivery_details", []),
    ("delivery_details", "John Doe"),
    ("special_instructions", "x" * 5_000),
    ("special_instructions", 5),
    ("special_instructions", ["Ring"]),
    ("delivery_time_slot", "midnight"),
    ("delivery_time_slot", ""),
    ("delivery_time_slot", 1),
    ("estimated_delivery_date", "2026-11-15"),
    ("estimated_delivery_date", "15/01/2024"),
    ("estimated_delivery_date", "2026-02-30"),
    ("estimated_delivery_date", "2026-11-20T00:00:00Z"),
    ("estimated_delivery_date", "20261120"),
    ("estimated_delivery_date", "9999-12-31"),
    ("estimated_delivery_date", 20261120),
    ("estimated_delivery_date", ""),
)
UNUSUAL_BUT_FINE: tuple[dict[str, object], ...] = (
    {"detailed_address": "x" * 101},
    {"detailed_address": "x" * 500},
    {"detailed_address": "Plot 7\nGate 3\r\nNairobi"},
    {"full_name": "Ng'ũgĩ wa Thiong'o"},
    {"full_name": "👩‍🌾🍅"},
    {"full_name": "x" * 100},
    {"full_name": "Robert'); DROP TABLE payment_events;--"},
    {"full_name": "<script>alert(1)</script>"},
    {"full_name": "=HYPERLINK(1)"},
    {"detailed_address": "\u202eback to front"},
    {"full_name": "Anyone", "nickname": "not ours", "county": {"id": 1}},
)
NOT_A_BODY = (
    b"",
    b"[]",
    b"null",
    b'"text"',
    b"7",
    b"{",
    b'{"delivery_details": {"full_name": "a\\u0000b"}}',
    b'{"delivery_details": {"full_name": "\\ud800"}}',
    b'{"delivery_details": NaN}',
    b'{"phone_number": 1e999999999}',
    b"\xff\xfe",
    b"[" * 50_000,
    b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    b"x" * 70_000,
)


def test_all_ways_to_type_a_phone_number_give_the_same_number(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    for typed in SAME_NUMBER:
        details = DELIVERY | {"phone_number": typed}
        answer = buyer.create(delivery_details=details)
        assert answer.status_code == 201, typed
        assert answer.json()["phone_number"] == typed
        assert buyer.initiate(answer.json()["session_id"]).status_code == 200, typed
        other = buyer.create().json()["session_id"]
        busy = buyer.initiate(other, phone_number=typed)
        assert busy.json()["error_code"] == "PHONE_BUSY", typed
        instance.simulator.approve(instance.simulator.prompts(open_only=True)[0].checkout_request_id)
        instance.work()
        put_in_cart(buyer, TOMATOES, "1")
        clock.tick(1)
    assert {prompt.phone for prompt in instance.simulator.prompts()} == {"254712345678"}
    assert buyer.create(delivery_details=DELIVERY | {"phone_number": "0112345678"}).status_code == 201


def test_an_invalid_phone_number_is_refused_with_its_field_named(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    for typed in NO_NUMBER:
        created = buyer.create(delivery_details=DELIVERY | {"phone_number": typed})
        assert _refusal(created) == (400, {"delivery_details.phone_number"}), typed
        initiated = buyer.initiate(session_id, phone_number=typed)
        assert _refusal(initiated) == (400, {"phone_number"}), typed
    assert instance.simulator.submissions() == 0
    assert count(instance, "payment_sessions") == 1
    assert event_names(instance, session_id) == ["Created"]


@pytest.mark.usefixtures("clock")
def test_invalid_delivery_details_are_refused_at_once_with_their_field_named(
    instance: Instance, buyer: Client
) -> None:
    for name, value in IN_DETAILS:
        answer = buyer.create(delivery_details=DELIVERY | {name: value})
        status, fields = _refusal(answer)
        assert status == 400, (name, value)
        assert fields <= {f"delivery_details.{name}", "delivery_details.subcounty_id"}, (name, value)
        assert fields, (name, value)
    for name in DELIVERY:
        without = {key: value for key, value in DELIVERY.items() if key != name}
        assert _refusal(buyer.create(delivery_details=without)) == (400, {f"delivery_details.{name}"})
    for name, value in BESIDE_DETAILS:
        body = {"delivery_details": DELIVERY} | {name: value}
        status, fields = _refusal(buyer.post("/api/payments/sessions/", json=body))
        assert status == 400, (name, value)
        assert all(field.startswith(name) for field in fields), (name, value)
    assert count(instance, "payment_sessions") == 0


@pytest.mark.usefixtures("clock")
def test_unusual_text_reaches_the_order_unchanged(instance: Instance, buyer: Client) -> None:
    for number, changed in enumerate(UNUSUAL_BUT_FINE):
        session = buyer.create(
            delivery_details=DELIVERY | changed,
            special_instructions="🍅" * 500,
            delivery_time_slot="evening",
            estimated_delivery_date="2026-11-16",
        )
        assert session.status_code == 201, changed
        session_id = session.json()["session_id"]
        assert buyer.initiate(session_id, phone_number=f"2547000100{number:02d}").status_code == 200
        instance.work()
        shown = buyer.status(session_id)
        assert shown["session_status"] == "order_created", changed
        details = buyer.get(f"/api/orders/{shown['order']['order_id']}/").json()["delivery_details"]
        name = changed.get("full_name", DELIVERY["full_name"])
        assert details["full_name"] == name
        assert buyer.put("/api/cart/items/123/", json={"quantity": "2"}).status_code == 200


def test_a_body_that_is_no_json_object_is_refused_as_a_json_error(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    json_type = {"Content-Type": "application/json"}
    for body in NOT_A_BODY:
        for path in ("", f"{session_id}/initiate_payment/"):
            if not body and path:
                continue
            answer = buyer.post(f"/api/payments/sessions/{path}", data=body, headers=json_type)
            assert answer.status_code in (400, 413), body[:60]
            assert answer.json()["status"] == "error", body[:60]
    form = buyer.post("/api/payments/sessions/", data="a=1", headers={"Content-Type": "text/plain"})
    assert (form.status_code, form.json()["error_code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert count(instance, "payment_sessions") == 1


def test_all_errors_of_a_body_come_in_one_answer(buyer: Client) -> None:
    wrong = {"full_name": 1, "phone_number": "0", "county_id": "x", "detailed_address": "x" * 5_000}
    answer = buyer.create(
        delivery_details=wrong, delivery_time_slot="midnight", estimated_delivery_date="yesterday"
    )
    assert _refusal(answer) == (
        400,
        {
            "delivery_details.full_name",
            "delivery_details.phone_number",
            "delivery_details.county_id",
            "delivery_details.subcounty_id",
            "delivery_details.detailed_address",
            "delivery_time_slot",
            "estimated_delivery_date",
        },
    )
    assert answer.json()["error_code"] == "INVALID_INPUT"
    assert all(sentences for sentences in answer.json()["errors"].values())


def test_no_table_holds_a_name_phone_or_address_in_the_clear(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    clock.tick(13)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    names = observe(instance, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    secrets = ("John Doe", "123 Main Street", "712345678", "700010101", "simulator-passkey")
    checkout_id = prompt_of(instance, CALLBACK_LOST).checkout_request_id
    for [table] in names:
        for secret in (*secrets, checkout_id):
            found = observe(instance, f"SELECT count(*) FROM {table} t WHERE t::text LIKE %s", f"%{secret}%")
            assert found == [(0,)], (table, secret)


def _refusal(answer: Any) -> tuple[int, set[str]]:
    return answer.status_code, set(answer.json().get("errors", {}))
