"""Money that no callback reported: a C2B notice or the statement does, once, in any order, and it ends in its order."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.c2b import SUCCESS, c2b_notice, c2b_paths, confirm_c2b
from tests.scenarios.steps import (
    ANSWER_AND_CALLBACK_LOST,
    CALLBACK_LOST,
    CANCELS,
    TOMATOES,
    Clock,
    approve,
    at_once,
    callback,
    count,
    event_names,
    messages,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    receipt_of,
    refund_due_cents,
    report,
)
from tests.support.instance import Client, Instance, running_instance
from tests.support.proxy import cut_off, proxy_before
from tests.support.statements import Booking, statement

pytestmark = pytest.mark.usefixtures("clock")

ACCEPTED = {"ResultCode": "0", "ResultDesc": "Accepted"}


def _reference(instance: Instance, phone: str) -> str:
    return prompt_of(instance, phone).account_reference


def _validate(instance: Instance, notice: object) -> dict[str, Any]:
    answer = report(instance, c2b_paths(instance)[1], notice)
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


def _verdicts(instance: Instance) -> list[str]:
    return [
        verdict
        for (verdict,) in observe(instance, "SELECT verdict FROM mpesa_movements ORDER BY first_seen_at")
    ]


def test_a_payment_whose_answer_and_callback_were_lost_is_settled_by_its_c2b_notice(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    assert buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    clock.tick(60)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    prompt = prompt_of(instance, ANSWER_AND_CALLBACK_LOST)
    confirm_c2b(instance, c2b_notice(receipt_of(prompt), f" {prompt.account_reference.lower()} "))
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert messages(instance) == [("acted_on", "credited")]
    assert _verdicts(instance) == ["credited"]


def test_a_payment_whose_answer_and_callback_were_lost_is_settled_by_the_statement(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    assert buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    clock.tick(60)
    instance.work()
    prompt = prompt_of(instance, ANSWER_AND_CALLBACK_LOST)
    booking = Booking(receipt_of(prompt), paid_in=350_00, account=prompt.account_reference)
    found = instance.services.reconciler.reconcile(statement([booking])).found
    assert found["counts"]["credited"] == 1
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


@pytest.mark.parametrize("source", ["c2b", "statement"])
def test_a_payment_confirmed_by_query_gets_its_receipt(
    clock: Clock, instance: Instance, buyer: Client, source: str
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    instance.work()
    clock.tick(15)
    instance.work()
    assert "Paid" in event_names(instance, session_id)
    prompt = prompt_of(instance, CALLBACK_LOST)
    if source == "c2b":
        confirm_c2b(instance, c2b_notice(receipt_of(prompt), prompt.account_reference))
    else:
        booking = Booking(receipt_of(prompt), paid_in=350_00, account=prompt.account_reference)
        instance.services.reconciler.reconcile(statement([booking]))
    assert event_names(instance, session_id)[-1] == "ReceiptRecorded"
    [[receipt, evidence]] = observe(instance, "SELECT receipt, evidence FROM payment_sessions")
    assert (receipt, evidence) == (receipt_of(prompt), source)


@pytest.mark.parametrize("order", ["callback first", "notice first", "at once"])
def test_the_same_payment_by_callback_and_c2b_notice_is_one_payment(
    instance: Instance, buyer: Client, order: str
) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    call_back = partial(report, instance, own_path(prompt), callback(prompt, MpesaReceiptNumber="UKG7Q2X9LM"))
    notify = partial(confirm_c2b, instance, c2b_notice("UKG7Q2X9LM", prompt.account_reference))
    if order == "at once":
        at_once([call_back, notify, call_back, notify])
    else:
        for call in [call_back, notify] if order == "callback first" else [notify, call_back]:
            call()
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert event_names(instance, session_id).count("Paid") == 1
    assert "SurplusReceived" not in event_names(instance, session_id)
    assert observe(instance, "SELECT received_cents, evidence FROM payment_sessions") == [(350_00, "c2b")]


def test_a_c2b_notice_after_a_failure_makes_an_order_and_a_case(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer, phone_number=CANCELS)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "failed"
    confirm_c2b(instance, c2b_notice("UKG7Q2X9LM", _reference(instance, CANCELS)))
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert "ContradictionFound" in event_names(instance, session_id)


def test_a_second_payment_typed_by_hand_is_due_back(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    confirm_c2b(instance, c2b_notice("UKG7Q2X9XX", prompt_of(instance).account_reference))
    assert refund_due_cents(instance, session_id) == 350_00
    assert buyer.status(session_id)["session_status"] == "order_created"


@pytest.mark.parametrize(
    "reference", ["rent", "", "D99999", "=1+1", "<script>alert(1)</script>", "'; DROP TABLE x", "D1\u202e"]
)
def test_an_unmatched_payment_is_kept_and_changes_nothing(
    instance: Instance, buyer: Client, reference: str
) -> None:
    session_id = instance.pay(buyer)
    before = event_names(instance, session_id)
    confirm_c2b(instance, c2b_notice(reference=reference, FirstName="=cmd", LastName="<b>"))
    instance.work()
    assert event_names(instance, session_id) == before
    assert _verdicts(instance) == ["unknown"]
    assert messages(instance) == [("acted_on", "unknown")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "no_object"),
        (b"null", "no_object"),
        ({}, "no_receipt"),
        (c2b_notice(TransAmount="a lot"), "no_amount"),
        (c2b_notice(TransAmount="-1"), "no_amount"),
        (c2b_notice(BusinessShortCode="600100"), "other_shortcode"),
        (b'{"TransID": "' + b"A" * 70_000 + b'"}', "too_large"),
    ],
)
def test_an_unreadable_notice_is_dead_lettered(instance: Instance, body: object, reason: str) -> None:
    confirm_c2b(instance, body)
    instance.work()
    assert messages(instance) == [("set_aside", reason)]
    assert count(instance, "mpesa_movements") == 0


def test_an_unauthenticated_notice_changes_nothing_and_is_answered_alike(
    instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    before = event_names(instance, session_id)
    notice = c2b_notice(reference=prompt_of(instance).account_reference)
    for token in ("0" * 32, "x", "%00", "ü"):
        answer = report(instance, f"/api/payments/c2b/{token}/confirmation/", notice)
        assert (answer.status_code, answer.json()) == (200, SUCCESS)
        answer = report(instance, f"/api/payments/c2b/{token}/validation/", notice | {"TransAmount": "1.00"})
        assert (answer.status_code, answer.json()) == (200, ACCEPTED)
    instance.work()
    assert event_names(instance, session_id) == before
    assert messages(instance) == [("set_aside", "address_proves_nothing")] * 4
    assert count(instance, "mpesa_movements") == 0


def test_validation_accepts_a_payment_by_hand_of_the_right_amount(instance: Instance, buyer: Client) -> None:
    instance.pay(buyer)
    reference = prompt_of(instance).account_reference
    assert _validate(instance, c2b_notice(reference=reference)) == ACCEPTED
    assert (
        _validate(instance, c2b_notice(reference=f" {reference.lower()} ", OrgAccountBalance="")) == ACCEPTED
    )
    refused = {"ResultCode": "C2B00013", "ResultDesc": "Rejected"}
    assert _validate(instance, c2b_notice(reference=reference, TransAmount="1.00")) == refused
    for stray in (c2b_notice(), c2b_notice(BusinessShortCode="600100"), {}, b"junk"):
        assert _validate(instance, stray) == ACCEPTED
    assert messages(instance) == []


@pytest.fixture
def strict(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance that refuses payments without a known reference."""
    with running_instance(database_url, data_folder, DAFTARI_C2B_UNKNOWN="refuse") as running:
        put_on_shelf(running, TOMATOES, stock="40")
        put_in_cart(running.client(1), TOMATOES, "2")
        yield running


