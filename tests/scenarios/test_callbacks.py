"""Callbacks in any sequence, with any amount and any result code."""

from functools import partial
from itertools import permutations

from daraja.simulator.prompts import StkPrompt
from tests.scenarios.steps import (
    ACKNOWLEDGED,
    ANSWER_AND_CALLBACK_LOST,
    ANSWER_LOST,
    CALLBACK_FIRST,
    CALLBACK_LOST,
    CALLBACKS,
    CONTRACT_CALLBACKS,
    PAYS_AT_ONCE,
    TOMATOES,
    Clock,
    approve,
    at_once,
    callback,
    cases,
    count,
    event_names,
    messages,
    on_shelf,
    own_path,
    prompt_of,
    put_in_cart,
    receipt_of,
    refund_due_cents,
    report,
)
from tests.support.instance import Client, Instance
from tests.support.shop_faults import listings_held


def test_a_success_reported_ten_times_at_once_is_one_payment(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    body = callback(prompt)

    answers = at_once([partial(report, instance, own_path(prompt), body)] * 10)
    instance.work()

    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, ACKNOWLEDGED)] * 10
    assert event_names(instance, session_id).count("Paid") == 1
    assert event_names(instance, session_id)[-1] == "OrderCreated"
    assert (count(instance, "daraja_inbox"), count(instance, "shop_orders")) == (10, 1)
    assert on_shelf(buyer) == 38


def _prompted(instance: Instance, number: int) -> tuple[Client, str, StkPrompt]:
    """Take buyer number 10, 11, ... to an open prompt for 2 kg of tomatoes; return also the session's id."""
    buyer = instance.client(10 + number)
    put_in_cart(buyer, TOMATOES, "2")
    phone = f"2547123456{number:02d}"
    session_id = instance.pay(buyer, phone_number=phone)
    return buyer, session_id, prompt_of(instance, phone)


def test_callbacks_of_one_prompt_make_one_order_in_any_sequence(instance: Instance) -> None:
    reports = {
        "paid": partial(callback, code=0),
        "cancelled": partial(callback, code=1032),
        "timed out": partial(callback, code=1037),
    }
    for number, sequence in enumerate(permutations(reports)):
        buyer, session_id, prompt = _prompted(instance, number)
        for name in sequence:
            body = reports[name](prompt, MpesaReceiptNumber=f"UKG000{number:04d}")
            assert report(instance, own_path(prompt), body).json() == ACKNOWLEDGED
        instance.work()

        assert buyer.status(session_id)["session_status"] == "order_created", sequence
        assert refund_due_cents(instance, session_id) == 0, sequence
        assert event_names(instance, session_id).count("Paid") == 1, sequence


