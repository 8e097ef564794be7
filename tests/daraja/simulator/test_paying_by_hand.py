"""C2B: addresses are registered, payers pay by hand, the shop validates first and gets a confirmation."""

import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
import requests

from daraja import DarajaClient, Retryable, parse_c2b
from daraja.simulator.c2b_payments import Registration
from tests.daraja.simulator.conftest import PHONE, Receiver, Shop

HASHED_PHONE = hashlib.sha256(PHONE.encode()).hexdigest()
ACCEPT = json.dumps({"ResultCode": "0", "ResultDesc": "Accepted"}).encode()
REJECT = json.dumps({"ResultCode": "C2B00012", "ResultDesc": "Rejected"}).encode()


@pytest.fixture
def client(shop: Shop, open_client: Callable[..., DarajaClient]) -> DarajaClient:
    return open_client(shop)


def register(client: DarajaClient, receiver: Receiver, response_type: str = "Completed") -> str:
    return client.register_c2b(
        confirmation_url=f"{receiver.url}/c2b/secret/confirmation/",
        validation_url=f"{receiver.url}/c2b/secret/validation/",
        response_type=response_type,
    ).state


def post(shop: Shop, path: str, document: object) -> requests.Response:
    return shop.http.post(f"{shop.url}{path}", json=document, headers=shop.headers(), timeout=20)


def pay(shop: Shop, reference: str = "D7", amount: int = 350, phone: str = PHONE) -> requests.Response:
    paid = post(shop, "/simulator/api/payments", {"phone": phone, "amount": amount, "reference": reference})
    assert shop.simulator.wait_until_idle()
    return paid


def steps(receiver: Receiver) -> list[str]:
    return [received.path.rstrip("/").rsplit("/", 1)[1] for received in receiver.received]


def test_a_payment_by_hand_is_validated_and_confirmed_in_strings(
    shop: Shop, client: DarajaClient, receiver: Receiver
) -> None:
    assert register(client, receiver) == "registered"
    receiver.answer = ACCEPT
    paid = pay(shop)
    assert (paid.status_code, paid.json()["code"], paid.json()["balance"]) == (201, "0", 399_650)
    assert steps(receiver) == ["validation", "confirmation"]
    validation, confirmation = (json.loads(received.body) for received in receiver.received)
    assert all(isinstance(value, str) for value in confirmation.values())
    assert (validation["TransID"], validation["OrgAccountBalance"]) == (confirmation["TransID"], "")
    notice = parse_c2b(receiver.received[1].body)
    assert (notice.receipt, notice.amount_cents, notice.bill_reference) == (
        paid.json()["receipt"],
        350_00,
        "D7",
    )
    assert (notice.payer, notice.balance_cents) == ("2547 ***** 678", 350_00)
    assert confirmation["TransTime"] == "20261115120000"


def test_the_shop_may_refuse_and_then_no_money_moves(
    shop: Shop, client: DarajaClient, receiver: Receiver
) -> None:
    register(client, receiver)
    receiver.answer = REJECT
    refused = pay(shop)
    assert (refused.status_code, refused.json()["code"], refused.json()["receipt"]) == (
        409,
        "C2B00012",
        None,
    )
    assert steps(receiver) == ["validation"]
    assert shop.simulator.movements() == []


@pytest.mark.parametrize(("response_type", "moves"), [("Completed", True), ("Cancelled", False)])
@pytest.mark.parametrize("answer", [b"junk", b"[]", b"{}", None])
def test_without_a_usable_answer_of_the_shop_the_registered_response_type_applies(
    shop: Shop,
    client: DarajaClient,
    receiver: Receiver,
    response_type: str,
    moves: bool,
    answer: bytes | None,
) -> None:
    register(client, receiver, response_type)
    receiver.status = 500 if answer is None else 200
    receiver.answer = answer or b""
    assert (pay(shop).status_code == 201) is moves
    assert bool(shop.simulator.movements()) is moves


def test_without_addresses_money_moves_and_nothing_is_posted(shop: Shop, receiver: Receiver) -> None:
    assert pay(shop, reference="anything at all").status_code == 201
    assert receiver.received == []
    assert [movement.reference for movement in shop.simulator.movements()] == ["anything at all"]


