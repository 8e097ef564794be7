"""The callbacks that follow a prompt's end, and their status."""

import http.client
import re
import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from daraja.simulator import PromptClosed, Simulator, UnknownPrompt
from daraja.simulator.callback_dispatcher import has_gone
from tests.daraja.simulator.conftest import PHONE, Receiver, Shop


def test_a_paid_prompt_is_called_back_with_its_receipt(shop: Shop, receiver: Receiver) -> None:
    accepted = shop.push()
    shop.simulator.approve(accepted["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    (post,) = receiver.received
    assert post.path == "/callbacks/secret-path"
    assert post.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert post.headers["BusinessShortCode"] == "174379"
    assert post.callback["MerchantRequestID"] == accepted["MerchantRequestID"]
    assert post.callback["CheckoutRequestID"] == accepted["CheckoutRequestID"]
    assert post.callback["ResultCode"] == 0
    assert post.callback["ResultDesc"] == "The service request is processed successfully."
    assert [item["Name"] for item in post.callback["CallbackMetadata"]["Item"]] == [
        "Amount",
        "MpesaReceiptNumber",
        "Balance",
        "TransactionDate",
        "PhoneNumber",
    ]


def test_the_items_of_a_success_have_the_types_of_the_wire(shop: Shop, receiver: Receiver) -> None:
    shop.simulator.approve(shop.push()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    (post,) = receiver.received
    assert b'"Value": 350.0}' in post.body
    assert b'{"Name": "Balance"}' in post.body
    assert re.fullmatch(r"UKF[0-9A-Z]{7}", post.items["MpesaReceiptNumber"])
    assert post.items["TransactionDate"] == 20261115120000
    assert post.items["PhoneNumber"] == int(PHONE)


@pytest.mark.parametrize(
    ("end", "code", "text"),
    [
        (Simulator.cancel, 1032, "Request cancelled by user"),
        (Simulator.wrong_pin, 2001, "The initiator information is invalid."),
        (Simulator.ignore, 1037, "No response from user."),
    ],
)
def test_an_unpaid_prompt_is_called_back_without_items(
    shop: Shop, receiver: Receiver, end: Callable[[Simulator, str], Any], code: int, text: str
) -> None:
    end(shop.simulator, shop.push()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    (post,) = receiver.received
    assert (post.callback["ResultCode"], post.callback["ResultDesc"]) == (code, text)
    assert "CallbackMetadata" not in post.callback


def test_a_prompt_is_answered_once(shop: Shop, receiver: Receiver) -> None:
    checkout_request_id = shop.push()["CheckoutRequestID"]
    shop.simulator.approve(checkout_request_id)
    with pytest.raises(PromptClosed):
        shop.simulator.cancel(checkout_request_id)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


def test_an_unknown_prompt_cannot_be_answered(shop: Shop) -> None:
    with pytest.raises(UnknownPrompt):
        shop.simulator.approve("ws_CO_151120261200000712345678")


def test_a_callback_that_is_refused_is_not_sent_again(shop: Shop, receiver: Receiver) -> None:
    receiver.status = 500
    prompt = shop.simulator.approve(shop.push()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    shop.simulator.advance(86_400)
    assert shop.simulator.wait_until_idle()
    assert len(receiver.received) == 1
    assert list(prompt.deliveries) == ["500"]


def test_a_callback_to_a_dead_host_is_noted_and_forgotten(shop: Shop) -> None:
    document = shop.document() | {"CallBackURL": "http://127.0.0.1:9/callback"}
    prompt = shop.simulator.approve(shop.send_push(document).json()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    assert list(prompt.deliveries) == ["unreachable"]
    assert shop.simulator.statistics()["callbacks_unreachable"] == 1


def test_a_slow_receiver_runs_into_the_time_out(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(callback_timeout_seconds=0.05)
    released = threading.Event()
    receiver.on_post = lambda: released.wait(10)
    prompt = shop.simulator.approve(shop.push()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    released.set()
    assert list(prompt.deliveries) == ["timeout"]


def test_receipts_never_repeat(open_shop: Any) -> None:
    shop = open_shop(repeat_window_seconds=0, wallet_shillings=500_000)
    prompts = [shop.simulator.approve(shop.push(amount=1)["CheckoutRequestID"]) for _ in range(30)]
    assert len({prompt.outcome.receipt for prompt in prompts}) == 30


def test_logs_have_the_status_of_a_callback_and_no_phone_number(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        shop.simulator.approve(shop.push()["CheckoutRequestID"])
        assert shop.simulator.wait_until_idle()
    ours = "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("daraja"))
    assert "callback posted: 200" in ours
    assert PHONE[3:] not in ours
    assert "secret-path" not in ours


def test_a_kept_connection_that_the_receiver_closed_is_not_used_again() -> None:
    ours, theirs = socket.socketpair()
    connection = http.client.HTTPConnection("receiver.example")
    assert not has_gone(connection)
    connection.sock = ours
    assert not has_gone(connection)
    theirs.close()
    assert has_gone(connection)
    connection.close()


def test_one_worker_posts_to_two_hosts_in_turn(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(callback_workers=1)
    for number, url in enumerate([receiver.url, "http://127.0.0.1:9", receiver.url, f"{receiver.url}/x?y=z"]):
        document = shop.document(f"25471234567{number}") | {"CallBackURL": url}
        shop.simulator.cancel(shop.send_push(document).json()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    assert [post.path for post in receiver.received] == ["/", "/", "/x?y=z"]
