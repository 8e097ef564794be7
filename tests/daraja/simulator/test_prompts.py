"""The outcome of a push to the wrong account, and how many prompts are kept."""

from datetime import timedelta
from typing import Any

import pytest

from daraja.simulator import PromptOutcome, StkPrompt, UnknownPrompt
from daraja.simulator.answers import GatewayRefusal
from daraja.simulator.outcomes import ANSWERED_BY_HAND
from daraja.simulator.prompts import MAX_CLOSED_PROMPTS, MAX_OPEN_PROMPTS, PromptBook
from tests.daraja.simulator.conftest import NOON, PHONE, Receiver, Shop

BUY_GOODS = {"TransactionType": "CustomerBuyGoodsOnline"}


@pytest.mark.parametrize(
    ("settings", "changed", "code"),
    [
        ({}, {"PartyB": "600000"}, 2028),
        ({}, BUY_GOODS, 2028),
        ({"till": "555555"}, {**BUY_GOODS, "PartyB": "444444"}, "SFC_IC0003"),
        ({"till": "555555", "auto_approve_seconds": 0}, {**BUY_GOODS, "PartyB": "555555"}, 0),
        ({"auto_approve_seconds": 0}, {**BUY_GOODS, "PartyB": "444444"}, 0),
    ],
)
def test_a_push_to_the_wrong_kind_of_account_fails_afterwards(
    open_shop: Any, receiver: Receiver, settings: dict[str, Any], changed: dict[str, str], code: object
) -> None:
    shop = open_shop(**settings)
    assert shop.send_push(shop.document() | changed).status_code == 200
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [code]


def make_prompt(number: int) -> StkPrompt:
    return StkPrompt(
        checkout_request_id=f"ws_CO_{number}",
        merchant_request_id=f"{number}",
        phone=f"2547{number:08d}",
        amount_shillings=1,
        account_reference="A",
        description="D",
        callback_url="http://shop.example/",
        opened_at=NOON,
        expires_at=NOON + timedelta(seconds=60),
        script=ANSWERED_BY_HAND,
    )


def test_beyond_the_most_open_prompts_the_system_is_busy() -> None:
    book = PromptBook()
    for number in range(MAX_OPEN_PROMPTS):
        book.open(make_prompt(number))
    with pytest.raises(GatewayRefusal) as refused:
        book.check_free(PHONE)
    assert refused.value.code == "500.003.02"


def test_the_oldest_closed_prompt_is_forgotten_beyond_the_limit() -> None:
    book = PromptBook()
    for number in range(MAX_CLOSED_PROMPTS + 1):
        prompt = make_prompt(number)
        book.open(prompt)
        book.close(prompt, PromptOutcome("1032", NOON, None, 0))
    assert "ws_CO_1" in book
    with pytest.raises(UnknownPrompt):
        book.get("ws_CO_0")


def test_waiting_for_a_prompt_that_never_comes_ends(shop: Shop) -> None:
    with pytest.raises(TimeoutError):
        shop.simulator.wait_for_prompt(PHONE, timeout_seconds=0.01)


def test_a_prompt_and_its_parts_do_not_show_whose_they_are() -> None:
    assert "254700000007" not in repr(make_prompt(7))
    assert "ws_CO" not in repr(make_prompt(7))
