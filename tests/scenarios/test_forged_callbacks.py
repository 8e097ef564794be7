"""Forged, replayed and unreadable callbacks."""

import json
from uuid import UUID

import pytest

from ledger.clock import now
from payments.inbox.inbox import Channel
from payments.worker.sweeps import act_on_messages
from tests.scenarios.steps import (
    ACKNOWLEDGED,
    CALLBACK_LOST,
    CALLBACKS,
    CONTRACT_CALLBACKS,
    PHONE,
    RECEIPT,
    TOMATOES,
    Clock,
    approve,
    callback,
    cases,
    count,
    event_names,
    messages,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    receipt_of,
    refund_due_cents,
    report,
    written_callback,
)
from tests.support.instance import Client, Instance

LATE = "254700010301"
"""Pays at once; the callback comes after the prompt has ended."""


HOSTILE = (
    b"",
    b"{}",
    b"[]",
    b"null",
    b"x",
    b"0",
    b'"Body"',
    b'{"Body": null}',
    b'{"Body": []}',
    b'{"Body": {"stkCallback": null}}',
    b'{"Body": {"stkCallback": []}}',
    b'{"Body": {"stkCallback": {}}}',
    b'{"Body": {"stkCallback": {"ResultCode": 0}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": "a", "CheckoutRequestID": "b"}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": 1, "CheckoutRequestID": [], "ResultCode": 0}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": "a", "CheckoutRequestID": "b", "ResultCode": null}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": "a", "CheckoutRequestID": "b", "ResultCode": {}}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": "a", "CheckoutRequestID": "b", "ResultCode": true}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": "a", "CheckoutRequestID": "b", "ResultCode": 1e999999999}}}',
    b'{"Body": {"stkCallback": {"MerchantRequestID": "\\u0000", "CheckoutRequestID": "\\ud800", "ResultCode": 0}}}',
    b'{"Body": {"stkCallback": {"ResultCode": 0}}, "Body": {}}',
    b'{"Body"',
    b"\xff\xfe\x00\x00",
    b"\x00" * 1000,
    b"[" * 60_000,
    b'{"a":' * 12_000,
    b"9" * 60_000,
    b"MerchantRequestID=a&ResultCode=0",
    b"<html>ResultCode 0</html>",
    b"x" * (5 << 20),
)


