"""Reversals: requested by our own client, with results that the simulator schedules."""

import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from daraja import DarajaClient, Refused, Retryable, Uncertain, reversal_verdict, security_credential
from daraja.initiator import Acknowledged
from daraja.simulator.initiator_keys import MAX_WRONG_CREDENTIALS
from tests.daraja.simulator.conftest import NOON, PHONE, Receiver, Shop

OpenClient = Callable[..., DarajaClient]


@pytest.fixture
def client(shop: Shop, open_client: OpenClient) -> DarajaClient:
    return open_client(shop)


def reverse(client: DarajaClient, shop: Shop, receipt: str, amount: int = 350) -> Acknowledged:
    return client.reverse(
        receipt=receipt,
        amount_shillings=amount,
        remarks="Goods are gone",
        result_url=f"{shop.receiver.url}/results/secret/",
        timeout_url=f"{shop.receiver.url}/timeouts/secret/",
    )


def request_reversal(shop: Shop, **changed: object) -> requests.Response:
    document = {
        "Initiator": "testapi",
        "SecurityCredential": "A" * 344,
        "CommandID": "TransactionReversal",
        "TransactionID": "UKF7Q2X9LM",
        "Amount": 350,
        "ReceiverParty": "174379",
        "RecieverIdentifierType": "11",
        "ResultURL": f"{shop.receiver.url}/results/secret/",
        "QueueTimeOutURL": f"{shop.receiver.url}/timeouts/secret/",
        "Remarks": "Gone",
    } | changed
    return shop.http.post(
        f"{shop.url}/mpesa/reversal/v1/request", json=document, headers=shop.headers(), timeout=10
    )


def results(shop: Shop, seconds: float = 2) -> list[Any]:
    """Let results come, and return what was posted."""
    shop.simulator.advance(seconds)
    assert shop.simulator.wait_until_idle()
    posted = shop.receiver.received[:]
    shop.receiver.received.clear()
    return posted


def codes(shop: Shop, seconds: float = 2) -> list[str]:
    return [post.result.result_code for post in results(shop, seconds)]