def test_a_shop_may_refuse_payments_without_a_known_reference(strict: Instance) -> None:
    strict.pay(strict.client(1))
    reference = prompt_of(strict).account_reference
    codes = {
        "0": c2b_notice(reference=reference),
        "C2B00012": c2b_notice(),
        "C2B00013": c2b_notice(reference=reference, TransAmount="349.99"),
        "C2B00015": c2b_notice(BusinessShortCode="600100"),
        "C2B00016": {},
    }
    for code, notice in codes.items():
        assert _validate(strict, notice)["ResultCode"] == code
    approve(strict)
    strict.work()
    assert _validate(strict, c2b_notice(reference=reference))["ResultCode"] == "C2B00012"


@pytest.mark.parametrize(("setting", "code"), [("accept", "0"), ("refuse", "C2B00016")])
def test_without_a_database_a_validation_is_answered_and_a_confirmation_is_not_acknowledged(
    database_url: str, data_folder: Path, setting: str, code: str
) -> None:
    with (
        proxy_before(database_url) as proxy,
        running_instance(proxy.url, data_folder, DAFTARI_C2B_UNKNOWN=setting) as instance,
    ):
        with cut_off(proxy, instance.services.database):
            assert _validate(instance, c2b_notice(reference="D1"))["ResultCode"] == code
            answer = report(instance, c2b_paths(instance)[0], c2b_notice())
        assert answer.status_code == 503
        assert answer.json() != SUCCESS


def test_the_c2b_secret_is_only_in_the_registered_urls(instance: Instance) -> None:
    confirm_c2b(instance, c2b_notice())
    secret = c2b_paths(instance)[0].split("/")[4]
    for (table,) in observe(instance, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        assert observe(instance, f"SELECT FROM {table} AS t WHERE t::text LIKE %s", f"%{secret}%") == []