@pytest.mark.parametrize("proof", ["with its token", "with no token", "with a wrong token"])
def test_a_hostile_body_is_acknowledged_stored_dead_lettered_and_changes_nothing(
    instance: Instance, buyer: Client, proof: str
) -> None:
    session_id = instance.pay(buyer)
    before = event_names(instance, session_id)
    token = own_path(prompt_of(instance)).removeprefix(CALLBACKS)
    segment = {"with its token": token, "with no token": "", "with a wrong token": f"x{token}"}[proof]
    for body in HOSTILE:
        for path in (CALLBACKS, CONTRACT_CALLBACKS):
            answer = report(instance, path + segment, body)
            assert (answer.status_code, answer.json()) == (200, ACKNOWLEDGED), body[:100]
    instance.work()

    assert event_names(instance, session_id) == before
    kept = messages(instance)
    assert len(kept) == 2 * len(HOSTILE)
    assert {state for state, _ in kept} == {"set_aside"}
    shown = len(kept) if proof == "with its token" else 1
    assert [kind for kind, _ in cases(instance)] == ["letter_set_aside"] * shown
    [[longest]] = observe(instance, "SELECT max(length(sealed_body)) FROM daraja_inbox")
    assert longest < 200_000
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_callback_of_an_unknown_prompt_is_dead_lettered_in_the_end(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    unknown = callback(prompt_of(instance))
    unknown["Body"]["stkCallback"]["CheckoutRequestID"] = "ws_CO_161120261030000000000000"
    assert report(instance, CONTRACT_CALLBACKS, unknown).json() == ACKNOWLEDGED
    for _ in range(12):
        instance.work()
        clock.tick(700)
    assert messages(instance)[0] == ("set_aside", "unknown_checkout_request")
    assert "Paid" not in event_names(instance, session_id)


def test_the_ids_of_another_prompt_under_a_good_token_change_nothing(
    instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    body = callback(prompt)
    body["Body"]["stkCallback"]["CheckoutRequestID"] = "ws_CO_161120261030000000000000"
    report(instance, own_path(prompt), body)
    instance.work()
    assert messages(instance) == [("set_aside", "ids_differ")]
    assert buyer.status(session_id)["session_status"] == "payment_initiated"


def test_a_receipt_is_credited_to_one_session_only(instance: Instance, buyer: Client) -> None:
    first = instance.pay(buyer)
    other = instance.client(2)
    put_in_cart(other, TOMATOES, "1")
    second = instance.pay(other, phone_number="0722000001")
    for phone in (PHONE, "254722000001"):
        prompt = prompt_of(instance, phone)
        report(instance, own_path(prompt), callback(prompt))
    instance.work()

    assert buyer.status(first)["session_status"] == "order_created"
    assert other.status(second)["session_status"] == "payment_initiated"
    assert ("letter_set_aside", "stk: receipt_known_elsewhere") in cases(instance)


def test_a_success_without_its_token_is_no_payment_before_a_query_confirms_it(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    forged = callback(prompt_of(instance))
    assert report(instance, CONTRACT_CALLBACKS, forged).json() == ACKNOWLEDGED
    instance.work()
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    assert count(instance, "shop_orders") == 0

    clock.tick(6)
    instance.simulator.faults.script_queries("1032")
    instance.work()
    assert buyer.status(session_id)["session_status"] == "failed"
    assert buyer.status(session_id)["reason"]["code"] == "CANCELLED_BY_USER"
    assert count(instance, "shop_orders") == 0
    assert ("acted_on", "contradicted_by_query") in messages(instance)


def test_many_unauthenticated_callbacks_of_one_prompt_cause_one_query(
    instance: Instance, buyer: Client
) -> None:
    instance.pay(buyer)
    forged = callback(prompt_of(instance))
    for _ in range(20):
        report(instance, CONTRACT_CALLBACKS, forged)
    instance.work()
    assert instance.simulator.statistics()["query_requests"] == 1


def test_an_unprocessed_authenticated_callback_does_not_wait_behind_forged_ones(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    for _ in range(3):
        report(instance, CALLBACKS, written_callback(0, amount=350))
    body = json.dumps(callback(prompt)).encode()
    instance.services.worker.inbox.store(
        body,
        body_bytes=len(body),
        channel=Channel.STK,
        is_authenticated=True,
        session_id=UUID(session_id),
        attempt=1,
        owner=1,
        now=now(),
    )
    clock.tick(6)
    inbox, dispatcher = instance.services.worker.inbox, instance.services.worker.dispatcher
    assert act_on_messages(inbox, dispatcher, 1) == 1
    assert buyer.status(session_id)["session_status"] == "paid"
    assert act_on_messages(inbox, dispatcher, 1, is_authenticated=False) == 3


def test_a_success_without_its_token_is_a_payment_once_a_query_confirms_it(
    instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    report(instance, CONTRACT_CALLBACKS, callback(prompt_of(instance, CALLBACK_LOST)))
    assert "Paid" not in event_names(instance, session_id)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert ("acted_on", "confirmed_by_query") in messages(instance)


def test_a_cancellation_without_its_token_changes_nothing(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    report(instance, CALLBACKS, callback(prompt_of(instance), 1032))
    instance.work()
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_forged_receipt_makes_no_second_payment(clock: Clock, instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=LATE)
    forged = callback(prompt_of(instance, LATE), MpesaReceiptNumber="UKG0FORGED")
    report(instance, CONTRACT_CALLBACKS, forged)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"

    report(instance, CONTRACT_CALLBACKS, forged)
    instance.work()
    clock.tick(131)
    instance.work()
    assert event_names(instance, session_id)[-1] == "ReceiptRecorded"
    assert refund_due_cents(instance, session_id) == 0
    [[receipt]] = observe(instance, "SELECT receipt FROM payment_sessions")
    assert receipt == receipt_of(prompt_of(instance, LATE))


def test_a_forged_callback_cannot_take_the_receipt_of_another_session(
    instance: Instance, buyer: Client
) -> None:
    thief = instance.client(2)
    put_in_cart(thief, TOMATOES, "1")
    instance.pay(thief, phone_number=LATE)
    report(instance, CONTRACT_CALLBACKS, callback(prompt_of(instance, LATE), MpesaReceiptNumber=RECEIPT))
    instance.work()

    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    report(instance, own_path(prompt), callback(prompt, MpesaReceiptNumber=RECEIPT))
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_flood_that_proves_nothing_is_one_case_and_closed_at_once(instance: Instance) -> None:
    for number in range(30):
        report(instance, CALLBACKS, f"forgery {number}".encode())
    report(instance, CONTRACT_CALLBACKS, b"another")
    instance.work()
    operator = instance.client(9, "operator")
    shown = operator.get("/api/work-list/").json()
    [case] = shown["results"]
    assert (shown["count"], case["case_id"]) == (1, "unauthenticated")
    assert case["detail"] == "unauthenticated, and nothing confirms them: stk 31"
    [close] = case["actions"]
    assert operator.post(close["path"], json={"note": "a flood of forgeries"}).status_code == 200
    assert operator.get("/api/work-list/").json()["count"] == 0
    assert operator.post(close["path"], json={"note": "again"}).json()["error_code"] == "CASE_NOT_OPEN"
    assert {state for state, _ in messages(instance)} == {"acted_on"}