def test_a_payment_goes_back_once_with_a_receipt_of_its_own(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    acknowledged = reverse(client, shop, receipt)
    assert shop.receiver.received == []
    [post] = results(shop)
    verdict = reversal_verdict(post.result)
    assert (verdict.kind, verdict.original_receipt, verdict.amount_cents) == ("done", receipt, 350_00)
    assert post.path == "/results/secret/"
    assert post.result.conversation_id == acknowledged.conversation_id
    assert post.result.originator_conversation_id == acknowledged.originator_conversation_id
    payment, reversal = shop.simulator.movements()
    assert (reversal.receipt, reversal.linked_receipt) == (verdict.receipt, payment.receipt)
    assert (payment.balance_cents, reversal.balance_cents) == (350_00, 0)
    assert shop.simulator.balance(PHONE) == 400_000
    reverse(client, shop, receipt)
    assert codes(shop) == ["R000001"]
    assert len(shop.simulator.movements()) == 2


def test_the_wire_types_of_a_result_are_m_pesas(shop: Shop, client: DarajaClient) -> None:
    reverse(client, shop, shop.pay())
    result = json.loads(results(shop)[0].body)["Result"]
    assert (result["ResultType"], result["ResultCode"]) == (0, 0)
    parameters = {item["Key"]: item["Value"] for item in result["ResultParameters"]["ResultParameter"]}
    assert parameters["TransCompletedTime"] == 20261115120000
    assert parameters["DebitAccountBalance"].startswith("Utility Account|KES|")
    assert isinstance(result["ReferenceData"]["ReferenceItem"], dict)


@pytest.mark.parametrize("receipt", ["UKF0000XXX", "UKF7Q2X9LM"])
def test_what_was_never_paid_cannot_go_back(shop: Shop, client: DarajaClient, receipt: str) -> None:
    reverse(client, shop, receipt)
    [post] = results(shop)
    assert post.result.result_code == "R000002"
    assert post.result.transaction_id is None
    assert "ResultParameters" not in json.loads(post.body)["Result"]


def test_neither_a_part_nor_a_reversal_can_be_reversed(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    reverse(client, shop, receipt, amount=349)
    assert codes(shop) == ["R000002"]
    reverse(client, shop, receipt)
    assert codes(shop) == ["0"]
    reverse(client, shop, shop.simulator.movements()[-1].receipt)
    assert codes(shop) == ["R000002"]


def test_money_that_was_paid_out_to_the_bank_cannot_go_back(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    assert shop.simulator.withdraw(351) == "1"
    assert shop.simulator.withdraw(1) == "0"
    reverse(client, shop, receipt)
    [post] = results(shop)
    assert reversal_verdict(post.result).reason == "insufficient_funds"
    shop.pay("254712345679", 100)
    reverse(client, shop, receipt)
    assert codes(shop) == ["0"]


def test_the_credential_is_checked_by_the_result_and_not_by_the_acknowledgement(
    open_shop: Callable[..., Shop], open_client: OpenClient
) -> None:
    shop = open_shop(initiator_password="correct horse")
    certificate = shop.http.get(f"{shop.url}/simulator/api/certificate", timeout=10).content
    wrong = {"initiator_name": "somebody"}, {"initiator_password": "wrong"}
    receipt = shop.pay()
    for changed in wrong:
        given = {"initiator_password": "correct horse", "certificate": certificate} | changed
        reverse(open_client(shop, security_credential=None, **given), shop, receipt)
        assert codes(shop) == ["2001"]
    assert len(shop.simulator.movements()) == 1
    good = open_client(
        shop, security_credential=None, initiator_password="correct horse", certificate=certificate
    )
    reverse(good, shop, receipt)
    assert codes(shop) == ["0"]


def test_too_many_wrong_credentials_lock_the_initiator_until_it_is_unlocked(
    open_shop: Callable[..., Shop], open_client: OpenClient
) -> None:
    shop = open_shop(initiator_password="correct horse")
    receipt = shop.pay()
    for credential in ["A" * 344, "!" * 344, *["B" * 344] * (MAX_WRONG_CREDENTIALS - 2)]:
        assert shop.simulator.initiator_keys.objection_to("testapi", credential) == "2001"
    good = security_credential("correct horse", shop.simulator.initiator_keys.certificate())
    client = open_client(shop, security_credential=good)
    reverse(client, shop, receipt)
    assert codes(shop) == ["8006"]
    answer = shop.http.post(
        f"{shop.url}/simulator/api/organisation", json={"unlock_operator": True}, timeout=10
    )
    assert answer.status_code == 200
    reverse(client, shop, receipt)
    assert codes(shop) == ["0"]


@pytest.mark.parametrize(
    ("delivery_fault", "after_seconds", "paths"),
    [
        ("lost", 200, []),
        ("doubled", 2, ["results", "results"]),
        ("late", 131, []),
        ("late", 133, ["results"]),
        ("late:10", 13, ["results"]),
        ("timeout", 200, ["timeouts"]),
        ("timeout-then-result", 3, ["timeouts"]),
        ("timeout-then-result", 8, ["results", "timeouts"]),
    ],
)
def test_a_result_may_meet_a_delivery_fault_and_the_money_has_moved_all_the_same(
    shop: Shop, client: DarajaClient, delivery_fault: str, after_seconds: float, paths: list[str]
) -> None:
    receipt = shop.pay()
    shop.simulator.faults.add_delivery_faults("result", [delivery_fault])
    reverse(client, shop, receipt)
    assert sorted(post.path.split("/")[1] for post in results(shop, after_seconds)) == paths
    assert [movement.kind for movement in shop.simulator.movements()] == ["payment", "reversal"]


def test_a_result_may_come_before_the_acknowledgement(
    shop: Shop, client: DarajaClient, receiver: Receiver
) -> None:
    receipt = shop.pay()
    shop.simulator.faults.add_delivery_faults("result", ["early"])
    reverse(client, shop, receipt)
    assert [post.result.result_code for post in receiver.received] == ["0"]


def test_an_answer_may_be_lost_and_the_money_has_moved(shop: Shop, client: DarajaClient) -> None:
    receipt = shop.pay()
    shop.simulator.fail_next("reversal", "lose-answer")
    with pytest.raises(Uncertain):
        reverse(client, shop, receipt)
    assert codes(shop) == ["0"]


@pytest.mark.parametrize(
    ("fault", "error"), [("busy", Retryable), ("spike-arrest", Retryable), ("server-error", Uncertain)]
)
def test_a_reversal_may_meet_a_fault_and_then_nothing_moves(
    shop: Shop, client: DarajaClient, fault: str, error: type[Exception]
) -> None:
    receipt = shop.pay()
    shop.simulator.fail_next("reversal", fault)
    with pytest.raises(error):
        reverse(client, shop, receipt)
    assert results(shop) == []
    assert len(shop.simulator.movements()) == 1


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"CommandID": "Reversal"}, "CommandID"),
        ({"RecieverIdentifierType": "1"}, "RecieverIdentifierType"),
        ({"RecieverIdentifierType": "3"}, "RecieverIdentifierType"),
        ({"RecieverIdentifierType": None, "ReceiverIdentifierType": "11"}, "RecieverIdentifierType"),
        ({"ReceiverParty": "600100"}, "ReceiverParty"),
        ({"TransactionID": "ukf"}, "TransactionID"),
        ({"Amount": "1.5"}, "Amount"),
        ({"Amount": 0}, "Amount"),
        ({"Remarks": "x"}, "Remarks"),
        ({"Remarks": "x" * 101}, "Remarks"),
        ({"SecurityCredential": ""}, "SecurityCredential"),
        ({"Initiator": ""}, "Initiator"),
        ({"ResultURL": "ftp://shop"}, "ResultURL"),
        ({"QueueTimeOutURL": "http://SHOP/x"}, "QueueTimeOutURL"),
    ],
)
def test_a_request_with_something_wrong_is_refused_by_the_fields_name(
    shop: Shop, changed: dict[str, object], field: str
) -> None:
    answer = request_reversal(shop, **changed)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400.002.02")
    assert answer.json()["errorMessage"] == f"Bad Request - Invalid {field}"


