"""Attempts: one live prompt a session and a phone, and what happens if M-Pesa refuses, fails or is slow."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.scenarios.steps import (
    CALLBACK_LOST,
    PHONE,
    TOMATOES,
    Clock,
    approve,
    at_once,
    callback,
    cases,
    count,
    event_names,
    let_phones_answer,
    observe,
    own_path,
    prompt_of,
    put_in_cart,
    put_on_shelf,
    refund_due_cents,
    report,
)
from tests.support.erasures import erase
from tests.support.instance import Client, Instance, running_instance
from tests.support.suites import others_in_system

OTHER_PHONE = "254722000001"
LATE = "254700010301"


def test_five_initiations_at_once_send_one_prompt(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    answers = at_once([partial(instance.client(1).initiate, session_id) for _ in range(5)])

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409, 409]
    codes = {answer.json()["error_code"] for answer in answers if answer.status_code == 409}
    assert codes == {"PAYMENT_IN_PROGRESS"}
    assert instance.simulator.submissions() == 1
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_initiations_for_two_phones_at_once_send_one_prompt_and_lock_no_other_phone(
    instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    phones = [PHONE, OTHER_PHONE]
    answers = at_once([partial(buyer.initiate, session_id, phone_number=phone) for phone in phones])
    assert sorted(answer.status_code for answer in answers) == [200, 409]
    assert instance.simulator.submissions() == 1

    unprompted = next(phone for phone in phones if not instance.simulator.prompts(phone))
    neighbour = instance.client(2)
    put_in_cart(neighbour, TOMATOES, "1")
    instance.pay(neighbour, phone_number=unprompted)
    assert instance.simulator.submissions() == 2


def test_a_phone_shows_one_prompt_at_a_time_over_all_sessions(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    buyers = [buyer, instance.client(2), instance.client(3)]
    for other in buyers[1:]:
        put_in_cart(other, TOMATOES, "1")
    wishes = [(who, who.create().json()["session_id"]) for who in buyers]
    answers = at_once([partial(who.initiate, session_id) for who, session_id in wishes])

    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    refused = [answer for answer in answers if answer.status_code == 409]
    assert {answer.json()["error_code"] for answer in refused} == {"PHONE_BUSY"}
    assert {answer.headers["Retry-After"] for answer in refused} == {"150"}
    assert instance.simulator.submissions() == 1

    loser, session_id = wishes[answers.index(refused[0])]
    clock.tick(29)
    assert loser.initiate(session_id).headers["Retry-After"] == "121"
    approve(instance)
    clock.tick(121)
    assert loser.initiate(session_id).status_code == 200


REFUSALS = {
    "busy": (503, "MPESA_UNAVAILABLE"),
    "spike-arrest": (503, "MPESA_UNAVAILABLE"),
    "spike-arrest-500": (503, "MPESA_UNAVAILABLE"),
    "quota": (503, "MPESA_UNAVAILABLE"),
    "wrong-credentials": (502, "PAYMENT_REFUSED"),
    "unknown-merchant": (502, "PAYMENT_REFUSED"),
    "html-403": (502, "PAYMENT_REFUSED"),
    "subscriber-locked": (409, "PHONE_BUSY"),
}


def test_a_refused_attempt_leaks_nothing_and_leaves_the_session_payable(
    instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    for fault, expected in REFUSALS.items():
        instance.simulator.fail_next("push", fault)
        answer = buyer.initiate(session_id)
        body = answer.json()
        assert (answer.status_code, body["error_code"], body["status"]) == (*expected, "error"), fault
        assert fault != "subscriber-locked" or answer.headers["Retry-After"] == "60"
        # The digits of the request id are random, and may be any.
        text = answer.text.replace(body.get("request_id", ""), "").lower()
        for leak in (
            "http://",
            "127.0.0.1",
            "stkpush",
            "500.00",
            "404.00",
            "spike",
            "incapsula",
            "html",
            "254",
        ):
            assert leak not in text, (fault, leak)
        assert buyer.status(session_id)["session_status"] == "pending"
    assert event_names(instance, session_id).count("PaymentRefused") == len(REFUSALS)
    assert instance.simulator.submissions() == 0

    assert buyer.initiate(session_id).status_code == 200
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_an_attempt_is_not_sent_without_an_access_token(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    for fault, status in (("wrong-credentials", 502), ("html-403", 502), ("empty-503", 503), ("reset", 503)):
        instance.simulator.tokens.void()
        instance.simulator.fail_next("token", fault)
        assert buyer.initiate(session_id).status_code in {status, 502, 503}, fault
        assert event_names(instance, session_id)[-1] == "PaymentRefused", fault
    assert instance.simulator.submissions() == 0
    assert buyer.initiate(session_id).status_code == 200


@pytest.mark.parametrize(
    "fault",
    others_in_system(
        ["empty-message", "server-error", "html-503", "empty-504", "lose-answer", "no-checkout-id", "reset"],
        "server-error",
        "lose-answer",
    ),
)
def test_an_attempt_that_may_have_been_sent_is_never_resent(
    clock: Clock, instance: Instance, buyer: Client, fault: str
) -> None:
    session_id = buyer.create().json()["session_id"]
    instance.simulator.fail_next("push", fault)
    answer = buyer.initiate(session_id)
    assert (answer.status_code, answer.json()["checkout_request_id"]) == (202, None)
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    again = buyer.initiate(session_id)
    assert (again.status_code, again.json()["error_code"]) == (409, "PAYMENT_IN_PROGRESS")
    sent = instance.simulator.statistics()["push_requests"]

    clock.tick(59)
    instance.work()
    assert instance.simulator.statistics()["push_requests"] == sent
    assert buyer.status(session_id)["session_status"] == "payment_initiated"


def test_an_attempt_in_doubt_can_be_followed_by_another_after_its_prompt(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    instance.simulator.fail_next("push", "html-503")
    buyer.initiate(session_id)
    clock.tick(121)
    assert buyer.initiate(session_id).status_code == 200
    approve(instance)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def _two_prompts(clock: Clock, instance: Instance, buyer: Client, first_phone: str) -> str:
    session_id = instance.pay(buyer, phone_number=first_phone)
    let_phones_answer(instance)
    clock.tick(121)
    assert buyer.initiate(session_id).status_code == 200
    return session_id


def test_an_order_stays_when_the_second_prompt_is_cancelled(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = _two_prompts(clock, instance, buyer, CALLBACK_LOST)
    first = prompt_of(instance, CALLBACK_LOST)
    report(instance, own_path(first), callback(first))
    instance.work()
    instance.simulator.cancel(prompt_of(instance).checkout_request_id)
    instance.work()

    assert buyer.status(session_id)["session_status"] == "order_created"
    assert event_names(instance, session_id)[-1] == "AttemptFailed"
    assert refund_due_cents(instance, session_id) == 0


def test_if_two_prompts_are_paid_one_payment_is_due_back(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = _two_prompts(clock, instance, buyer, LATE)
    approve(instance)
    clock.tick(10)
    instance.work()

    assert buyer.status(session_id)["session_status"] == "order_created"
    assert refund_due_cents(instance, session_id) == 350_00
    assert count(instance, "shop_orders") == 1
    [[received]] = observe(instance, "SELECT received_cents FROM payment_sessions")
    assert received == 100 * instance.simulator.statistics()["shillings_received"]


def test_an_access_token_that_was_voided_is_refreshed_once_for_all_processes(
    database_url: str, data_folder: Path
) -> None:
    with running_instance(database_url, data_folder, DAFTARI_MAX_WAITING_PUSHES="32") as instance:
        put_on_shelf(instance, TOMATOES, stock="100")
        wishes = []
        for user in range(1, 22):
            client = instance.client(user)
            put_in_cart(client, TOMATOES, "1")
            session_id = client.create().json()["session_id"]
            wishes.append(partial(client.initiate, session_id, phone_number=f"2547000100{user:02d}"))
        assert wishes.pop()().status_code == 200
        instance.simulator.tokens.issue()
        before = instance.simulator.statistics()

        answers = at_once(wishes)
        assert [answer.status_code for answer in answers] == [200] * 20, answers[0].text
        after = instance.simulator.statistics()
        assert after["token_requests"] - before["token_requests"] == 1
        assert after["push_requests"] - before["push_requests"] <= 2 * 20
        assert instance.simulator.submissions() == 21
        instance.work()
        assert count(instance, "shop_orders") == 21


def test_an_expired_access_token_is_refreshed_before_its_use(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    instance.pay(buyer)
    approve(instance)
    instance.work()
    clock.tick(3_600)
    put_in_cart(buyer, TOMATOES, "1")
    instance.pay(buyer)
    statistics = instance.simulator.statistics()
    assert statistics["token_requests"] == 2
    assert statistics.get("refused_404.001.03", 0) == 0


UNDECIDED = (
    "4999",
    "being-processed",
    "empty-message",
    "empty-message-200",
    "7777",
    "spike-arrest",
    "busy",
    "html-503",
    "html-403",
    "empty-502",
    "reset",
    "lose-answer",
    "invalid-token",
)


def test_an_inconclusive_status_query_changes_nothing(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    before = event_names(instance, session_id)
    for answer in UNDECIDED:
        instance.simulator.faults.script_queries(answer)
        asked = instance.simulator.statistics().get("query_requests", 0)
        clock.tick(3_601)
        instance.work()
        assert instance.simulator.statistics()["query_requests"] > asked, answer
        assert event_names(instance, session_id) == before, answer
    assert instance.client(1).status(session_id)["session_status"] == "payment_initiated"
    assert [kind for kind, _ in cases(instance)] == ["attempt_in_doubt"]

    instance.simulator.faults.script_queries("0")
    clock.tick(3_601)
    instance.work()
    assert instance.client(1).status(session_id)["session_status"] == "order_created"


def test_an_attempt_that_cannot_be_queried_takes_no_query_from_the_others(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    instance.pay(buyer, phone_number=CALLBACK_LOST)
    erase(instance.services.database, instance.services.vault, 1)
    other = instance.client(2)
    put_in_cart(other, TOMATOES, "1")
    session_id = instance.pay(other, phone_number="254700010102")
    clock.tick(13)
    status_poller = next(job for job in instance.jobs if job.name == "ladder")
    assert [status_poller.work(), status_poller.work()] == [2, 0]
    assert instance.simulator.statistics()["query_requests"] == 1
    instance.work()
    assert other.status(session_id)["session_status"] == "order_created"


def test_a_query_result_of_cancelled_fails_the_session(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    instance.simulator.faults.script_queries("1032")
    clock.tick(13)
    instance.work()
    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "CANCELLED_BY_USER")


def test_a_query_and_a_callback_in_the_same_moment_confirm_one_payment(
    clock: Clock, instance: Instance
) -> None:
    status_poller = next(job for job in instance.jobs if job.name == "ladder")
    for number in range(6):
        buyer = instance.client(number + 1)
        put_in_cart(buyer, TOMATOES, "1")
        phone = f"2547000101{number:02d}"
        session_id = instance.pay(buyer, phone_number=phone)
        clock.tick(13)
        prompt = prompt_of(instance, phone)
        body = callback(prompt, MpesaReceiptNumber=f"UKG{number:07d}")
        acts: list[Callable[[], object]] = [
            status_poller.work,
            partial(report, instance, own_path(prompt), body),
        ]
        at_once(acts)
        instance.work()

        assert buyer.status(session_id)["session_status"] == "order_created"
        assert event_names(instance, session_id).count("Paid") == 1
        assert refund_due_cents(instance, session_id) == 0
    assert count(instance, "shop_orders") == 6
