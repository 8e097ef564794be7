"""Numbers whose outcome is fixed: each does what the table in docs/simulator.md says."""

import re
from pathlib import Path
from typing import Any

import pytest
import requests

from daraja.simulator.outcomes import KINDS, script_for
from tests.daraja.simulator.conftest import Receiver, Shop

DOCUMENT = Path(__file__).parents[3] / "docs" / "simulator.md"


def number(kind: str, which: int = 7) -> str:
    return f"25470001{kind}{which:02d}"


@pytest.mark.parametrize(
    "code", [0, 1, 2, 8, 17, 26, 1001, 1019, 1025, 1032, 1037, 2001, 2006, 2028, 7777, 8006]
)
def test_the_last_four_digits_are_the_result_code(shop: Shop, receiver: Receiver, code: int) -> None:
    prompt = shop.simulator.prompt(shop.push_and_settle(f"25470000{code:04d}"))
    assert receiver.codes() == [code]
    assert prompt.is_paid == (code == 0)


@pytest.mark.parametrize(("kind", "posts"), [("00", 1), ("01", 0), ("02", 2), ("06", 0)])
def test_a_payment_is_called_back_once_never_or_twice(
    shop: Shop, receiver: Receiver, kind: str, posts: int
) -> None:
    if kind == "06":
        with pytest.raises(requests.ConnectionError):
            shop.push(number(kind))
        assert shop.simulator.wait_until_idle()
    else:
        shop.push_and_settle(number(kind))
    assert receiver.codes() == [0] * posts
    assert [prompt.is_paid for prompt in shop.simulator.prompts(number(kind))] == [True]


def test_a_late_callback_comes_after_the_configured_time(open_shop: Any, receiver: Receiver) -> None:
    shop = open_shop(late_callback_seconds=300)
    checkout_request_id = shop.push_and_settle(number("03"))
    shop.simulator.advance(299)
    assert shop.simulator.wait_until_idle()
    assert receiver.received == []
    assert shop.query(checkout_request_id).json()["ResultCode"] == "0"
    shop.simulator.advance(1)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


def test_a_callback_can_come_before_the_push_is_answered(shop: Shop, receiver: Receiver) -> None:
    shop.push(number("04"))
    assert receiver.codes() == [0]


def test_a_push_can_be_accepted_and_its_answer_lost(shop: Shop, receiver: Receiver) -> None:
    with pytest.raises(requests.ConnectionError):
        shop.push(number("05"))
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == [0]


def test_a_result_code_can_come_as_text(shop: Shop, receiver: Receiver) -> None:
    shop.push_and_settle(number("07"))
    shop.push_and_settle(number("18"))
    assert receiver.codes() == ["0", "SFC_IC0003"]


@pytest.mark.parametrize(("kind", "amount"), [("08", 1.0), ("09", 351.0), ("10", "350")])
def test_a_callback_can_state_another_amount(
    shop: Shop, receiver: Receiver, kind: str, amount: object
) -> None:
    shop.push_and_settle(number(kind), 350)
    assert receiver.received[0].items["Amount"] == amount


@pytest.mark.parametrize(
    ("kind", "item"), [("11", "Amount"), ("13", "PhoneNumber"), ("23", "MpesaReceiptNumber")]
)
def test_a_callback_can_lack_an_item(shop: Shop, receiver: Receiver, kind: str, item: str) -> None:
    shop.push_and_settle(number(kind))
    assert item not in receiver.received[0].items


def test_a_callback_can_mask_the_phone(shop: Shop, receiver: Receiver) -> None:
    shop.push_and_settle(number("12"))
    assert receiver.received[0].items["PhoneNumber"] == "254700***207"


def test_items_can_come_in_another_order_with_unknown_ones(shop: Shop, receiver: Receiver) -> None:
    shop.push_and_settle(number("14"))
    names = list(receiver.received[0].items)
    assert names.index("PhoneNumber") < names.index("Amount")
    assert {"LoyaltyPoints", "Remarks"} < set(names)


@pytest.mark.parametrize(("kind", "codes"), [("15", [0, 1032]), ("16", [1032, 0])])
def test_two_callbacks_can_contradict_each_other(
    shop: Shop, receiver: Receiver, kind: str, codes: list[int]
) -> None:
    prompt = shop.simulator.prompt(shop.push_and_settle(number(kind)))
    shop.simulator.advance(5)
    assert shop.simulator.wait_until_idle()
    assert receiver.codes() == codes
    assert prompt.is_paid


def test_a_forged_success_has_a_receipt_and_the_query_contradicts_it(shop: Shop, receiver: Receiver) -> None:
    checkout_request_id = shop.push_and_settle(number("17"))
    assert receiver.codes() == [0]
    assert len(receiver.received[0].items["MpesaReceiptNumber"]) == 10
    assert shop.query(checkout_request_id).json()["ResultCode"] == "1032"
    assert shop.simulator.balance(number("17")) == 400_000


def test_a_query_can_contradict_a_success(shop: Shop, receiver: Receiver) -> None:
    checkout_request_id = shop.push_and_settle(number("19"))
    assert receiver.codes() == [0]
    assert shop.query(checkout_request_id).json()["ResultCode"] == "1032"


def test_a_callback_can_be_junk(shop: Shop, receiver: Receiver) -> None:
    for kind in ("20", "21", "22"):
        shop.push_and_settle(number(kind))
    empty, truncated, junk = (post.body for post in receiver.received)
    assert empty == b"{}"
    assert truncated.startswith(b'{"Body"')
    assert not truncated.endswith(b"}}}")
    assert len(junk) == 1_048_576


@pytest.mark.parametrize(("kind", "status"), [("30", 500), ("31", 429), ("32", 500), ("33", 503)])
def test_a_push_can_be_refused_by_the_number(shop: Shop, kind: str, status: int) -> None:
    assert shop.send_push(shop.document(number(kind))).status_code == status
    assert shop.simulator.submissions() == 0


def test_a_refusal_by_the_wallet_is_reported_whatever_the_script(shop: Shop, receiver: Receiver) -> None:
    shop.simulator.set_balance(number("08"), 10)
    shop.push_and_settle(number("08"))
    assert receiver.codes() == [1]


def test_the_document_lists_every_kind_as_it_is() -> None:
    listed = dict(re.findall(r"^\| `25470001(\d\d)NN` \| (.+?) \|$", DOCUMENT.read_text(), re.MULTILINE))
    assert listed == {kind: script.about for kind, script in KINDS.items()}


def test_a_kind_that_is_not_listed_is_answered_by_hand() -> None:
    assert script_for(number("99")).code is None
    assert script_for("254712345678").code is None
