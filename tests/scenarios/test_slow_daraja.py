"""M-Pesa is slow or down: buyers are refused at once, and all other requests are served."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from payments.checkout.circuit_breaker import MAX_FAILURES, MIN_OPEN
from tests.scenarios.steps import (
    PAYS_AT_ONCE,
    TOMATOES,
    Clock,
    event_names,
    put_in_cart,
    put_on_shelf,
)
from tests.support.instance import Instance, running_instance
from tests.support.waiting import wait_until


def test_payments_beyond_the_concurrency_limit_are_refused_at_once_and_change_nothing(
    database_url: str, data_folder: Path
) -> None:
    with running_instance(database_url, data_folder, DAFTARI_MAX_WAITING_PUSHES="1") as instance:
        put_on_shelf(instance, TOMATOES, stock="40")
        first, second = (instance.client(user) for user in (1, 2))
        for client in (first, second):
            put_in_cart(client, TOMATOES, "1")
        waits, refused = (client.create().json()["session_id"] for client in (first, second))
        instance.simulator.fail_next("push", "stall:2")
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(first.initiate, waits, phone_number=PAYS_AT_ONCE)
            wait_until(lambda: bool(instance.simulator.prompts(PAYS_AT_ONCE)), "the first prompt is out")
            answer = second.initiate(refused)
            assert (answer.status_code, answer.json()["error_code"]) == (503, "PAYMENTS_BUSY")
            assert int(answer.headers["Retry-After"]) > 0
            assert event_names(instance, refused) == ["Created"]
            assert waiting.result().status_code == 200
        assert second.initiate(refused).status_code == 200
        instance.work()


def test_an_outage_opens_the_circuit_breaker_and_one_payment_closes_it(
    clock: Clock, instance: Instance
) -> None:
    def initiate(user: int) -> tuple[str, int]:
        buyer = instance.client(user)
        put_in_cart(buyer, TOMATOES, "1")
        session_id = buyer.create().json()["session_id"]
        return session_id, buyer.initiate(session_id, phone_number=f"25471200{user:04d}").status_code

    doubted = []
    for user in range(1, MAX_FAILURES + 1):
        instance.simulator.fail_next("push", "html-503")
        session_id, status = initiate(user)
        assert status == 202
        doubted.append(session_id)
    late, later = MAX_FAILURES + 1, MAX_FAILURES + 2
    refused, status = initiate(late)
    assert (status, event_names(instance, refused)) == (503, ["Created"])
    assert instance.client(1).status(doubted[0])["session_status"] == "payment_initiated"

    clock.tick(MIN_OPEN)
    retried = instance.client(late).initiate(refused, phone_number=PAYS_AT_ONCE)
    assert retried.status_code == 200
    assert initiate(later)[1] == 200
