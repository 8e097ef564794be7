"""A buyer pays and receives an order."""

from functools import partial
from pathlib import Path
from uuid import UUID

import pytest

from tests.scenarios.steps import (
    ANSWER_LOST,
    HONEY,
    MAIZE,
    PAYS_AT_ONCE,
    PHONE,
    TOMATOES,
    at_once,
    cart,
    count,
    event_names,
    observe,
    on_shelf,
    put_in_cart,
    put_on_shelf,
)
from tests.support.instance import DELIVERY, Client, Instance, running_instance, wait_for_status

CONTRACT_BODY = {
    "delivery_details": DELIVERY,
    "special_instructions": "Leave at the gate",
    "delivery_time_slot": "morning",
    "estimated_delivery_date": "2026-11-20",
}


def test_a_paid_session_becomes_an_order_once(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()

    shown = buyer.status(session_id)
    assert shown["session_status"] == "order_created"
    assert shown["order"]["order_status"] == "confirmed"
    assert shown["order"]["payment_status"] == "paid"
    assert on_shelf(buyer) == 38
    assert cart(buyer) == {}
    order = buyer.get(f"/api/orders/{shown['order']['order_id']}/").json()
    assert (order["total_cost"], order["delivery_fee"], order["total_amount"]) == (300, "50.00", "350.00")
    assert event_names(instance, session_id) == [
        "Created",
        "PaymentRequested",
        "PaymentInitiated",
        "Paid",
        "OrderCreated",
    ]


def test_every_total_of_an_order_is_exact_to_the_cent(instance: Instance) -> None:
    put_on_shelf(instance, MAIZE, price="33.33", stock="10")
    put_on_shelf(instance, HONEY, price="0.05", stock="10")
    buyer = instance.client(2)
    put_in_cart(buyer, MAIZE, "1.505")
    put_in_cart(buyer, HONEY, "3")
    session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()

    shown = buyer.get(f"/api/payments/sessions/{session_id}/").json()
    subtotals = [item["subtotal"] for item in shown["cart_snapshot"]["items"]]
    assert subtotals == [50.16, 0.15]
    assert (shown["cart_snapshot"]["total_cost"], shown["delivery_fee"]) == (50.31, "50.00")
    assert (shown["cart_snapshot"]["rounding"], shown["total_amount"]) == (-0.31, "100.00")
    assert shown["session_status"] == "order_created"
    [[received]] = observe(instance, "SELECT received_cents FROM payment_sessions")
    assert received == 100_00
    assert instance.simulator.statistics()["shillings_received"] == 100


@pytest.mark.usefixtures("clock")
def test_a_session_is_shown_as_in_the_contract(buyer: Client) -> None:
    answer = buyer.post("/api/payments/sessions/", json=CONTRACT_BODY)
    assert answer.status_code == 201
    shown = answer.json()

    assert str(UUID(shown["session_id"])) == shown["session_id"]
    assert shown["user"] == 1
    assert shown["delivery_details"] == DELIVERY | {
        "special_instructions": "Leave at the gate",
        "delivery_time_slot": "morning",
        "estimated_delivery_date": "2026-11-20",
    }
    [item] = shown["cart_snapshot"]["items"]
    assert isinstance(item.pop("cart_item_id"), int)
    assert item == {
        "listing_id": TOMATOES,
        "product_name": "Produce 123",
        "farm_name": "Green Valley Farm",
        "quantity": 2.0,
        "price_at_addition": 150.00,
        "subtotal": 300.00,
        "unit_of_measure": "kg",
    }
    assert '"quantity":2.0' in answer.text.replace(" ", "")
    assert shown["cart_snapshot"]["total_items"] == 2
    assert shown["cart_snapshot"]["total_cost"] == 300.00
    assert shown["total_amount"] == "350.00"
    assert shown["delivery_fee"] == "50.00"
    assert shown["phone_number"] == "0712345678"
    assert shown["session_status"] == "pending"
    assert shown["order"] is None
    assert shown["created_at"] == "2026-11-16T07:30:00Z"
    assert shown["expires_at"] == "2026-11-16T07:45:00Z"


def test_an_initiated_payment_is_shown_as_in_the_contract(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    shown = buyer.initiate(session_id, phone_number=PAYS_AT_ONCE).json()

    assert isinstance(shown.pop("transaction_id"), int)
    assert shown.pop("checkout_request_id").startswith("ws_CO_")
    assert shown == {
        "status": "success",
        "message": "STK Push sent successfully. Please check your phone.",
        "session_id": session_id,
        "customer_message": "Please check your phone for M-Pesa prompt.",
    }
    instance.work()
    [listed] = buyer.get("/api/payments/sessions/").json()["results"]
    assert listed["session_status"] == "order_created"
    assert set(listed["order_details"]) == {"order_id", "order_number"}


def test_paths_work_without_their_last_slash(instance: Instance, buyer: Client) -> None:
    session_id = buyer.post("/api/payments/sessions", json={"delivery_details": DELIVERY}).json()[
        "session_id"
    ]
    path = f"/api/payments/sessions/{session_id}"
    assert buyer.post(f"{path}/extend_session").status_code == 200
    assert buyer.post(f"{path}/initiate_payment", json={"phone_number": PAYS_AT_ONCE}).status_code == 200
    instance.work()
    assert buyer.get(f"{path}/status").json()["session_status"] == "order_created"
    assert buyer.get(path).json()["session_id"] == session_id
    assert buyer.get("/api/payments/sessions").json()["count"] == 1


def test_a_double_click_makes_one_session_and_gets_the_same_answer_twice(
    instance: Instance, buyer: Client
) -> None:
    clients = [instance.client(1) for _ in range(6)]
    answers = at_once([partial(client.create, key="one-click") for client in clients])
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {a.json()["error_code"] for a in answers if a.status_code == 409} <= {"IDEMPOTENCY_KEY_IN_USE"}
    again = buyer.create(key="one-click")
    first = next(answer for answer in answers if answer.status_code == 201)
    assert again.text == first.text
    assert again.status_code == 201
    assert UUID(again.json()["session_id"]).version == 7
    assert count(instance, "payment_sessions") == 1


def test_a_used_key_with_another_body_is_refused(instance: Instance, buyer: Client) -> None:
    assert buyer.create(key="k").status_code == 201
    other = buyer.create(key="k", special_instructions="Ring twice")
    assert (other.status_code, other.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert count(instance, "payment_sessions") == 1


def test_the_same_key_of_two_buyers_is_two_keys(instance: Instance, buyer: Client) -> None:
    other = instance.client(2)
    put_in_cart(other, TOMATOES, "1")
    mine, theirs = buyer.create(key="k").json(), other.create(key="k").json()
    assert mine["session_id"] != theirs["session_id"]
    assert (mine["user"], theirs["user"]) == (1, 2)


def test_an_initiation_is_repeated_by_its_key_without_a_second_prompt(
    instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    path = f"/api/payments/sessions/{session_id}/initiate_payment/"
    answers = [buyer.post(path, json={}, headers={"Idempotency-Key": "pay"}) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert len({answer.text for answer in answers}) == 1
    assert instance.simulator.submissions() == 1


def test_an_initiation_whose_answer_was_lost_is_repeated_by_its_key(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    path, body = f"/api/payments/sessions/{session_id}/initiate_payment/", {"phone_number": ANSWER_LOST}
    first, again = (buyer.post(path, json=body, headers={"Idempotency-Key": "pay"}) for _ in range(2))
    assert (first.status_code, first.text) == (again.status_code, again.text)
    assert (first.status_code, first.json()["checkout_request_id"]) == (202, None)
    assert again.headers["Idempotency-Replayed"] == "true"


def test_an_initiation_that_the_phone_refuses_lets_its_key_go(instance: Instance, buyer: Client) -> None:
    other = instance.client(2)
    put_in_cart(other, TOMATOES, "1")
    paths = [
        f"/api/payments/sessions/{each.create().json()['session_id']}/initiate_payment/"
        for each in (buyer, other)
    ]
    body, key = {"phone_number": PHONE}, {"Idempotency-Key": "pay"}
    assert buyer.post(paths[0], json=body, headers=key).status_code == 200
    for _ in range(2):
        busy = other.post(paths[1], json=body, headers=key)
        assert (busy.status_code, busy.json()["error_code"]) == (409, "PHONE_BUSY")
    free = other.post(paths[1], json={"phone_number": PAYS_AT_ONCE}, headers=key)
    assert free.status_code == 200


def test_a_final_refusal_of_a_create_is_kept_under_its_key_and_a_temporary_one_is_not(
    instance: Instance, buyer: Client
) -> None:
    other = instance.client(2)
    refused = other.create(key="k")
    assert (refused.status_code, refused.json()["error_code"]) == (400, "CART_EMPTY")
    put_in_cart(other, TOMATOES, "1")
    again = other.create(key="k")
    assert (again.status_code, again.text) == (refused.status_code, refused.text)
    reused = other.create(key="k", special_instructions="Ring twice")
    assert (reused.status_code, reused.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    put_on_shelf(instance, TOMATOES, stock="0")
    assert buyer.create(key="k").json()["error_code"] == "OUT_OF_STOCK"
    put_on_shelf(instance, TOMATOES, stock="40")
    assert buyer.create(key="k").status_code == 201
    assert count(instance, "payment_sessions") == 1


def test_cart_lines_are_bought_once_over_all_sessions(instance: Instance, buyer: Client) -> None:
    first, second = (buyer.create().json()["session_id"] for _ in range(2))
    assert buyer.initiate(first, phone_number="254700010002").status_code == 200
    assert buyer.initiate(second, phone_number="254700010003").status_code == 200
    instance.work()

    statuses = sorted(buyer.status(session_id)["session_status"] for session_id in (first, second))
    assert statuses == ["failed", "order_created"]
    reasons = [buyer.status(session_id)["reason"] for session_id in (first, second)]
    assert [reason["code"] for reason in reasons if reason] == ["CART_ALREADY_BOUGHT"]
    assert on_shelf(buyer) == 38
    [[owed]] = observe(instance, "SELECT sum(refund_due_cents) FROM payment_sessions")
    assert owed == 350_00


def test_a_running_worker_makes_the_order_of_a_payment(database_url: str, data_folder: Path) -> None:
    with running_instance(database_url, data_folder, AUTO_APPROVE_SECONDS="0") as instance:
        put_on_shelf(instance, TOMATOES, stock="40")
        buyer = instance.client(1)
        put_in_cart(buyer, TOMATOES, "2")
        instance.start_worker()
        session_id = instance.pay(buyer)
        shown = wait_for_status(buyer, session_id, "order_created")
        assert shown["order"]["order_number"].startswith("ORD-")
