"""The query endpoint: verdicts, the shapes of "not yet", and unknown ids."""

import pytest

from daraja.simulator import UnknownFault
from tests.daraja.simulator.conftest import Shop

UNKNOWN_ID = "ws_CO_151120260000000712345678"


def test_a_verdict_has_text_for_a_code_and_neither_amount_nor_receipt(shop: Shop) -> None:
    accepted = shop.push()
    shop.simulator.cancel(accepted["CheckoutRequestID"])
    answer = shop.query(accepted["CheckoutRequestID"])
    assert answer.status_code == 200
    assert answer.json() == {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successfully",
        "MerchantRequestID": accepted["MerchantRequestID"],
        "CheckoutRequestID": accepted["CheckoutRequestID"],
        "ResultCode": "1032",
        "ResultDesc": "Request Cancelled by user.",
    }


def test_the_query_words_no_response_differently_from_the_callback(shop: Shop) -> None:
    prompt = shop.simulator.ignore(shop.push()["CheckoutRequestID"])
    assert shop.query(prompt.checkout_request_id).json()["ResultDesc"] == "DS timeout user cannot be reached."


def test_a_paid_push_is_paid_ever_after(shop: Shop) -> None:
    prompt = shop.simulator.approve(shop.push()["CheckoutRequestID"])
    for _ in range(2):
        assert shop.query(prompt.checkout_request_id).json()["ResultCode"] == "0"


def test_an_open_prompt_is_still_under_processing(shop: Shop) -> None:
    answer = shop.query(shop.push()["CheckoutRequestID"]).json()
    assert (answer["ResultCode"], answer["ResultDesc"]) == (
        "4999",
        "The transaction is still under processing",
    )


@pytest.mark.parametrize(
    ("shape", "status", "message"),
    [
        ("being-processed", 500, "The transaction is being processed"),
        ("being-processed-200", 200, "The transaction is being processed"),
        ("empty-message", 500, ""),
        ("empty-message-200", 200, ""),
    ],
)
def test_not_yet_can_come_as_an_error(shop: Shop, shape: str, status: int, message: str) -> None:
    shop.simulator.faults.set_pending_shape(shape)
    checkout_request_id = shop.push()["CheckoutRequestID"]
    answer = shop.query(checkout_request_id)
    assert answer.status_code == status
    assert answer.json() == {
        "requestId": checkout_request_id,
        "errorCode": "500.001.1001",
        "errorMessage": message,
    }


def test_there_are_no_other_shapes_of_not_yet(shop: Shop) -> None:
    with pytest.raises(UnknownFault, match="4999, being-processed"):
        shop.simulator.faults.set_pending_shape("later")


def test_an_unknown_id_does_not_exist(shop: Shop) -> None:
    answer = shop.query(UNKNOWN_ID)
    assert answer.status_code == 500
    assert answer.json() == {
        "requestId": UNKNOWN_ID,
        "errorCode": "500.001.1001",
        "errorMessage": "The transaction does not Exist",
    }


@pytest.mark.parametrize("checkout_request_id", ["", "ws_CO_", "ws_CO_x", "7", None])
def test_a_malformed_id_is_refused(shop: Shop, checkout_request_id: object) -> None:
    answer = shop.query("", CheckoutRequestID=checkout_request_id)
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "400.002.02")
    assert answer.json()["errorMessage"] == "Bad Request - Invalid CheckoutRequestID"


def test_the_query_is_as_strict_about_credentials_as_the_push(shop: Shop) -> None:
    assert shop.query(UNKNOWN_ID, Password="MTIz").json()["errorMessage"] == "Wrong credentials"
    assert (
        shop.query(UNKNOWN_ID, BusinessShortCode="12345").json()["errorMessage"] == "Merchant does not exist"
    )
    assert shop.query(UNKNOWN_ID, Timestamp="1").json()["errorMessage"] == "Bad Request - Invalid Timestamp"
    stale = shop.http.post(f"{shop.url}/mpesa/stkpushquery/v1/query", json={}, timeout=10)
    assert (stale.status_code, stale.json()["errorCode"]) == (404, "404.001.04")