@pytest.mark.parametrize("identifier_type", ["4", "11", 11])
def test_the_types_of_receiver_that_clients_send_are_taken(shop: Shop, identifier_type: object) -> None:
    answer = request_reversal(shop, TransactionID=shop.pay(), RecieverIdentifierType=identifier_type)
    assert answer.json()["ResponseCode"] == "0"
    assert codes(shop) == ["0"]


@pytest.mark.parametrize(
    "changed", [{"RecieverIdentifierType": "1"}, {"RecieverIdentifierType": "2"}, {"Remarks": "x" * 200}]
)
def test_lax_takes_what_some_clients_send_otherwise(
    open_shop: Callable[..., Shop], changed: dict[str, object]
) -> None:
    shop = open_shop(strict=False)
    assert request_reversal(shop, TransactionID=shop.pay(), **changed).status_code == 200
    assert codes(shop) == ["0"]
    assert request_reversal(shop, RecieverIdentifierType="3").status_code == 400


def test_values_come_as_text_where_the_older_pages_of_the_portal_had_them_so(
    open_shop: Callable[..., Shop], open_client: OpenClient
) -> None:
    shop = open_shop(result_values_as_text=True)
    receipt = shop.pay()
    reverse(open_client(shop), shop, receipt)
    [post] = results(shop)
    items = json.loads(post.body)["Result"]["ResultParameters"]["ResultParameter"]
    values = {item["Key"]: item["Value"] for item in items}
    assert (values["Amount"], values["TransCompletedTime"], values["Charge"]) == (
        "350.00",
        "20261115120000",
        "0.00",
    )
    verdict = reversal_verdict(post.result)
    assert (verdict.kind, verdict.original_receipt, verdict.amount_cents) == ("done", receipt, 350_00)
    assert verdict.completed_at == NOON


def test_a_reversal_wants_a_valid_token(shop: Shop) -> None:
    answer = shop.http.post(
        f"{shop.url}/mpesa/reversal/v1/request", json={}, headers={"Authorization": "Bearer x"}, timeout=10
    )
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "404.001.03")


def test_our_client_refuses_without_an_initiator(shop: Shop, open_client: OpenClient) -> None:
    with pytest.raises(Refused):
        reverse(open_client(shop, initiator_name=None), shop, "UKF7Q2X9LM")


def test_charges_are_booked_under_the_receipt_that_they_are_for(
    open_shop: Callable[..., Shop], open_client: OpenClient
) -> None:
    shop = open_shop(payment_charge_cents=1_75, reversal_charge_cents=10_00, organisation_shillings=100)
    receipt = shop.pay()
    reverse(open_client(shop), shop, receipt)
    assert codes(shop) == ["0"]
    booked = [(m.kind, m.change_cents, m.balance_cents) for m in shop.simulator.movements()]
    assert booked == [
        ("payment", 350_00, 450_00),
        ("charge", -1_75, 448_25),
        ("reversal", -350_00, 98_25),
        ("charge", -10_00, 88_25),
    ]
