"""The push endpoint: the answer to a valid push, and each refusal."""

import re
from typing import Any

import pytest

from tests.daraja.simulator.conftest import PHONE, Shop


def test_an_accepted_push_is_answered_in_the_vendors_form(shop: Shop) -> None:
    answer = shop.push()
    assert re.fullmatch(
        r"[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}[0-9]{6}", answer["MerchantRequestID"]
    )
    assert answer["CheckoutRequestID"] == "ws_CO_151120261200000712345678"
    assert answer["ResponseCode"] == "0"
    assert answer["ResponseDescription"] == "Success. Request accepted for processing"
    assert answer["CustomerMessage"] == "Success. Request accepted for processing"
    assert "ORD-7" not in str(answer)


def test_numbers_may_come_as_numbers_or_as_text(shop: Shop) -> None:
    numbers = shop.document() | {
        "BusinessShortCode": 174379,
        "Amount": 350,
        "PartyA": int(PHONE),
        "PartyB": 174379,
        "PhoneNumber": int(PHONE),
    }
    assert shop.send_push(numbers).status_code == 200
    other = "254112345678"
    assert shop.send_push(shop.document(other, "350")).status_code == 200


def test_two_pushes_to_a_phone_in_one_tenth_of_a_second_have_two_ids(shop: Shop) -> None:
    first = shop.push()["CheckoutRequestID"]
    shop.simulator.cancel(first)
    second = shop.push(amount=351)["CheckoutRequestID"]
    assert (first, second) == ("ws_CO_151120261200000712345678", "ws_CO_151120261200001712345678")


WRONG_FIELDS = [
    ("BusinessShortCode", "17437"[:4]),
    ("BusinessShortCode", None),
    ("BusinessShortCode", True),
    ("Password", ""),
    ("Timestamp", "2026111512000"),
    ("Timestamp", "20261315120000"),
    ("Timestamp", "2026-11-15 12:00"),
    ("TransactionType", "CustomerPayBill"),
    ("Amount", 0),
    ("Amount", -1),
    ("Amount", 250_001),
    ("Amount", 10.5),
    ("Amount", 10.0),
    ("Amount", "10.50"),
    ("Amount", True),
    ("Amount", "ten"),
    ("PartyA", "0712345678"),
    ("PartyA", "254812345678"),
    ("PartyB", "x"),
    ("PhoneNumber", "25471234567"),
    ("PhoneNumber", "254700111222"),
    ("CallBackURL", "not a url"),
    ("CallBackURL", "ftp://shop.example/x"),
    ("CallBackURL", "https://Shop.Example/x"),
    ("CallBackURL", "https://shop.example:99999/x"),
    ("CallBackURL", "https://shop.example/\u00e9"),
    ("CallBackURL", ["https://shop.example/x"]),
    ("AccountReference", "x" * 13),
    ("AccountReference", ""),
    ("TransactionDesc", "x" * 14),
]


@pytest.mark.parametrize(("name", "value"), WRONG_FIELDS)
def test_a_wrong_field_is_named_and_no_prompt_is_shown(shop: Shop, name: str, value: object) -> None:
    answer = shop.send_push(shop.document() | {name: value})
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "400.002.02"
    assert answer.json()["errorMessage"] == f"Bad Request - Invalid {name}"
    assert set(answer.json()) == {"requestId", "errorCode", "errorMessage"}
    assert shop.simulator.prompts() == []


@pytest.mark.parametrize("name", ["Password", "Amount", "PartyA", "CallBackURL", "TransactionDesc"])
def test_a_missing_field_is_named(shop: Shop, name: str) -> None:
    document = shop.document()
    del document[name]
    assert shop.send_push(document).json()["errorMessage"] == f"Bad Request - Invalid {name}"


def test_the_lax_gateway_takes_long_texts_another_payer_and_no_description(open_shop: Any) -> None:
    shop = open_shop(strict=False)
    document = shop.document() | {"AccountReference": "x" * 40, "PartyA": "254700111222"}
    del document["TransactionDesc"]
    assert shop.send_push(document).status_code == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 50_000, b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(shop: Shop, body: bytes) -> None:
    headers = {**shop.headers(), "Content-Type": "application/json"}
    answer = shop.send_push(None, headers=headers, data=body)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400.002.05")
    assert answer.json()["errorMessage"] == "Invalid Request Payload"


def test_a_missing_content_type_is_blamed_on_the_shortcode(shop: Shop) -> None:
    answer = shop.send_push(None, headers=shop.headers(), data=b"{}")
    assert answer.status_code == 400
    assert answer.json()["errorMessage"] == "Bad Request - Invalid BusinessShortCode"


@pytest.mark.parametrize("authorization", ["", "Bearer", "Basic abc", "token"])
def test_a_header_that_bears_no_token_is_refused(shop: Shop, authorization: str) -> None:
    answer = shop.send_push(shop.document(), headers={"Authorization": authorization})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "404.001.04")
    assert answer.json()["errorMessage"] == "Invalid Authentication Header"


def test_an_unknown_token_is_refused_with_404(shop: Shop) -> None:
    answer = shop.send_push(shop.document(), headers={"Authorization": "Bearer nobody"})
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "404.001.03")


def test_a_wrong_path_is_not_found_and_a_wrong_method_not_allowed(shop: Shop) -> None:
    lost = shop.http.post(f"{shop.url}/mpesa/stkpush/v2/processrequest", json={}, timeout=10)
    assert (lost.status_code, lost.json()["errorCode"]) == (404, "404.001.01")
    wrong = shop.http.get(f"{shop.url}/mpesa/stkpush/v1/processrequest", timeout=10)
    assert (wrong.status_code, wrong.json()["errorCode"]) == (405, "405.001")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("BusinessShortCode", "600000", "Merchant does not exist"),
        ("Password", "MTc0Mzc5", "Wrong credentials"),
        ("Password", "\ud800", "Wrong credentials"),
        ("Timestamp", "20261115120001", "Wrong credentials"),
    ],
)
def test_a_merchant_who_cannot_prove_himself_is_refused(
    shop: Shop, name: str, value: str, message: str
) -> None:
    answer = shop.send_push(shop.document() | {name: value})
    assert answer.status_code == 500
    assert answer.json()["errorCode"] == "500.001.1001"
    assert answer.json()["errorMessage"] == message


def test_a_phone_shows_one_prompt_at_a_time(shop: Shop) -> None:
    first = shop.push()["CheckoutRequestID"]
    locked = shop.send_push(shop.document(amount=351))
    assert (locked.status_code, locked.json()["errorCode"]) == (500, "500.001.1001")
    assert locked.json()["errorMessage"].startswith(
        "Unable to lock subscriber, a transaction is already in process"
    )
    assert shop.simulator.submissions() == 1
    shop.simulator.cancel(first)
    shop.push(amount=351)
    assert shop.simulator.submissions() == shop.simulator.submissions(PHONE) == 2


def test_the_password_is_made_of_shortcode_passkey_and_timestamp(open_shop: Any) -> None:
    shop = open_shop(passkey="testpasskey")
    document = shop.document() | {
        "Timestamp": "20240102030405",
        "Password": "MTc0Mzc5dGVzdHBhc3NrZXkyMDI0MDEwMjAzMDQwNQ==",
    }
    assert shop.send_push(document).status_code == 200
