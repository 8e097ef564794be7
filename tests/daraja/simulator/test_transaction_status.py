"""Transaction status: requested by our own client, answered from the books."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from daraja import DarajaClient, StatusVerdict, status_verdict
from tests.daraja.simulator.conftest import NOON, Shop
from tests.daraja.simulator.test_reversals import results, reverse


@pytest.fixture
def client(shop: Shop, open_client: Callable[..., DarajaClient]) -> DarajaClient:
    return open_client(shop)


def ask(client: DarajaClient, shop: Shop, **handle: str) -> Any:
    client.transaction_status(
        **handle,
        remarks="What became of it",
        result_url=f"{shop.receiver.url}/results/secret/",
        timeout_url=f"{shop.receiver.url}/timeouts/secret/",
    )
    [post] = results(shop)
    return post


def verdict(client: DarajaClient, shop: Shop, **handle: str) -> StatusVerdict:
    return status_verdict(ask(client, shop, **handle).result)


def test_a_payment_is_completed_until_it_is_reversed(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    told = verdict(client, shop, receipt=receipt)
    assert (told.kind, told.receipt, told.amount_cents) == ("completed", receipt, 350_00)
    assert told.finished_at == NOON
    reverse(client, shop, receipt)
    results(shop)
    assert verdict(client, shop, receipt=receipt).kind == "reversed"


def test_a_reversal_is_found_by_the_ids_of_its_conversation(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    acknowledged = reverse(client, shop, receipt)
    results(shop)
    for name in (acknowledged.conversation_id, acknowledged.originator_conversation_id):
        told = verdict(client, shop, original_conversation_id=name)
        assert (told.kind, told.receipt) == ("completed", shop.simulator.movements()[-1].receipt)


def test_a_reversal_that_failed_is_declined(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    shop.simulator.withdraw(350)
    acknowledged = reverse(client, shop, receipt)
    results(shop)
    told = verdict(client, shop, original_conversation_id=acknowledged.conversation_id)
    assert (told.kind, told.reason, told.receipt) == ("not_completed", "declined", None)


def test_an_unknown_transaction_is_2032_as_a_number_and_without_parameters(
    shop: Shop, client: DarajaClient
) -> None:
    post = ask(client, shop, receipt="UKF7Q2X9LM")
    result = json.loads(post.body)["Result"]
    assert result["ResultCode"] == 2032
    assert "ResultParameters" not in result
    assert status_verdict(post.result).kind == "unknown_receipt"


def test_a_key_comes_twice_and_one_has_no_value_as_in_the_vendors_sample(
    shop: Shop, client: DarajaClient
) -> None:
    items = json.loads(ask(client, shop, receipt=shop.pay()).body)["Result"]["ResultParameters"]
    keys = [item["Key"] for item in items["ResultParameter"]]
    assert keys.count("DebitPartyName") == 2
    assert {"Key": "TransactionReason"} in items["ResultParameter"]


def test_the_initiator_is_checked_here_as_well(
    open_shop: Callable[..., Shop], open_client: Callable[..., DarajaClient]
) -> None:
    shop = open_shop(initiator_password="correct horse")
    post = ask(open_client(shop), shop, receipt=shop.pay())
    assert post.result.result_code == "2001"


def request_status(shop: Shop, **changed: object) -> requests.Response:
    document = {
        "Initiator": "testapi",
        "SecurityCredential": "A" * 344,
        "CommandID": "TransactionStatusQuery",
        "TransactionID": "UKF7Q2X9LM",
        "PartyA": "174379",
        "IdentifierType": "4",
        "ResultURL": f"{shop.receiver.url}/results/secret/",
        "QueueTimeOutURL": f"{shop.receiver.url}/timeouts/secret/",
        "Remarks": "Gone",
        "Occasion": "Gone",
    } | changed
    return shop.http.post(
        f"{shop.url}/mpesa/transactionstatus/v1/query", json=document, headers=shop.headers(), timeout=10
    )


@pytest.mark.parametrize(
    ("identifier_type", "party"), [("1", "254712345678"), ("2", "600200"), ("2", "174379"), ("4", "174379")]
)
def test_each_type_of_party_is_taken_with_a_party_of_its_type(
    open_shop: Callable[..., Shop], identifier_type: str, party: str
) -> None:
    shop = open_shop(till="600200")
    receipt = shop.pay()
    answer = request_status(shop, TransactionID=receipt, IdentifierType=identifier_type, PartyA=party)
    assert answer.json()["ResponseCode"] == "0"
    [post] = results(shop)
    assert status_verdict(post.result).receipt == receipt


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"CommandID": "Status"}, "CommandID"),
        ({"IdentifierType": "3"}, "IdentifierType"),
        ({"IdentifierType": "11"}, "IdentifierType"),
        ({"IdentifierType": "1"}, "PartyA"),
        ({"IdentifierType": "4", "PartyA": "254712345678"}, "PartyA"),
        ({"PartyA": "600100"}, "PartyA"),
        ({"TransactionID": ""}, "TransactionID"),
    ],
)
def test_an_invalid_request_is_refused_with_the_fields_name(
    shop: Shop, changed: dict[str, object], field: str
) -> None:
    answer = request_status(shop, **changed)
    assert answer.json()["errorMessage"] == f"Bad Request - Invalid {field}"


def test_a_token_that_is_not_valid_is_worded_as_this_product_does(shop: Shop) -> None:
    answer = shop.http.post(
        f"{shop.url}/mpesa/transactionstatus/v1/query",
        json={},
        headers={"Authorization": "Bearer x"},
        timeout=10,
    )
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400.003.01")
