"""The utility account: payouts to phones (B2C), each once for the caller's own id, and its balance."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import requests

from daraja import DarajaClient, parse_result, status_verdict
from daraja.statement import parse_statement
from tests.daraja.simulator.conftest import PHONE, Shop
from tests.daraja.simulator.test_reversals import results

PAYOUT = "/mpesa/b2c/v3/paymentrequest"
BALANCE = "/mpesa/accountbalance/v1/query"


@pytest.fixture
def shop(open_shop: Callable[..., Shop]) -> Shop:
    return open_shop(organisation_shillings=1_000)


def initiated(shop: Shop, **members: object) -> dict[str, object]:
    return {
        "SecurityCredential": "A" * 344,
        "PartyA": "174379",
        "Remarks": "Winnings",
        "QueueTimeOutURL": f"{shop.receiver.url}/timeouts/secret/",
        "ResultURL": f"{shop.receiver.url}/results/secret/",
    } | members


def payout(shop: Shop, **changed: object) -> dict[str, object]:
    return (
        initiated(
            shop,
            InitiatorName="testapi",
            OriginatorConversationID="payout-1",
            CommandID="BusinessPayment",
            Amount=100,
            PartyB=PHONE,
            Occassion="",
        )
        | changed
    )


def balance(shop: Shop, **changed: object) -> dict[str, object]:
    return initiated(shop, Initiator="testapi", CommandID="AccountBalance", IdentifierType="4") | changed


def post(shop: Shop, path: str, document: object) -> requests.Response:
    return shop.http.post(f"{shop.url}{path}", json=document, headers=shop.headers(), timeout=10)


def parameters(body: bytes) -> dict[str, Any]:
    items = json.loads(body)["Result"]["ResultParameters"]["ResultParameter"]
    return {item["Key"]: item["Value"] for item in items}


def codes(shop: Shop) -> list[str]:
    return [posted.result.result_code for posted in results(shop)]


def test_a_payout_moves_money_into_the_wallet_and_its_result_says_so(shop: Shop) -> None:
    shop.simulator.set_balance(PHONE, 50)
    acknowledged = post(shop, PAYOUT, payout(shop)).json()
    assert acknowledged == {
        "OriginatorConversationID": "payout-1",
        "ConversationID": acknowledged["ConversationID"],
        "ResponseCode": "0",
        "ResponseDescription": "Accept the service request successfully.",
    }
    [posted] = results(shop)
    [booking] = shop.simulator.movements()
    result = parse_result(posted.body)
    assert (result.conversation_id, result.originator_conversation_id, result.transaction_id) == (
        acknowledged["ConversationID"],
        "payout-1",
        booking.receipt,
    )
    assert parameters(posted.body) == {
        "TransactionAmount": 100,
        "TransactionReceipt": booking.receipt,
        "ReceiverPartyPublicName": f"{PHONE} - {booking.first_name}",
        "TransactionCompletedDateTime": "15.11.2026 12:00:00",
        "B2CUtilityAccountAvailableFunds": 900.0,
        "B2CWorkingAccountAvailableFunds": 0.0,
        "B2CRecipientIsRegisteredCustomer": "Y",
        "B2CChargesPaidAccountAvailableFunds": 0.0,
    }
    assert (booking.kind, booking.change_cents, booking.balance_cents) == ("payout", -100_00, 900_00)
    assert shop.simulator.balance(PHONE) == 150
    assert shop.simulator.statistics()["shillings_paid_out"] == 100


def test_a_payout_is_in_the_statement_and_neither_in_pull_nor_reversible(
    shop: Shop, open_client: Callable[..., DarajaClient]
) -> None:
    shop.simulator.set_balance(PHONE, 0)
    post(shop, PAYOUT, payout(shop))
    [booking] = shop.simulator.movements()
    *_, header, row = csv.reader(io.StringIO(shop.simulator.statement()))
    written = dict(zip(header, row, strict=True))
    assert (written["Withdrawn"], written["Paid In"], written["A/C No."]) == ("-100.00", "", "")
    assert (written["Reason Type"], written["Balance"]) == ("Business Payment to Customer", "900.00")
    [read] = parse_statement(shop.simulator.statement().encode()).rows
    assert (read.receipt, read.withdrawn_cents) == (booking.receipt, 100_00)
    results(shop)
    client = open_client(shop)
    urls = {"result_url": f"{shop.receiver.url}/r/", "timeout_url": f"{shop.receiver.url}/t/"}
    client.reverse(receipt=booking.receipt, amount_shillings=100, remarks="Gone", **urls)
    assert codes(shop) == ["R000002"]


@pytest.mark.parametrize("by", ["ConversationID", "OriginatorConversationID", "receipt"])
def test_the_status_of_a_payout_is_known_by_receipt_and_by_either_id(
    shop: Shop, open_client: Callable[..., DarajaClient], by: str
) -> None:
    shop.simulator.set_balance(PHONE, 0)
    acknowledged = post(shop, PAYOUT, payout(shop)).json()
    [booking] = shop.simulator.movements()
    results(shop)
    handle = (
        {"receipt": booking.receipt} if by == "receipt" else {"original_conversation_id": acknowledged[by]}
    )
    urls = {"result_url": f"{shop.receiver.url}/r/", "timeout_url": f"{shop.receiver.url}/t/"}
    open_client(shop).transaction_status(remarks="What became of it", **handle, **urls)
    [posted] = results(shop)
    told = status_verdict(posted.result)
    assert (told.kind, told.receipt, told.amount_cents) == ("completed", booking.receipt, 100_00)
    assert told.reason_type == "Business Payment to Customer"


def test_an_id_pays_once_whatever_became_of_its_answer_and_over_a_restart(
    open_shop: Callable[..., Shop], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {"state_file": tmp_path / "books", "organisation_shillings": 1_000}
    shop = open_shop(**settings)
    shop.simulator.set_balance(PHONE, 0)
    shop.simulator.fail_next("b2c", "lose-answer")
    with pytest.raises(requests.ConnectionError):
        post(shop, PAYOUT, payout(shop))
    poor = payout(shop, OriginatorConversationID="payout-2", Amount=5_000)
    assert post(shop, PAYOUT, poor).json()["OriginatorConversationID"] == "payout-2"
    shop.simulator.stop()
    shop = open_shop(**settings)
    for document in (payout(shop), poor):
        repeated = post(shop, PAYOUT, document)
        assert (repeated.status_code, repeated.json()["errorCode"]) == (500, "500.002.1001")
        assert repeated.json()["errorMessage"] == "Duplicate OriginatorConversationID."
    assert [booking.change_cents for booking in shop.simulator.movements()] == [-100_00]
    assert shop.simulator.balance(PHONE) == 100
    assert post(shop, PAYOUT, payout(shop, OriginatorConversationID="payout-3")).status_code == 200


def test_of_twenty_payouts_at_once_with_one_id_one_pays(shop: Shop) -> None:
    shop.simulator.set_balance(PHONE, 0)
    headers, document, statuses = shop.headers(), payout(shop), []

    def send() -> None:
        answer = requests.post(f"{shop.url}{PAYOUT}", json=document, headers=headers, timeout=10)
        statuses.append(answer.status_code)

    threads = [Thread(target=send) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[500] * 19]
    assert shop.simulator.balance(PHONE) == 100


def test_the_first_version_has_no_id_of_the_callers_and_so_pays_twice(shop: Shop) -> None:
    shop.simulator.set_balance(PHONE, 0)
    document = {name: value for name, value in payout(shop).items() if name != "OriginatorConversationID"}
    for _ in range(2):
        assert post(shop, "/mpesa/b2c/v1/paymentrequest", document).json()["OriginatorConversationID"]
    assert codes(shop) == ["0", "0"]
    assert shop.simulator.balance(PHONE) == 200


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"Amount": 1_001}, "1"),
        ({"Amount": 9}, "2"),
        ({"Amount": 250_001}, "3"),
        ({"PartyB": "254712345679"}, "8"),
        ({"PartyB": "254700002040"}, "2040"),
    ],
)
def test_a_payout_that_cannot_be_made_fails_in_its_result_and_moves_nothing(
    shop: Shop, changed: dict[str, object], code: str
) -> None:
    shop.simulator.set_balance("254712345679", 499_950)
    shop.simulator.set_balance(PHONE, 0)
    assert post(shop, PAYOUT, payout(shop, **changed)).status_code == 200
    [posted] = results(shop)
    assert posted.result.result_code == code
    assert "Unexpected" not in posted.result.result_desc
    assert shop.simulator.movements() == []


def test_the_initiator_is_checked_by_the_result(open_shop: Callable[..., Shop]) -> None:
    shop = open_shop(organisation_shillings=1_000, initiator_password="correct horse")
    post(shop, PAYOUT, payout(shop))
    post(shop, BALANCE, balance(shop))
    assert codes(shop) == ["2001", "2001"]
    assert shop.simulator.movements() == []


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"OriginatorConversationID": None}, "OriginatorConversationID"),
        ({"OriginatorConversationID": "x" * 129}, "OriginatorConversationID"),
        ({"CommandID": "Payment"}, "CommandID"),
        ({"Amount": 0}, "Amount"),
        ({"Amount": "10.50"}, "Amount"),
        ({"PartyA": "600100"}, "PartyA"),
        ({"PartyB": "0712345678"}, "PartyB"),
        ({"InitiatorName": ""}, "InitiatorName"),
        ({"Remarks": "x"}, "Remarks"),
        ({"ResultURL": "shop"}, "ResultURL"),
    ],
)
def test_a_wrong_field_is_refused_by_name(shop: Shop, changed: dict[str, object], field: str) -> None:
    refused = post(shop, PAYOUT, payout(shop, **changed))
    assert refused.json()["errorMessage"] == f"Bad Request - Invalid {field}"
    assert post(shop, PAYOUT, payout(shop)).status_code == 200


@pytest.mark.parametrize("path", [PAYOUT, BALANCE])
def test_a_token_that_is_not_valid_is_worded_as_these_products_do(shop: Shop, path: str) -> None:
    answer = shop.http.post(f"{shop.url}{path}", json={}, headers={"Authorization": "Bearer x"}, timeout=10)
    assert (answer.status_code, answer.json()["errorCode"]) == (401, "401.002.01")
    assert "Invalid Access Token" in answer.json()["errorMessage"]


@pytest.mark.parametrize("identifier_type", ["2", "4"])
def test_the_balance_is_that_of_the_books_by_account(shop: Shop, identifier_type: str) -> None:
    shop.simulator.pay_by_hand("254712345679", 350, "D7")
    answer = post(shop, BALANCE, balance(shop, IdentifierType=identifier_type)).json()
    [posted] = results(shop)
    result = json.loads(posted.body)["Result"]
    assert (result["ResultType"], result["ResultCode"]) == ("0", "0")
    assert result["ConversationID"] == answer["ConversationID"]
    told = parameters(posted.body)
    accounts = [account.split("|") for account in told["AccountBalance"].split("&")]
    assert [(name, currency, available) for name, currency, available, *_ in accounts] == [
        ("Working Account", "KES", "0.00"),
        ("Utility Account", "KES", "1350.00"),
        ("Charges Paid Account", "KES", "0.00"),
        ("Organization Settlement Account", "KES", "0.00"),
    ]
    assert {len(account) for account in accounts} == {6}
    assert told["BOCompletedTime"] == 20261115120000


@pytest.mark.parametrize(("identifier_type", "party"), [("1", PHONE), ("11", "174379"), ("4", "600100")])
def test_the_balance_of_someone_else_is_refused(shop: Shop, identifier_type: str, party: str) -> None:
    refused = post(shop, BALANCE, balance(shop, IdentifierType=identifier_type, PartyA=party))
    assert refused.json()["errorCode"] == "400.002.02"


def test_results_of_payouts_meet_faults_as_others_do(shop: Shop) -> None:
    shop.simulator.set_balance(PHONE, 0)
    shop.simulator.faults.add_delivery_faults("result", ["lost", "timeout"])
    post(shop, PAYOUT, payout(shop))
    post(shop, PAYOUT, payout(shop, OriginatorConversationID="payout-2"))
    assert [posted.path for posted in results(shop)] == ["/timeouts/secret/"]
    assert len(shop.simulator.movements()) == 2
