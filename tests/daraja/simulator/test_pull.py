"""Pull: our own client pages through the list, whatever form its answers have."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
import requests

from daraja import DarajaClient, Refused
from tests.daraja.simulator.conftest import NOON, Shop

OpenClient = Callable[..., DarajaClient]
DAY = timedelta(days=1)


def post(shop: Shop, **changed: object) -> requests.Response:
    document = {
        "ShortCode": "174379",
        "StartDate": "2026-11-14 12:00:00",
        "EndDate": "2026-11-15 13:00:00",
        "OffSetValue": "0",
    } | changed
    return shop.http.post(
        f"{shop.url}/pulltransactions/v1/query", json=document, headers=shop.headers(), timeout=10
    )


def pulled(client: DarajaClient, start: datetime = NOON - DAY, end: datetime = NOON + DAY) -> list[str]:
    window = client.pull_all(start=start, end=end)
    assert window.complete
    return [transaction.receipt for transaction in window.transactions]


def test_registering_is_new_once(shop: Shop, open_client: OpenClient) -> None:
    client = open_client(shop)
    states = [
        client.pull_register(nominated_number="254712345678", callback_url="http://shop.test/pull/")
        for _ in range(2)
    ]
    assert states == ["registered", "already_registered"]


def test_the_list_has_every_payment_by_prompt_or_by_hand_whatever_was_posted(
    shop: Shop, open_client: OpenClient
) -> None:
    client = open_client(shop)
    by_prompt = shop.pay()
    by_hand = shop.simulator.pay_by_hand("254712345679", 200, "D8").receipt
    shop.push_and_settle("254700010101")
    shop.push_and_settle("254700001032")
    listed = pulled(client)
    assert listed[:2] == [by_prompt, by_hand]
    assert len(listed) == 3
    [first, *_] = client.pull_all(start=NOON - DAY, end=NOON + DAY).transactions
    assert (first.amount_cents, first.bill_reference, first.kind) == (350_00, "D7", "c2b-pay-bill-debit")
    assert first.happened_at == NOON


def test_a_payment_that_went_back_is_listed_and_its_reversal_is_not(
    shop: Shop, open_client: OpenClient
) -> None:
    client = open_client(shop)
    receipt = shop.pay()
    client.reverse(
        receipt=receipt,
        amount_shillings=350,
        remarks="Gone",
        result_url="http://127.0.0.1:9/r/",
        timeout_url="http://127.0.0.1:9/t/",
    )
    assert pulled(client) == [receipt]


def test_rows_are_inside_a_list_inside_a_list_with_small_keys(shop: Shop) -> None:
    receipt = shop.pay()
    answer = post(shop).json()
    assert (answer["ResponseCode"], answer["ResponseMessage"]) == ("1000", "Success")
    assert answer["Response"] == [
        [
            {
                "transactionId": receipt,
                "trxDate": "2026-11-15T09:00:00Z",
                "msisdn": 254712345678,
                "sender": "MPESA",
                "transactiontype": "c2b-pay-bill-debit",
                "billreference": "D7",
                "amount": "350.00",
                "organizationname": "DAFTARI SHOP",
            }
        ]
    ]


@pytest.mark.parametrize(
    ("masks", "written", "payer"),
    [(False, 254712345678, "254712345678"), (True, "2547*****678", "2547*****678")],
)
def test_the_payer_is_a_number_or_masked_and_our_client_reads_both(
    open_shop: Callable[..., Shop], open_client: OpenClient, masks: bool, written: object, payer: str
) -> None:
    shop = open_shop(pull_masks_msisdn=masks)
    shop.pay()
    assert post(shop).json()["Response"][0][0]["msisdn"] == written
    [transaction] = open_client(shop).pull_all(start=NOON - DAY, end=NOON + DAY).transactions
    assert transaction.payer == payer


def test_the_hours_may_be_those_of_nairobi_under_the_same_letter(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop(pull_writes_eat=True)
    shop.pay()
    assert post(shop).json()["Response"][0][0]["trxDate"] == "2026-11-15T12:00:00Z"


def test_it_is_queried_page_by_page(open_shop: Callable[..., Shop], open_client: OpenClient) -> None:
    shop = open_shop(pull_page_rows=3)
    receipts = [shop.simulator.pay_by_hand(f"25471234567{n}", 100, f"D{n}").receipt for n in range(7)]
    assert pulled(open_client(shop)) == receipts
    assert len(post(shop, OffSetValue=6).json()["Response"][0]) == 1


def test_what_is_older_than_48_hours_is_not_listed(shop: Shop, open_client: OpenClient) -> None:
    receipt = shop.pay()
    shop.simulator.advance(48 * 3600)
    assert pulled(open_client(shop)) == [receipt]
    shop.simulator.advance(1)
    assert pulled(open_client(shop)) == []


@pytest.mark.parametrize(
    ("form", "status", "members"),
    [
        ("code-1001", 200, {"ResponseCode": "1001", "Response": [[]]}),
        ("text", 200, {"Transaction": "[[]]"}),
        ("http-500", 500, {"errorMessage": "No transactions found for the given period"}),
    ],
)
def test_an_empty_list_has_several_forms(
    shop: Shop, open_client: OpenClient, form: str, status: int, members: dict[str, Any]
) -> None:
    chosen = shop.http.post(f"{shop.url}/simulator/api/organisation", json={"pull_empty": form}, timeout=10)
    assert chosen.status_code == 200
    answer = post(shop)
    assert answer.status_code == status
    assert answer.json() == answer.json() | members
    assert pulled(open_client(shop)) == []


def test_it_may_be_queried_with_get_as_the_documentation_says(shop: Shop) -> None:
    document = {
        "ShortCode": 174379,
        "StartDate": "2026-11-15 00:00:00",
        "EndDate": "2026-11-15 23:00:00",
        "OffSetValue": 0,
    }
    answer = shop.http.get(
        f"{shop.url}/pulltransactions/v1/query", json=document, headers=shop.headers(), timeout=10
    )
    assert answer.json()["ResponseCode"] == "1001"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"ShortCode": "600100"}, "ShortCode"),
        ({"StartDate": "2026-11-15"}, "StartDate"),
        ({"EndDate": "2026-13-15 00:00:00"}, "EndDate"),
        ({"OffSetValue": "-1"}, "OffSetValue"),
    ],
)
def test_an_invalid_request_is_refused_with_the_fields_name(
    shop: Shop, changed: dict[str, object], field: str
) -> None:
    assert post(shop, **changed).json()["errorMessage"] == f"Bad Request - Invalid {field}"


def test_a_token_that_is_not_valid_is_worded_as_this_product_does(
    shop: Shop, open_client: OpenClient
) -> None:
    client = open_client(shop)
    answer = shop.http.post(
        f"{shop.url}/pulltransactions/v1/query", json={}, headers={"Authorization": "Bearer x"}, timeout=10
    )
    assert (answer.status_code, answer.json()["errorCode"]) == (401, "401.001")
    assert pulled(client) == []
    shop.simulator.tokens.void()
    assert pulled(client) == []
    shop.simulator.fail_next("pull", "unauthorized", times=2)
    with pytest.raises(Refused):
        pulled(client)
