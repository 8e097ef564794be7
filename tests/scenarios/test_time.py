"""Expiry, extensions, and payments that come after the time."""

from collections.abc import Callable
from functools import partial
from uuid import UUID

from payments.inbox.callback_tokens import make_token
from tests.scenarios.steps import (
    CALLBACKS,
    CANCELS,
    HONEY,
    PHONE,
    TOMATOES,
    Clock,
    approve,
    at_once,
    callback,
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
    written_callback,
)
from tests.support.instance import Client, Instance

LATE = "254700010301"
QUARTER_OF_AN_HOUR = 15 * 60


def extend(client: Client, session_id: str) -> tuple[int, str]:
    """Extend a session; return the HTTP status, and the new expiry or the error code."""
    answer = client.post(f"/api/payments/sessions/{session_id}/extend_session/")
    shown = answer.json()
    return answer.status_code, shown.get("expires_at") or shown["error_code"]


def test_a_payment_after_the_expiry_becomes_an_order(clock: Clock, instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    clock.tick(QUARTER_OF_AN_HOUR - 60)
    assert buyer.initiate(session_id, phone_number=LATE).status_code == 200
    let_phones_answer(instance)
    clock.tick(61)
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    clock.tick(70)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_payment_of_a_session_that_was_shown_as_expired_becomes_an_order(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    instance.simulator.fail_next("push", "busy")
    assert buyer.initiate(session_id).status_code == 503
    clock.tick(QUARTER_OF_AN_HOUR)
    instance.work()
    assert buyer.status(session_id)["session_status"] == "expired"
    assert event_names(instance, session_id)[-1] == "Expired"

    token = make_token(instance.services.vault.sign, UUID(session_id), 1)
    report(instance, f"{CALLBACKS}{token}/", written_callback(0, amount=350))
    instance.work()
    assert buyer.status(session_id)["session_status"] == "order_created"


def test_a_payment_after_the_expiry_is_due_back_if_the_stock_is_gone(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=LATE)
    put_on_shelf(instance, TOMATOES, stock="1")
    clock.tick(QUARTER_OF_AN_HOUR)
    instance.work()
    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "OUT_OF_STOCK")
    assert refund_due_cents(instance, session_id) == 350_00


def test_an_expired_session_takes_no_prompt_and_no_extension(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    clock.tick(QUARTER_OF_AN_HOUR)
    for written_down in (False, True):
        if written_down:
            instance.work()
        answer = buyer.initiate(session_id)
        assert (answer.status_code, answer.json()) == (
            400,
            {"status": "error", "message": "Session has expired", "error_code": "SESSION_EXPIRED"},
        )
        assert extend(buyer, session_id) == (400, "SESSION_EXPIRED")
        assert buyer.status(session_id)["session_status"] == "expired"
    assert instance.simulator.submissions() == 0


def test_a_session_can_be_paid_in_its_last_moment_and_not_in_the_next(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    clock.tick(QUARTER_OF_AN_HOUR - 0.001)
    assert buyer.status(session_id)["session_status"] == "pending"
    assert buyer.initiate(session_id, phone_number=CANCELS).status_code == 200
    clock.tick(0.001)
    second = instance.client(2)
    put_in_cart(second, TOMATOES, "1")
    other_id = second.create().json()["session_id"]
    clock.tick(QUARTER_OF_AN_HOUR)
    assert second.initiate(other_id).json()["error_code"] == "SESSION_EXPIRED"


def test_an_extension_adds_a_quarter_of_an_hour_to_the_expiry(clock: Clock, buyer: Client) -> None:
    session = buyer.create().json()
    assert (session["created_at"], session["expires_at"]) == ("2026-11-16T07:30:00Z", "2026-11-16T07:45:00Z")
    clock.tick(600)
    assert extend(buyer, session["session_id"]) == (200, "2026-11-16T08:00:00Z")
    assert buyer.status(session["session_id"])["expires_at"] == "2026-11-16T08:00:00Z"


def test_extensions_are_capped_even_if_they_come_at_once(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    answers = at_once([partial(extend, instance.client(1), session_id) for _ in range(5)])
    refused = {answer for answer in answers if answer[0] != 200}
    granted = len(answers) - sum(answer in refused for answer in answers)
    assert refused <= {(400, "EXTENSION_LIMIT_REACHED"), (409, "CONFLICT")}
    while granted < 3:
        assert extend(buyer, session_id)[0] == 200
        granted += 1
    assert extend(buyer, session_id) == (400, "EXTENSION_LIMIT_REACHED")
    assert event_names(instance, session_id).count("Extended") == 3


def test_neither_a_failed_nor_a_finished_session_is_extended_or_paid_again(
    instance: Instance, buyer: Client
) -> None:
    failed = instance.pay(buyer, phone_number=CANCELS)
    instance.work()
    finished = instance.pay(buyer)
    approve(instance)
    instance.work()

    for session_id, code in ((failed, "SESSION_FAILED"), (finished, "SESSION_ALREADY_PAID")):
        assert extend(buyer, session_id) == (400, code)
        answer = buyer.initiate(session_id)
        assert (answer.status_code, answer.json()["error_code"]) == (400, code)
    assert instance.simulator.submissions() == 2


def test_a_session_is_shown_as_expired_before_the_sweep_records_it(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = buyer.create().json()["session_id"]
    instance.work()
    clock.tick(QUARTER_OF_AN_HOUR)
    expired = "/api/payments/sessions/?status=expired"
    assert buyer.get(expired).json()["count"] == 1
    assert buyer.get("/api/payments/sessions/?status=pending").json()["count"] == 0

    instance.work()
    assert observe(instance, "SELECT session_status, count(*) FROM payment_sessions GROUP BY 1") == [
        ("expired", 1)
    ]
    assert observe(instance, "SELECT pending, expired FROM payment_metrics") == [(0, 1)]
    [listed] = buyer.get(expired).json()["results"]
    assert (listed["session_id"], listed["session_status"]) == (session_id, "expired")


def test_a_prompt_an_extension_and_the_sweep_at_the_last_moment_agree(
    clock: Clock, instance: Instance
) -> None:
    sweep = next(job for job in instance.jobs if job.name == "expiry")
    for number in range(8):
        buyer = instance.client(number + 1)
        put_in_cart(buyer, TOMATOES, "1")
        session_id = buyer.create().json()["session_id"]
        clock.tick(QUARTER_OF_AN_HOUR if number % 2 else QUARTER_OF_AN_HOUR - 1)
        phone = f"2547000100{number:02d}"
        acts: list[Callable[[], object]] = [
            sweep.work,
            partial(buyer.initiate, session_id, phone_number=phone),
            partial(extend, instance.client(number + 1), session_id),
        ]
        at_once(acts)
        instance.work()
        wanted = "expired" if number % 2 else "order_created"
        assert buyer.status(session_id)["session_status"] == wanted
    assert instance.simulator.submissions() == 4


def test_a_callback_that_meets_the_sweep_is_not_lost(clock: Clock, instance: Instance) -> None:
    jobs = [
        job.work
        for job in instance.jobs
        if job.name in ("expiry", "ladder", "letters", "unauthenticated_messages")
    ]
    for number in range(5):
        buyer = instance.client(number + 1)
        put_in_cart(buyer, TOMATOES, "1")
        phone = f"2547123456{number:02d}"
        session_id = instance.pay(buyer, phone_number=phone)
        clock.tick(QUARTER_OF_AN_HOUR)
        prompt = prompt_of(instance, phone)
        body = callback(prompt, MpesaReceiptNumber=f"UKG{number:07d}")
        acts: list[Callable[[], object]] = [*jobs, partial(report, instance, own_path(prompt), body)]
        at_once(acts)
        instance.work()
        assert buyer.status(session_id)["session_status"] == "order_created"


def test_order_numbers_carry_the_day_in_nairobi(clock: Clock, instance: Instance, buyer: Client) -> None:
    numbers: list[str] = []
    put_on_shelf(instance, HONEY, stock="40")
    for moment in ("2026-12-31T20:59:59Z", "2026-12-31T21:00:00Z", "2026-12-31T21:00:01Z"):
        clock.move_to(moment)
        buyer = instance.client(1)
        put_in_cart(buyer, HONEY, "1")
        session_id = instance.pay(buyer, phone_number=f"2547000100{len(numbers):02d}")
        instance.work()
        numbers.append(buyer.status(session_id)["order"]["order_number"])
    # A callback that meets another writer leaves a gap, so only the days are certain.
    days = [number.rpartition("-")[0] for number in numbers]
    assert days == ["ORD-20261231", "ORD-20270101", "ORD-20270101"]
    assert numbers == sorted(set(numbers))


def test_an_unanswered_prompt_fails_the_session_when_it_ends(
    clock: Clock, instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer)
    clock.tick(60)
    instance.work()
    shown = buyer.status(session_id)
    assert (shown["session_status"], shown["reason"]["code"]) == ("failed", "NO_RESPONSE")
    assert observe(instance, "SELECT count(*) FROM live_prompts") == [(0,)]
    assert prompt_of(instance, PHONE).outcome is not None
    assert count(instance, "shop_orders") == 0