def test_a_reference_of_more_than_twenty_characters_is_cut_and_that_is_told(
    open_shop: Callable[..., Shop], receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    shop = open_shop(strict=False)
    shop.simulator.c2b.register(Registration(f"{receiver.url}/c", f"{receiver.url}/v", "Completed"))
    long = "x" * 25
    document = {
        "ShortCode": "174379",
        "CommandID": "CustomerPayBillOnline",
        "Amount": "350",
        "Msisdn": PHONE,
        "BillRefNumber": long,
    }
    assert post(shop, "/mpesa/c2b/v2/simulate", document).status_code == 200
    assert shop.simulator.wait_until_idle()
    assert shop.simulator.pay_by_hand(PHONE, 100, long).reference == "x" * 20
    shop.pay(amount=200, reference=long)
    assert {booking.reference for booking in shop.simulator.movements()} == {"x" * 20}
    assert shop.simulator.statistics()["references_cut"] == 3
    assert "of 25 characters was cut to 20" in caplog.text
    told = post(shop, "/simulator/api/payments", {"phone": PHONE, "amount": 350, "reference": long})
    assert (told.status_code, told.json()["error"]) == (400, "reference is text of at most 20 characters.")


def test_the_wallets_rules_hold_by_hand_too_and_the_shop_is_not_asked(
    shop: Shop, client: DarajaClient, receiver: Receiver
) -> None:
    register(client, receiver)
    receiver.answer = ACCEPT
    pay(shop)
    receiver.received.clear()
    assert pay(shop).json()["code"] == "17"
    assert pay(shop, amount=250_000, phone="254712345679").status_code == 201
    receiver.received.clear()
    assert pay(shop, amount=250_000, phone="254712345679").json()["code"] in ("17", "1")
    assert receiver.received == []


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_simulate_endpoint_pays_as_the_sandbox_does(
    shop: Shop, client: DarajaClient, receiver: Receiver, version: str
) -> None:
    register(client, receiver)
    receiver.answer = ACCEPT
    document = {
        "ShortCode": "174379",
        "CommandID": "CustomerPayBillOnline",
        "Amount": "350",
        "Msisdn": PHONE,
        "BillRefNumber": "D7",
    }
    answer = post(shop, f"/mpesa/c2b/{version}/simulate", document)
    assert answer.json()["ResponseCode"] == "0"
    assert "OriginatorCoversationID" in answer.json()
    assert shop.simulator.wait_until_idle()
    assert steps(receiver) == ["validation", "confirmation"]
    assert shop.http.get(f"{shop.url}/simulator/api/movements", timeout=20).json()["movements"]
    for name, value in (("CommandID", "x"), ("BillRefNumber", "x" * 21), ("Msisdn", "07"), ("ShortCode", 1)):
        refused = post(shop, f"/mpesa/c2b/{version}/simulate", document | {name: value})
        assert refused.json()["errorMessage"] == f"Bad Request - Invalid {name}"


@pytest.mark.parametrize(
    ("version", "setting", "payer"),
    [
        ("v1", None, HASHED_PHONE),
        ("v2", None, "2547 ***** 678"),
        ("v1", "masked", "2547 ***** 678"),
        ("v2", "hashed", HASHED_PHONE),
        ("v2", "plain", PHONE),
    ],
)
def test_notices_name_the_payer_as_the_registered_version_does_unless_a_setting_says_how(
    open_shop: Callable[..., Shop], receiver: Receiver, version: str, setting: str | None, payer: str
) -> None:
    shop = open_shop(c2b_msisdn=setting)
    registration = {
        "ShortCode": "174379",
        "ResponseType": "Completed",
        "ConfirmationURL": f"{receiver.url}/confirmation",
        "ValidationURL": f"{receiver.url}/validation",
    }
    assert post(shop, f"/mpesa/c2b/{version}/registerurl", registration).json()["ResponseCode"] == "0"
    receiver.answer = ACCEPT
    pay(shop)
    assert steps(receiver) == ["validation", "confirmation"]
    for received in receiver.received:
        assert json.loads(received.body)["MSISDN"] == payer
        assert parse_c2b(received.body).payer == payer


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("never", ["secret-path"]),
        ("after", ["secret-path", "confirmation"]),
        ("before", ["confirmation", "secret-path"]),
    ],
)
def test_a_payment_by_prompt_may_be_confirmed_as_well_before_or_after_its_callback(
    shop: Shop, client: DarajaClient, receiver: Receiver, order: str, expected: list[str]
) -> None:
    register(client, receiver)
    chosen = post(shop, "/simulator/api/organisation", {"c2b_for_prompts": order})
    assert chosen.json()["c2b_for_prompts"] == order
    shop.simulator.approve(shop.push()["CheckoutRequestID"])
    assert shop.simulator.wait_until_idle()
    assert steps(receiver) == expected
    if order != "never":
        receipts = {
            parse_c2b(r.body).receipt if r.path.endswith("confirmation/") else r.items["MpesaReceiptNumber"]
            for r in receiver.received
        }
        assert len(receipts) == 1


