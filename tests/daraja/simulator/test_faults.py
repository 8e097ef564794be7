"""Faults set by hand: each meets as many requests as it was set for."""

import threading

import pytest
import requests

from daraja.simulator import UnknownFault
from tests.daraja.simulator.conftest import PHONE, Receiver, Shop


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ("busy", 500, "500.003.02"),
        ("spike-arrest-500", 500, "500.003.02"),
        ("quota", 500, "500.003.03"),
        ("invalid-token", 404, "404.001.03"),
        ("wrong-credentials", 500, "500.001.1001"),
        ("empty-message", 500, "500.001.1001"),
        ("server-error", 500, "500.003.1001"),
        ("unauthorized", 401, "401.003.01"),
        ("empty-message-200", 200, "500.001.1001"),
    ],
)
def test_a_push_can_meet_an_error_and_no_prompt_is_shown(
    shop: Shop, fault: str, status: int, code: str
) -> None:
    shop.simulator.fail_next("push", fault, times=2)
    for _ in range(2):
        answer = shop.send_push(shop.document())
        assert (answer.status_code, answer.json()["errorCode"]) == (status, code)
    assert shop.simulator.submissions() == 0
    shop.push()


def test_spike_arrest_has_the_gateways_own_shape(shop: Shop) -> None:
    shop.simulator.fail_next("push", "spike-arrest")
    answer = shop.send_push(shop.document())
    assert answer.status_code == 429
    assert answer.json()["fault"]["detail"] == {"errorcode": "policies.ratelimit.SpikeArrestViolation"}


@pytest.mark.parametrize(("fault", "status"), [("html-403", 403), ("html-503", 503)])
def test_the_edge_can_answer_with_a_page(shop: Shop, fault: str, status: int) -> None:
    shop.simulator.fail_next("token", fault)
    answer = shop.ask_token()
    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "text/html"
    assert answer.text.startswith("<html>")


@pytest.mark.parametrize("fault", ["empty-502", "empty-503", "empty-504"])
def test_the_gateway_can_answer_with_nothing(shop: Shop, fault: str) -> None:
    shop.simulator.fail_next("query", fault)
    answer = shop.query("ws_CO_151120260000000712345678")
    assert (answer.status_code, answer.content) == (int(fault[-3:]), b"")


def test_a_reset_shows_no_prompt(shop: Shop) -> None:
    shop.simulator.fail_next("push", "reset")
    with pytest.raises(requests.ConnectionError, match="reset"):
        shop.send_push(shop.document())
    assert shop.simulator.prompts() == []


def test_a_lost_answer_leaves_a_prompt_that_can_be_paid(shop: Shop, receiver: Receiver) -> None:
    shop.simulator.fail_next("push", "lose-answer")
    with pytest.raises(requests.ConnectionError):
        shop.send_push(shop.document())
    shop.simulator.approve(shop.simulator.wait_for_prompt(PHONE).checkout_request_id)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


def test_an_accepted_push_can_lack_its_id(shop: Shop) -> None:
    shop.simulator.fail_next("push", "no-checkout-id")
    answer = shop.push()
    assert answer["ResponseCode"] == "0"
    assert "CheckoutRequestID" not in answer


def test_a_stalled_answer_leaves_a_prompt_that_can_be_paid(shop: Shop, receiver: Receiver) -> None:
    shop.simulator.fail_next("push", "stall:60")
    headers = shop.headers()
    waiting = threading.Thread(target=_push_and_be_cut_off, args=(shop, headers))
    waiting.start()
    shop.simulator.approve(shop.simulator.wait_for_prompt(PHONE).checkout_request_id)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]
    shop.simulator.stop()
    waiting.join(10)
    assert not waiting.is_alive()


def _push_and_be_cut_off(shop: Shop, headers: dict[str, str]) -> None:
    with pytest.raises(requests.ConnectionError):
        requests.post(
            f"{shop.url}/mpesa/stkpush/v1/processrequest", json=shop.document(), headers=headers, timeout=10
        )


def test_a_query_script_is_played_and_its_last_answer_repeats(shop: Shop) -> None:
    checkout_request_id = shop.push()["CheckoutRequestID"]
    shop.simulator.faults.script_queries("4999", "empty-message-200", "spike-arrest", "0")
    answers = [shop.query(checkout_request_id) for _ in range(5)]
    assert [answer.status_code for answer in answers] == [200, 200, 429, 200, 200]
    assert [answer.json().get("ResultCode") for answer in answers] == ["4999", None, None, "0", "0"]
    shop.simulator.faults.script_queries()
    assert shop.query(checkout_request_id).json()["ResultCode"] == "4999"


def test_an_outage_ends_with_its_time(shop: Shop) -> None:
    shop.simulator.faults.start_outage(30)
    assert shop.ask_token().status_code == 503
    assert shop.send_push(shop.document()).status_code == 503
    assert shop.simulator.faults.describe()["outage"] is True
    shop.simulator.advance(30)
    assert shop.ask_token().status_code == 200
    assert shop.simulator.faults.describe()["outage"] is False


@pytest.mark.parametrize("name", ["nonsense", "stall:121", "stall:x", "1032", ""])
def test_an_unknown_fault_is_refused_with_the_list_of_names(shop: Shop, name: str) -> None:
    with pytest.raises(UnknownFault, match="spike-arrest"):
        shop.simulator.fail_next("push", name)


def test_faults_that_wait_are_bounded(shop: Shop) -> None:
    with pytest.raises(UnknownFault, match="At most"):
        shop.simulator.fail_next("push", "busy", times=10_001)


def test_a_reset_of_the_simulator_forgets_faults_prompts_and_counts(shop: Shop) -> None:
    shop.push()
    shop.simulator.fail_next("push", "busy")
    shop.simulator.reset()
    assert shop.simulator.prompts() == []
    assert shop.simulator.statistics() == {"open_prompts": 0}
    shop.push()
