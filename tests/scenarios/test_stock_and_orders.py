"""The last units of stock, withdrawn listings, and what stays in the cart."""

from functools import partial
from typing import Any

import pytest

from tests.scenarios.steps import (
    HONEY,
    PAYS_AT_ONCE,
    TOMATOES,
    approve,
    at_once,
    callback,
    cart,
    cases,
    count,
    observe,
    on_shelf,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    refund_due_cents,
    report,
)
from tests.support.instance import Client, Instance
from tests.support.suites import others_in_system


@pytest.mark.parametrize("times", others_in_system([5, 20], 5))
def test_of_two_buyers_of_the_last_units_one_has_an_order_and_one_a_refund_due(
    instance: Instance, times: int
) -> None:
    for number in range(times):
        put_on_shelf(instance, TOMATOES, stock="2")
        buyers = [instance.client(100 + 2 * number + side) for side in range(2)]
        sessions, reports = [], []
        for side, buyer in enumerate(buyers):
            put_in_cart(buyer, TOMATOES, "2")
            phone = f"25471234{2 * number + side:04d}"
            sessions.append(instance.pay(buyer, phone_number=phone))
            prompt = prompt_of(instance, phone)
            body = callback(prompt, MpesaReceiptNumber=f"UKG{2 * number + side:07d}")
            reports.append(partial(report, instance, own_path(prompt), body))
        at_once(reports)
        instance.work()

        ends = [buyer.status(session_id) for buyer, session_id in zip(buyers, sessions, strict=True)]
        assert sorted(end["session_status"] for end in ends) == ["failed", "order_created"]
        assert [end["reason"]["code"] for end in ends if end["reason"]] == ["OUT_OF_STOCK"]
        assert sorted(refund_due_cents(instance, session_id) for session_id in sessions) == [0, 350_00]
        assert on_shelf(buyers[0]) == 0
    assert count(instance, "shop_orders") == times


def test_many_buyers_at_once_never_take_stock_below_zero(instance: Instance) -> None:
    put_on_shelf(instance, TOMATOES, stock="5")
    put_on_shelf(instance, HONEY, stock="3")
    buyers = [instance.client(user) for user in range(1, 9)]
    reports = []
    for number, buyer in enumerate(buyers):
        for listing in (TOMATOES, HONEY) if number % 2 else (HONEY, TOMATOES):
            put_in_cart(buyer, listing, "1")
        phone = f"2547123456{number:02d}"
        instance.pay(buyer, phone_number=phone)
        prompt = prompt_of(instance, phone)
        body = callback(prompt, MpesaReceiptNumber=f"UKG{number:07d}")
        reports.append(partial(report, instance, own_path(prompt), body))
    at_once(reports)
    instance.work()

    ends = [buyer.get("/api/payments/sessions/").json()["results"][0]["session_status"] for buyer in buyers]
    assert sorted(ends) == ["failed"] * 5 + ["order_created"] * 3
    assert (on_shelf(buyers[0], HONEY), on_shelf(buyers[0], TOMATOES)) == (0, 2)
    assert [kind for kind, _ in cases(instance)] == ["refund_due"] * 5


def test_a_listing_withdrawn_before_the_payment_makes_a_refund_due(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    put_on_shelf(instance, TOMATOES, withdrawn=True)
    approve(instance)
    instance.work()
    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "LISTING_WITHDRAWN")
    assert shown["order"] is None
    assert refund_due_cents(instance, session_id) == 350_00
    assert cases(instance) == [("refund_due", "LISTING_WITHDRAWN")]


def test_a_cart_beyond_the_stock_opens_no_session(instance: Instance, buyer: Client) -> None:
    put_in_cart(buyer, TOMATOES, "41")
    answer = buyer.create()
    assert (answer.status_code, answer.json()["error_code"]) == (409, "OUT_OF_STOCK")
    assert count(instance, "payment_sessions") == 0


def test_a_session_beyond_the_stock_gets_no_prompt(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    changes: tuple[dict[str, Any], ...] = ({"stock": "1"}, {"stock": "40", "withdrawn": True})
    for change in changes:
        put_on_shelf(instance, TOMATOES, **change)
        answer = buyer.initiate(session_id)
        assert (answer.status_code, answer.json()["error_code"]) == (409, "OUT_OF_STOCK")
    assert instance.simulator.submissions() == 0
    put_on_shelf(instance, TOMATOES, stock="2")
    assert buyer.initiate(session_id, phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_an_empty_cart_opens_no_session(instance: Instance) -> None:
    answer = instance.client(5).create()
    assert (answer.status_code, answer.json()["error_code"]) == (400, "CART_EMPTY")


def test_lines_added_to_the_cart_later_stay_after_the_order(instance: Instance, buyer: Client) -> None:
    put_on_shelf(instance, HONEY, stock="10")
    session_id = instance.pay(buyer)
    put_in_cart(buyer, HONEY, "3")
    put_in_cart(buyer, TOMATOES, "5")
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert cart(buyer) == {HONEY: 3, TOMATOES: 3}
    assert on_shelf(buyer) == 38


def test_a_price_that_changes_after_the_checkout_changes_no_session(
    instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    put_on_shelf(instance, TOMATOES, price="999.00")
    assert buyer.initiate(session_id, phone_number=PAYS_AT_ONCE).status_code == 200
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert instance.simulator.statistics()["shillings_received"] == 350


def test_an_order_is_shown_to_its_buyer_only(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    order_id = buyer.status(session_id)["order"]["order_id"]
    assert buyer.get(f"/api/orders/{order_id}/").json()["session_id"] == session_id
    assert instance.client(2).get(f"/api/orders/{order_id}/").status_code == 404
    assert observe(instance, "SELECT user_id FROM shop_orders") == [(1,)]