def test_the_notice_comes_though_the_callback_is_lost(
    shop: Shop, client: DarajaClient, receiver: Receiver
) -> None:
    register(client, receiver)
    post(shop, "/simulator/api/organisation", {"c2b_for_prompts": "after"})
    shop.push_and_settle("254700010101")
    assert shop.simulator.wait_until_idle()
    assert steps(receiver) == ["confirmation"]


def test_a_failed_prompt_gets_no_confirmation(shop: Shop, client: DarajaClient, receiver: Receiver) -> None:
    register(client, receiver)
    post(shop, "/simulator/api/organisation", {"c2b_for_prompts": "before"})
    shop.push_and_settle("254700001032")
    assert steps(receiver) == ["secret-path"]


@pytest.mark.parametrize(
    ("delivery_fault", "copies"), [("lost", 0), ("doubled", 2), ("late", 0), ("truncated", 1)]
)
def test_a_confirmation_may_meet_a_delivery_fault(
    shop: Shop, client: DarajaClient, receiver: Receiver, delivery_fault: str, copies: int
) -> None:
    register(client, receiver)
    receiver.answer = ACCEPT
    assert post(shop, "/simulator/api/faults", {"confirmation": [delivery_fault]}).status_code == 200
    pay(shop)
    assert steps(receiver).count("confirmation") == copies
    shop.simulator.advance(131)
    assert shop.simulator.wait_until_idle()
    assert steps(receiver).count("confirmation") == copies + (delivery_fault == "late")


def test_addresses_may_be_registered_once_as_in_production(
    open_shop: Callable[..., Shop], open_client: Callable[..., DarajaClient], receiver: Receiver
) -> None:
    shop = open_shop(c2b_registers_once=True)
    client = open_client(shop)
    assert [register(client, receiver) for _ in range(2)] == ["registered", "already_registered"]
    post(shop, "/simulator/api/organisation", {"forget_c2b": True})
    assert register(client, receiver) == "registered"


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"ResponseType": "completed"}, "ResponseType"),
        ({"ConfirmationURL": "http://shop.test/mpesa/"}, "ConfirmationURL"),
        ({"ConfirmationURL": "http://SHOP.test/"}, "ConfirmationURL"),
        ({"ValidationURL": "http://shop.test/Query"}, "ValidationURL"),
        ({"ShortCode": "600100"}, "ShortCode"),
    ],
)
def test_addresses_that_the_portal_forbids_are_refused(
    shop: Shop, changed: dict[str, object], field: str
) -> None:
    document = {
        "ShortCode": "174379",
        "ResponseType": "Completed",
        "ConfirmationURL": "http://shop.test/c/",
        "ValidationURL": "http://shop.test/v/",
    }
    refused = post(shop, "/mpesa/c2b/v2/registerurl", document | changed)
    assert refused.json()["errorMessage"] == f"Bad Request - Invalid {field}"
    assert shop.simulator.c2b.registration is None


def test_registering_may_fail_as_it_did_in_the_sandbox(
    shop: Shop, client: DarajaClient, receiver: Receiver
) -> None:
    shop.simulator.fail_next("c2b_register", "server-error")
    with pytest.raises(Retryable):
        register(client, receiver)


@pytest.mark.parametrize(
    "document",
    [
        None,
        {},
        {"phone": "07", "amount": 1},
        {"phone": PHONE},
        {"phone": PHONE, "amount": 0},
        {"phone": PHONE, "amount": 1.5},
        {"phone": PHONE, "amount": True},
        {"phone": PHONE, "amount": 1, "reference": 7},
        {"phone": PHONE, "amount": 1, "reference": "x" * 21},
    ],
)
def test_a_payment_that_makes_no_sense_is_refused(shop: Shop, document: Any) -> None:
    answer = post(shop, "/simulator/api/payments", document)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert shop.simulator.movements() == []
