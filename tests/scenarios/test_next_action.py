"""The next action a buyer sees: retry, and when, or wait while the outcome is unknown."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from daraja import RESULT_MEANINGS
from payments.checkout.checkout import PHONE_LOCK_GRACE
from tests.scenarios.steps import (
    ANSWER_AND_CALLBACK_LOST,
    CALLBACK_LOST,
    PHONE,
    TOMATOES,
    Clock,
    approve,
    callback,
    own_path,
    prompt_of,
    put_in_cart,
    report,
)
from tests.support.erasures import erase
from tests.support.instance import Client, Instance

RETRY_ADVICE = ("can_retry", "retry_after", "in_doubt", "next_check_at", "resolve_by")
AT_ONCE = (True, 0, False, None, None)
NEVER = (False, None, False, None, None)
FAILURES = [meaning for meaning in RESULT_MEANINGS if meaning.outcome == "failed" and not meaning.confirm]
ONE_OF_EACH_ADVICE = {
    (meaning.can_retry, meaning.retry_after_seconds): meaning for meaning in FAILURES
}.values()


def retry_advice(buyer: Client, session_id: str) -> tuple[Any, ...]:
    """Return the retry advice of a session, the same in status, session and list."""
    [listed] = [
        shown
        for shown in buyer.get("/api/payments/sessions/").json()["results"]
        if shown["session_id"] == session_id
    ]
    session = buyer.get(f"/api/payments/sessions/{session_id}/").json()
    said = {
        tuple(shown[name] for name in RETRY_ADVICE) for shown in (buyer.status(session_id), session, listed)
    }
    assert len(said) == 1
    assert session["reason"] == listed["reason"] == buyer.status(session_id)["reason"]
    return said.pop()


def moment(now: Clock, seconds: int) -> str:
    at: datetime = now() + timedelta(seconds=seconds)
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


@pytest.mark.usefixtures("clock")
def test_a_new_session_may_be_paid_at_once(buyer: Client) -> None:
    created = buyer.create().json()
    assert tuple(created[name] for name in RETRY_ADVICE) == AT_ONCE
    assert retry_advice(buyer, created["session_id"]) == AT_ONCE


def test_the_next_action_is_to_wait_for_a_live_prompt_and_in_doubt_after_it(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=CALLBACK_LOST)
    initiated_at = clock()
    assert retry_advice(buyer, session_id) == (True, 120, False, None, None)
    clock.tick(119.5)
    assert buyer.status(session_id)["retry_after"] == 1
    clock.tick(0.5)
    in_an_hour = f"{initiated_at + timedelta(seconds=12 + 2950):%Y-%m-%dT%H:%M:%SZ}"
    assert retry_advice(buyer, session_id) == (True, 0, True, moment(clock, 0), in_an_hour)
    assert buyer.initiate(session_id, phone_number=PHONE).status_code == 200
    assert retry_advice(buyer, session_id)[:3] == (True, 120, True)


def test_the_next_check_is_the_one_in_the_query_log(clock: Clock, instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    assert buyer.initiate(session_id, phone_number=ANSWER_AND_CALLBACK_LOST).status_code == 202
    assert retry_advice(buyer, session_id)[:4] == (True, 120, True, moment(clock, 12))
    clock.tick(13)
    instance.work()
    assert retry_advice(buyer, session_id)[3] == moment(clock, 15)


def test_a_prompt_that_outlives_the_session_cannot_be_repeated(clock: Clock, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    clock.tick(14 * 60)
    assert buyer.initiate(session_id).status_code == 200
    assert retry_advice(buyer, session_id) == NEVER
    assert buyer.post(f"/api/payments/sessions/{session_id}/extend_session/").status_code == 200
    assert retry_advice(buyer, session_id) == (True, 120, False, None, None)


@pytest.mark.parametrize(
    "meaning",
    [
        pytest.param(meaning, marks=() if meaning in ONE_OF_EACH_ADVICE else pytest.mark.system)
        for meaning in FAILURES
    ],
)
def test_every_result_code_says_whether_the_buyer_can_retry(
    clock: Clock, instance: Instance, buyer: Client, meaning: Any
) -> None:
    session_id = instance.pay(buyer)
    prompt = prompt_of(instance)
    report(instance, own_path(prompt), callback(prompt, meaning.code))
    wait = (True, meaning.retry_after_seconds) if meaning.can_retry else (False, None)
    assert retry_advice(buyer, session_id) == (*wait, False, None, None)
    assert buyer.status(session_id)["reason"] == {
        "code": meaning.reason.upper(),
        "message": meaning.sentence,
    }
    clock.tick(121)
    assert retry_advice(buyer, session_id) == (AT_ONCE if meaning.can_retry else NEVER)


def test_a_phone_that_mpesa_has_locked_can_be_retried_in_a_minute(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    instance.simulator.fail_next("push", "subscriber-locked")
    session_id = buyer.create().json()["session_id"]
    assert buyer.initiate(session_id).status_code == 409
    assert retry_advice(buyer, session_id) == (True, 60, False, None, None)
    clock.tick(60)
    assert retry_advice(buyer, session_id) == AT_ONCE
    assert buyer.initiate(session_id).status_code == 200


def test_a_phone_with_another_sessions_prompt_can_be_retried_after_it(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    other = instance.client(2)
    put_in_cart(other, TOMATOES, "1")
    session_id = other.create().json()["session_id"]
    instance.pay(buyer)
    clock.tick(20)
    held = instance.settings.daftari_prompt_seconds + PHONE_LOCK_GRACE.seconds
    assert retry_advice(other, session_id) == (True, held - 20, False, None, None)
    approve(instance)
    assert retry_advice(other, session_id) == AT_ONCE


def test_a_paid_session_cannot_be_retried(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    approve(instance)
    assert retry_advice(buyer, session_id) == NEVER
    instance.work()
    assert retry_advice(buyer, session_id) == NEVER


def test_an_expired_session_calls_for_a_new_checkout(clock: Clock, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    clock.tick(15 * 60)
    assert buyer.status(session_id)["session_status"] == "expired"
    assert retry_advice(buyer, session_id) == AT_ONCE


def test_the_status_of_an_erased_customer_is_still_shown(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    erase(instance.services.database, instance.services.vault, 1)
    assert buyer.status(session_id)["can_retry"] is True
