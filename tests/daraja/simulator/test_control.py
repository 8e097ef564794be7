"""The control API: what a page or a script can see and do."""

from typing import Any

import pytest
import requests

from tests.daraja.simulator.conftest import PHONE, Receiver, Shop


def get(shop: Shop, path: str, **params: Any) -> requests.Response:
    return shop.http.get(f"{shop.url}/simulator/api/{path}", params=params, timeout=10)


def post(shop: Shop, path: str, document: object = None) -> requests.Response:
    return shop.http.post(f"{shop.url}/simulator/api/{path}", json=document, timeout=10)


def test_it_reports_that_it_is_up(shop: Shop) -> None:
    assert get(shop, "health").json() == {"status": "up"}


def test_a_prompt_can_be_seen_and_paid(shop: Shop, receiver: Receiver) -> None:
    shop.push()
    (prompt,) = get(shop, "prompts", phone=PHONE, state="open").json()["prompts"]
    assert (prompt["business"], prompt["amount"], prompt["account_reference"]) == (
        "DAFTARI SHOP",
        350,
        "ORD-7",
    )
    assert (prompt["state"], prompt["seconds_left"], prompt["receipt"]) == ("open", 60, None)
    paid = post(shop, f"prompts/{prompt['id']}/approve").json()
    assert (paid["state"], paid["result_code"], paid["balance"]) == ("paid", "0", 399_650)
    assert shop.simulator.wait_until_idle()
    assert receiver.received[0].items["MpesaReceiptNumber"] == paid["receipt"]
    assert get(shop, f"prompts/{prompt['id']}").json()["deliveries"] == ["200"]
    assert get(shop, "prompts", state="open").json() == {"prompts": []}


@pytest.mark.parametrize(("action", "code"), [("wrong-pin", "2001"), ("cancel", "1032"), ("ignore", "1037")])
def test_a_prompt_can_end_unpaid(shop: Shop, action: str, code: str) -> None:
    ended = post(shop, f"prompts/{shop.push()['CheckoutRequestID']}/{action}").json()
    assert (ended["state"], ended["result_code"]) == ("failed", code)


def test_a_prompt_that_has_ended_is_a_conflict_and_an_unknown_one_not_found(shop: Shop) -> None:
    checkout_request_id = shop.push()["CheckoutRequestID"]
    post(shop, f"prompts/{checkout_request_id}/cancel")
    assert post(shop, f"prompts/{checkout_request_id}/approve").status_code == 409
    assert get(shop, "prompts/nothing").status_code == 404
    assert post(shop, "prompts/nothing/approve").status_code == 404


def test_an_unknown_action_is_refused_with_the_list_of_actions(shop: Shop) -> None:
    answer = post(shop, f"prompts/{shop.push()['CheckoutRequestID']}/pay")
    assert answer.status_code == 400
    assert "approve, wrong-pin, cancel, ignore" in answer.json()["error"]


def test_prompts_are_listed_open_ones_first_and_at_most_as_many_as_asked_for(shop: Shop) -> None:
    first, second, third = (shop.push(f"25471234567{digit}")["CheckoutRequestID"] for digit in range(3))
    shop.simulator.cancel(third)
    listed = [prompt["id"] for prompt in get(shop, "prompts").json()["prompts"]]
    assert listed == [second, first, third]
    assert len(get(shop, "prompts", limit=1).json()["prompts"]) == 1
    assert get(shop, "prompts", limit=-1).json() == {"prompts": []}


def test_faults_are_set_shown_and_forgotten(shop: Shop) -> None:
    wanted = {
        "push": ["busy", "busy"],
        "query_script": ["4999", "0"],
        "pending": "being-processed",
        "outage": {"seconds": 30, "fault": "text-503"},
    }
    shown = post(shop, "faults", wanted).json()
    assert shown["push"] == {"busy": 2}
    assert (shown["query_script"], shown["pending"], shown["outage"]) == (
        ["4999", "0"],
        "being-processed",
        True,
    )
    assert shop.ask_token().text.startswith("Service is temporarily unavailable")
    post(shop, "reset")
    assert get(shop, "faults").json()["push"] == {}
    assert shop.ask_token().status_code == 200


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {"push": "busy"},
        {"push": [1]},
        {"push": ["nonsense"]},
        {"callback": ["lost"]},
        {"pending": "later"},
        {"outage": {"seconds": -1}},
        {"outage": {"seconds": "x"}},
        {"outage": {"seconds": True}},
        {"outage": 30},
        {"outage": {"seconds": 1, "fault": "nonsense"}},
    ],
)
def test_faults_that_make_no_sense_are_refused(shop: Shop, document: object) -> None:
    answer = post(shop, "faults", document)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert shop.ask_token().status_code == 200


def test_time_can_be_moved_on(shop: Shop) -> None:
    shop.push_and_settle()
    assert post(shop, "clock", {"advance_seconds": 60}).json() == {
        "now": "2026-11-15T09:01:00+00:00",
        "done": 1,
    }
    assert get(shop, "prompts").json()["prompts"][0]["result_code"] == "1037"
    assert post(shop, "clock", {"advance_seconds": "x"}).status_code == 400


def test_a_wallet_can_be_emptied(shop: Shop) -> None:
    assert post(shop, f"wallets/{PHONE}", {"balance": 0}).json() == {"phone": PHONE, "balance": 0}
    assert post(shop, f"wallets/{PHONE}", {"balance": -1}).status_code == 400
    assert post(shop, f"wallets/{PHONE}", {"balance": 1.5}).status_code == 400
    assert post(shop, "wallets/07", {"balance": 1}).status_code == 400
    ended = post(shop, f"prompts/{shop.push()['CheckoutRequestID']}/approve").json()
    assert ended["result_code"] == "1"


def test_statistics_count_what_happened(shop: Shop) -> None:
    shop.ask_token()
    shop.push_and_settle("254700000000", 350)
    shop.push_and_settle("254700001032")
    shop.send_push(shop.document(amount=0))
    assert get(shop, "statistics").json() == {
        "tokens": 1,
        "token_requests": 1,
        "push_requests": 3,
        "pushes_accepted": 2,
        "push_refused_400.002.02": 1,
        "result_0": 1,
        "result_1032": 1,
        "shillings_received": 350,
        "callbacks_200": 2,
        "open_prompts": 0,
    }


def test_the_fixed_numbers_are_listed(shop: Shop) -> None:
    numbers = get(shop, "numbers").json()["numbers"]
    assert {
        "number": "2547000102NN",
        "about": "Paid, the callback comes twice at the same instant",
    } in numbers
