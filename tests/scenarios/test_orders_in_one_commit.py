"""A callback, its payment and the order are one commit; what keeps that from happening leaves each in order."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import psycopg
import pytest
from structlog.testing import capture_logs

from ledger.application import Ledger
from ledger.store.parts import Part
from tests.scenarios.steps import (
    CALLBACK_LOST,
    TOMATOES,
    Clock,
    approve,
    at_once,
    callback,
    cases,
    count,
    event_names,
    let_phones_answer,
    messages,
    observe,
    on_shelf,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    receipt_of,
    refund_due_cents,
    report,
)
from tests.support.instance import Client, Instance
from tests.support.shop_faults import REFUSES_ORDERS, listings_held

COMMITS = """
SELECT substring(topic FROM 'payment_session\\.(.*)\\.v1'), position >> 20 FROM payment_events
WHERE session_id = %s ORDER BY version
"""
NOT_AT_ONCE = "callback_not_settled_at_once"
PHONES = ("254712345678", "254712345679")


def other_buyer(instance: Instance) -> tuple[Client, str]:
    buyer = instance.client(2)
    put_in_cart(buyer, TOMATOES, "1")
    return buyer, instance.pay(buyer, phone_number=PHONES[1])


def test_payment_and_order_are_one_commit(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    commits = dict(observe(instance, COMMITS, session_id))
    assert commits["paid"] == commits["order_created"] != commits["payment_initiated"]
    assert messages(instance) == [("acted_on", None)]
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert on_shelf(buyer) == 38
    assert count(instance, "live_prompts") == 0
    instance.work()
    assert event_names(instance, session_id).count("OrderCreated") == count(instance, "shop_orders") == 1


def test_a_repeated_callback_changes_nothing(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    for _ in range(3):
        report(instance, own_path(prompt), callback(prompt))
    assert event_names(instance, session_id)[-2:] == ["Paid", "OrderCreated"]
    assert messages(instance) == [("acted_on", None)] * 3
    assert on_shelf(buyer) == 38


@pytest.mark.parametrize("code", ["P0001", "40P01", "57014", "55P03"])
def test_a_shop_that_fails_costs_the_payment_nothing(instance: Instance, buyer: Client, code: str) -> None:
    session_id = instance.pay(buyer)
    with psycopg.connect(instance.settings.database_url) as owner:
        owner.execute(REFUSES_ORDERS.format(code=code).encode())
    with capture_logs() as logs:
        approve(instance)
    assert buyer.status(session_id)["session_status"] == "paid"
    assert messages(instance) == [("acted_on", None)]
    assert on_shelf(buyer) == 40
    assert count(instance, "shop_orders") == 0
    assert [each["session_id"] for each in logs if each["event"] == NOT_AT_ONCE] == [session_id]


def test_a_callback_does_not_wait_for_listings_that_somebody_holds(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    with listings_held(instance.settings.database_url):
        approve(instance)
        assert buyer.status(session_id)["session_status"] == "paid"
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert on_shelf(buyer) == 38


def test_an_order_refused_in_the_callback_is_ended_by_the_worker(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    put_on_shelf(instance, TOMATOES, stock="1")
    approve(instance)
    assert buyer.status(session_id)["session_status"] == "paid"
    instance.work()
    assert buyer.status(session_id)["session_status"] == "failed"
    assert refund_due_cents(instance, session_id) == 350_00
    assert on_shelf(buyer) == 1


def test_a_receipt_of_another_session_makes_no_order(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=PHONES[0])
    first = prompt_of(instance, PHONES[0])
    report(instance, own_path(first), callback(first))
    other, other_id = other_buyer(instance)
    second = prompt_of(instance, PHONES[1])
    report(instance, own_path(second), callback(second))
    assert event_names(instance, other_id)[-1] == "PaymentInitiated"
    assert messages(instance) == [("acted_on", None), ("set_aside", "receipt_known_elsewhere")]
    assert (on_shelf(other), count(instance, "shop_orders")) == (38, 1)
    assert event_names(instance, session_id)[-1] == "OrderCreated"


def test_of_a_callback_and_a_status_query_at_once_one_records_the_payment(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    let_phones_answer(instance)
    clock.tick(20)
    prompt = prompt_of(instance, CALLBACK_LOST)
    late = callback(prompt, MpesaReceiptNumber=receipt_of(prompt))

    def call() -> None:
        report(instance, own_path(prompt), late)

    at_once([instance.work, call])
    instance.work()
    names = event_names(instance, session_id)
    assert (names.count("Paid"), names.count("OrderCreated"), count(instance, "shop_orders")) == (1, 1, 1)
    assert cases(instance) == []


def test_a_callback_that_another_writer_overtakes_is_settled_all_the_same(
    instance: Instance, buyer: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    session_id = instance.pay(buyer)
    write = Ledger.write

    def overtaken(ledger: Ledger, parts: Mapping[str, Part]) -> dict[str, Any]:
        monkeypatch.undo()
        assert buyer.post(f"/api/payments/sessions/{session_id}/extend_session/").status_code == 200
        return write(ledger, parts)

    monkeypatch.setattr(Ledger, "write", overtaken)
    with capture_logs() as logs:
        approve(instance)
    assert event_names(instance, session_id)[-3:] == ["Extended", "Paid", "OrderCreated"]
    assert [each for each in logs if each["event"] == NOT_AT_ONCE] == []
    assert messages(instance) == [("acted_on", None)]


def test_two_buyers_of_the_last_units_at_once_have_one_order(instance: Instance, buyer: Client) -> None:
    put_on_shelf(instance, TOMATOES, stock="2")
    sessions = [instance.pay(buyer, phone_number=PHONES[0]), other_buyer(instance)[1]]
    prompts = [prompt_of(instance, phone) for phone in PHONES]
    bodies = [callback(each, MpesaReceiptNumber=f"UKG000000{number}") for number, each in enumerate(prompts)]
    at_once(
        [
            partial(report, instance, own_path(prompt), body)
            for prompt, body in zip(prompts, bodies, strict=True)
        ]
    )
    instance.work()
    last = sorted(event_names(instance, session_id)[-1] for session_id in sessions)
    assert last == ["OrderCreated", "RefundDue"]
