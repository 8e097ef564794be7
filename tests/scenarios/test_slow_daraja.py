"""M-Pesa takes its time: buyers beyond the bound hear so, and everybody else is served."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, facts, put_in_cart, put_on_shelf
from tests.support.instance import running_instance
from tests.support.waiting import wait_until


def test_more_payments_than_may_wait_are_told_so_at_once_and_change_nothing(
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
            assert facts(instance, refused) == ["Created"]
            assert waiting.result().status_code == 200
        assert second.initiate(refused).status_code == 200
        instance.work()