def test_a_cancellation_after_the_order_changes_nothing_and_records_a_discrepancy(
    instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    before = event_names(instance, session_id)
    prompt = prompt_of(instance)

    report(instance, own_path(prompt), callback(prompt, 1032))
    instance.work()

    assert event_names(instance, session_id) == [*before, "ContradictionFound"]
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_payment_after_a_cancellation_becomes_an_order(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    report(instance, own_path(prompt), callback(prompt, 1032))
    assert buyer.status(session_id)["session_status"] == "failed"
    assert buyer.status(session_id)["reason"]["code"] == "CANCELLED_BY_USER"

    report(instance, own_path(prompt), callback(prompt))
    instance.work()

    assert buyer.status(session_id)["session_status"] == "order_created"
    assert buyer.status(session_id)["reason"] is None


def test_a_second_receipt_of_one_prompt_is_due_back(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    report(instance, own_path(prompt), callback(prompt))
    report(instance, own_path(prompt), callback(prompt, MpesaReceiptNumber="UKG9SECOND"))
    instance.work()

    assert buyer.status(session_id)["session_status"] == "order_created"
    assert refund_due_cents(instance, session_id) == 350_00
    assert ("refund_due", "second_payment") in cases(instance)


def test_a_callback_before_the_answer_to_the_push_is_not_lost(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_FIRST)
    known = ["Created", "PaymentRequested", "PaymentInitiated", "Paid", "OrderCreated"]
    assert event_names(instance, session_id) == known
    instance.work()
    assert event_names(instance, session_id) == known
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_lost_answer_to_the_push_is_resolved_by_its_callback(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    answer = buyer.initiate(session_id, phone_number=ANSWER_LOST)

    assert answer.status_code == 202
    assert (answer.json()["status"], answer.json()["checkout_request_id"]) == ("success", None)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert instance.simulator.submissions() == 1


def test_an_attempt_without_answer_and_callback_is_a_case_and_never_a_failure(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST)
    for _ in range(6):
        clock.tick(600)
        instance.work()

    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    assert [kind for kind, _ in cases(instance)] == ["attempt_in_doubt"]
    prompt = prompt_of(instance, ANSWER_AND_CALLBACK_LOST)
    report(instance, own_path(prompt), callback(prompt))
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


RESULT_CODES: tuple[tuple[object, str, str | None], ...] = (
    ("0", "order_created", None),
    (0, "order_created", None),
    (1, "failed", "INSUFFICIENT_FUNDS"),
    ("SFC_IC0003", "failed", "RECEIVER_UNKNOWN"),
    ("2001", "failed", "WRONG_PIN"),
    (7777, "payment_initiated", None),
    ("OK", "payment_initiated", None),
    (-1, "payment_initiated", None),
    ("00", "payment_initiated", None),
    (4999, "payment_initiated", None),
    (26, "payment_initiated", None),
)


def test_a_result_code_has_its_documented_outcome_and_an_unknown_one_is_a_case(instance: Instance) -> None:
    for number, (code, status, reason) in enumerate(RESULT_CODES):
        buyer, session_id, prompt = _prompted(instance, number)
        body = callback(prompt, code, MpesaReceiptNumber=f"UKG{number:07d}")
        report(instance, own_path(prompt), body)
        instance.work()

        shown = buyer.status(session_id)
        assert (shown["session_status"], (shown["reason"] or {}).get("code")) == (status, reason), code
    final = sum(status != "payment_initiated" for _, status, _ in RESULT_CODES)
    assert messages(instance).count(("acted_on", None)) == final
    unknown = len(RESULT_CODES) - final
    assert cases(instance) == [("letter_set_aside", "stk: result_code_not_final")] * unknown


def test_orders_that_callbacks_cannot_make_at_once_are_made_by_the_worker(instance: Instance) -> None:
    paid = {}
    with listings_held(instance.settings.database_url):
        for user in range(1, 7):
            buyer = instance.client(user)
            put_in_cart(buyer, TOMATOES, "1")
            paid[instance.pay(buyer, phone_number=f"2547000100{user:02d}")] = buyer
        assert instance.simulator.wait_until_idle(20)

    for session_id, buyer in paid.items():
        assert buyer.status(session_id)["session_status"] == "paid"
    assert messages(instance) == [("acted_on", None)] * 6
    assert count(instance, "shop_orders") == 0

    instance.work()
    for session_id, buyer in paid.items():
        assert buyer.status(session_id)["session_status"] == "order_created"
    assert on_shelf(instance.client()) == 34


def test_a_payment_without_a_callback_is_found_by_a_status_query(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    clock.tick(13)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_callback_that_differs_from_the_query_records_a_discrepancy(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    clock.tick(13)
    instance.work()
    prompt = prompt_of(instance, CALLBACK_LOST)
    report(instance, own_path(prompt), callback(prompt, Amount=1))
    instance.work()

    assert buyer.status(session_id)["session_status"] == "order_created"
    assert "ContradictionFound" in event_names(instance, session_id)


def test_a_repeated_callback_appends_no_event(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    prompt = prompt_of(instance, PAYS_AT_ONCE)
    before = event_names(instance, session_id)
    same = callback(prompt, MpesaReceiptNumber=receipt_of(prompt))
    for path in (own_path(prompt), CALLBACKS, CONTRACT_CALLBACKS):
        report(instance, path, same)
    instance.work()
    assert event_names(instance, session_id) == before
