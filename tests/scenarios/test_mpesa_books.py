"""Whole paths through M-Pesa's books: money is paid, reported or not, found, and refunded, each over real HTTP."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from daraja.simulator.c2b_payments import PromptConfirmation
from tests.scenarios.steps import (
    ANSWER_AND_CALLBACK_LOST,
    CALLBACK_LOST,
    CANCELS,
    PHONE,
    TOMATOES,
    Clock,
    approve,
    event_names,
    observe,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    receipt_of,
)
from tests.support.instance import INITIATOR_PASSWORD, Client, Instance, running_instance

pytestmark = pytest.mark.usefixtures("clock")

RESULT_SECONDS = 3
OTHER_PHONE = "254712345679"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance whose initiator has a password, encrypted for a simulator that checks it."""
    with running_instance(
        database_url,
        data_folder,
        DAFTARI_REFUND_POLICY="auto",
        **{INITIATOR_PASSWORD: "correct horse"},
    ) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def pay_for_what_is_gone(instance: Instance, buyer: Client) -> str:
    """Pay for goods that were withdrawn meanwhile, so that a refund is due."""
    session_id = instance.pay(buyer)
    put_on_shelf(instance, TOMATOES, stock="0")
    approve(instance)
    instance.work()
    return session_id


def refund(instance: Instance, session_id: str) -> dict[str, Any]:
    shown: dict[str, Any] = (
        instance.client(9, "operator").get(f"/api/payments/refunds/{session_id}/1/").json()
    )
    return shown


def wait(clock: Clock, instance: Instance, seconds: float) -> None:
    clock.tick(seconds)
    instance.work()


def register(instance: Instance, order: PromptConfirmation = "never", version: int = 2) -> None:
    confirmation_url, validation_url = instance.services.c2b.urls
    instance.services.daraja.register_c2b(
        confirmation_url=confirmation_url,
        validation_url=validation_url,
        response_type=instance.services.c2b.response_type,
    )
    instance.simulator.c2b.confirm_prompts(order)
    registration = instance.simulator.c2b.registration
    assert registration is not None
    instance.simulator.c2b.register(replace(registration, version=version))


def test_a_payment_for_goods_out_of_stock_is_back_in_the_wallet(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = pay_for_what_is_gone(instance, buyer)
    assert instance.simulator.balance(PHONE) == 400_000
    wait(clock, instance, RESULT_SECONDS)
    payment, reversal = instance.simulator.movements()
    shown = refund(instance, session_id)
    assert (shown["state"], shown["receipt"], shown["reversal_receipt"]) == (
        "refunded",
        payment.receipt,
        reversal.receipt,
    )


def test_a_lost_reversal_result_is_queried_and_the_refund_is_made_once(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    instance.simulator.faults.add_delivery_faults("result", ["lost"])
    session_id = pay_for_what_is_gone(instance, buyer)
    wait(clock, instance, 11 * 60)
    assert refund(instance, session_id)["in_doubt"] is True
    wait(clock, instance, 2 * 60)
    wait(clock, instance, RESULT_SECONDS)
    assert refund(instance, session_id)["state"] == "refunded"
    assert [movement.kind for movement in instance.simulator.movements()] == ["payment", "reversal"]


def test_a_lost_answer_to_a_reversal_is_resolved_by_its_result(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    instance.simulator.fail_next("reversal", "lose-answer")
    session_id = pay_for_what_is_gone(instance, buyer)
    assert "RefundUncertain" in event_names(instance, session_id)
    wait(clock, instance, RESULT_SECONDS)
    assert refund(instance, session_id)["state"] == "refunded"


def test_a_reversal_without_answer_and_result_is_resolved_by_the_status_of_the_payment(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    instance.simulator.fail_next("reversal", "lose-answer")
    instance.simulator.faults.add_delivery_faults("result", ["lost"])
    session_id = pay_for_what_is_gone(instance, buyer)
    for _ in range(8):
        wait(clock, instance, 5 * 60)
        wait(clock, instance, RESULT_SECONDS)
    assert refund(instance, session_id)["state"] == "refunded"
    assert [movement.kind for movement in instance.simulator.movements()] == ["payment", "reversal"]


def test_a_refund_stays_due_if_the_money_was_settled_to_the_bank(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    put_on_shelf(instance, TOMATOES, stock="0")
    approve(instance)
    assert instance.simulator.withdraw(350) == "0"
    instance.work()
    wait(clock, instance, RESULT_SECONDS)
    shown = refund(instance, session_id)
    assert (shown["state"], shown["failure_code"]) == ("due", "INSUFFICIENT_FUNDS")


@pytest.mark.parametrize("version", [1, 2])
def test_a_payment_by_hand_after_a_cancelled_prompt_becomes_the_order(
    instance: Instance, buyer: Client, version: int
) -> None:
    register(instance, version=version)
    session_id = instance.pay(buyer, phone_number=CANCELS)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "failed"
    reference = prompt_of(instance, CANCELS).account_reference
    assert instance.simulator.pay_by_hand(OTHER_PHONE, 350, f" {reference.lower()} ").receipt is not None
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_validation_refuses_another_amount_for_an_open_payment(instance: Instance, buyer: Client) -> None:
    register(instance)
    instance.pay(buyer)
    reference = prompt_of(instance).account_reference
    assert instance.simulator.pay_by_hand(OTHER_PHONE, 349, reference).code == "C2B00013"
    assert instance.simulator.movements() == []


@pytest.mark.parametrize("order", ["before", "after"])
def test_a_payment_reported_by_callback_and_c2b_is_one_payment(
    instance: Instance, buyer: Client, order: PromptConfirmation
) -> None:
    register(instance, order)
    session_id = instance.pay(buyer)
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"
    assert event_names(instance, session_id).count("Paid") == 1
    assert observe(instance, "SELECT received_cents FROM payment_sessions") == [(350_00,)]


def test_an_unreported_payment_is_found_by_pull(clock: Clock, instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    assert buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    wait(clock, instance, 60)
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    pulled = instance.services.transaction_poller.pull()
    assert [str(result.verdict) for result in pulled.results] == ["credited"]
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_the_statement_agrees_to_the_cent_and_a_second_import_changes_nothing(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    reported = instance.pay(buyer)
    approve(instance)
    instance.work()
    put_in_cart(buyer, TOMATOES, "2")
    unreported = buyer.create().json()["session_id"]
    assert buyer.initiate(unreported, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    wait(clock, instance, 60)
    instance.simulator.pay_by_hand(OTHER_PHONE, 99, "rent")
    statement = instance.simulator.statement().encode()
    counts = instance.services.reconciler.reconcile(statement).found["counts"]
    assert {kind: count for kind, count in counts.items() if count} == {
        "posted": 1,
        "credited": 1,
        "unknown": 1,
    }
    instance.work()
    for session_id in (reported, unreported):
        assert buyer.status(session_id)["session_status"] == "order_created"
    again = instance.services.reconciler.reconcile(statement).found["counts"]
    assert {kind: count for kind, count in again.items() if count} == {"posted": 2, "unknown": 1}


def test_a_receipt_that_no_callback_reported_is_in_the_statement(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    instance.work()
    wait(clock, instance, 15)
    assert "Paid" in event_names(instance, session_id)
    instance.services.reconciler.reconcile(instance.simulator.statement().encode())
    [[receipt]] = observe(instance, "SELECT receipt FROM payment_sessions")
    assert receipt == receipt_of(prompt_of(instance, CALLBACK_LOST))
