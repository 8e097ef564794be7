"""What a push sends, and what each kind of answer to it becomes."""

import traceback
from dataclasses import asdict
from typing import Any

import pytest

from daraja import DarajaClient, Refused, Retryable, SubmissionError, Uncertain
from tests.daraja.client import scripted
from tests.daraja.client.conftest import ACCEPTANCE, CHECKOUT_ID, MakeClient, make_store, push
from tests.daraja.client.scripted import PUSH, Script, error_reply, html_reply, json_reply, reply
from tests.support.ports import free_port

SPIKE_ARREST = {
    "fault": {
        "faultstring": "Spike arrest violation. Allowed rate : MessageRate{messagesPerPeriod=5}",
        "detail": {"errorcode": "policies.ratelimit.SpikeArrestViolation"},
    }
}
LOCKED = "Unable to lock subscriber, a transaction is already in process for the current subscriber"


def test_an_accepted_push_gives_its_identifiers(client: DarajaClient) -> None:
    accepted = push(client)
    assert asdict(accepted) == {
        "merchant_request_id": ACCEPTANCE["MerchantRequestID"],
        "checkout_request_id": CHECKOUT_ID,
        "customer_message": "Success. Request accepted for processing",
    }
    assert CHECKOUT_ID not in repr(accepted)


def test_a_push_sends_every_field_in_the_vendors_spelling(client: DarajaClient, script: Script) -> None:
    push(client)
    [request] = script.seen(PUSH)
    assert request.json == {
        "BusinessShortCode": "174379",
        "Password": "MTc0Mzc5dGVzdHBhc3NrZXkyMDI2MTExNTA5MDcwNQ==",
        "Timestamp": "20261115090705",
        "TransactionType": "CustomerPayBillOnline",
        "Amount": 650,
        "PartyA": "254708374149",
        "PartyB": "174379",
        "PhoneNumber": "254708374149",
        "CallBackURL": "https://shop.example/pay/callbacks/abc/",
        "AccountReference": "ORD-1",
        "TransactionDesc": "Order",
    }
    assert request.headers["Authorization"] == "Bearer token-1"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["User-Agent"] == "daftari/0.1"


def test_a_till_is_paid_through_its_store_number(make_client: MakeClient, script: Script) -> None:
    push(make_client(transaction_type="CustomerBuyGoodsOnline", party_b="5199999"))
    [request] = script.seen(PUSH)
    assert (request.json["BusinessShortCode"], request.json["PartyB"]) == ("174379", "5199999")


def test_pushes_share_one_connection(client: DarajaClient, script: Script) -> None:
    for _ in range(3):
        push(client)
    assert len({request.port for _, request in script.requests}) == 1


def test_a_merchant_request_id_may_be_missing(client: DarajaClient, script: Script) -> None:
    script.at(PUSH, json_reply(200, ACCEPTANCE | {"MerchantRequestID": None}))
    assert push(client).merchant_request_id == ""


@pytest.mark.parametrize(
    "wrong",
    [
        {"phone": "0708374149"},
        {"phone": "254808374149"},
        {"phone": "254708374149\n"},
        {"amount_shillings": 0},
        {"amount_shillings": 250_001},
        {"amount_shillings": True},
        {"amount_shillings": 650.0},
        {"callback_url": "ftp://shop.example/"},
        {"callback_url": "https://Shop.example/"},
        {"callback_url": "https://shop.example/a b"},
        {"callback_url": "https://[shop/"},
        {"account_reference": ""},
        {"account_reference": "ORD-123456789"},
        {"account_reference": "ORD 1"},
        {"description": ""},
        {"description": "fourteen chars"},
    ],
)
def test_what_mpesa_would_refuse_is_refused_here(
    client: DarajaClient, script: Script, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refusal:
        push(client, **wrong)
    assert refusal.value.code == "DARAJA_INVALID_REQUEST"
    assert script.requests == []


def test_the_highest_amount_is_a_setting(make_client: MakeClient) -> None:
    assert push(make_client(), amount_shillings=250_000).checkout_request_id == CHECKOUT_ID
    with pytest.raises(Refused):
        push(make_client(max_amount_shillings=70_000), amount_shillings=70_001)


def fault_reply(status: int, code: object, words: str = "Invalid access token") -> scripted.Deed:
    """Answer as the gateway's own policies do."""
    return json_reply(status, {"fault": {"faultstring": words, "detail": {"errorcode": code}}})


NO_PRODUCT = "Invalid API call as no apiproduct match found"
TOKEN_REFUSALS = [
    reply(401, b""),
    reply(401, b"Unauthorized", "text/plain"),
    html_reply(401),
    reply(401, b'{"fault": "expired"}'),
    json_reply(401, {"message": "no"}),
    error_reply(401, "401.002.01", "Error Occurred - Invalid Access Token"),
    error_reply(401, "401.003.01", "Error Occurred"),
    error_reply(401, "401", "Error Occurred"),
    error_reply(401, "500.001.1001", "Something new"),
    error_reply(401, "E", "Something new"),
    fault_reply(401, "oauth.v2.InvalidAccessToken"),
    fault_reply(401, "keymanagement.service.invalid_access_token"),
    fault_reply(401, "keymanagement.service.InvalidAPICallAsNoApiProductMatchFound", NO_PRODUCT),
    fault_reply(401, "steps.oauth.v2.FailedToResolveAccessToken"),
    fault_reply(401, "x" * 41),
    fault_reply(401, "x" * 400),
    fault_reply(401, None),
    fault_reply(401, {"a": []}),
    fault_reply(500, "oauth.v2.InvalidAccessToken"),
    fault_reply(403, "oauth.v2.InsufficientScope"),
    error_reply(404, "404.001.03", "Invalid Access Token"),
    error_reply(400, "400.003.01", "Invalid Access Token"),
]


@pytest.mark.parametrize("answer", TOKEN_REFUSALS)
def test_a_token_that_the_gateway_refuses_in_any_words_is_replaced_once_and_the_push_repeated_once(
    make_client: MakeClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(PUSH, answer, json_reply(200, ACCEPTANCE))
    assert push(make_client(make_store("token-1"))).checkout_request_id == CHECKOUT_ID
    assert (len(script.seen(PUSH)), len(script.seen(scripted.OAUTH))) == (2, 1)


@pytest.mark.parametrize("answer", TOKEN_REFUSALS)
def test_a_refusal_that_a_new_token_does_not_cure_is_a_fault_of_our_set_up_and_nothing_was_sent(
    make_client: MakeClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(PUSH, answer, answer, answer)
    with pytest.raises(Refused) as refusal:
        push(make_client(make_store("token-1")))
    assert refusal.value.code == "DARAJA_NOT_AUTHORISED"
    assert (len(script.seen(PUSH)), len(script.seen(scripted.OAUTH))) == (2, 1)


REFUSALS = [
    (fault_reply(400, "steps.json2xml.SourceUnavailable"), "DARAJA_INVALID_REQUEST"),
    (fault_reply(413, "x" * 200), "DARAJA_INVALID_REQUEST"),
    (error_reply(404, "E1", "Something new"), "DARAJA_INVALID_REQUEST"),
    (error_reply(403, "403.001", "Forbidden"), "DARAJA_BLOCKED"),
    (error_reply(400, "E1", NO_PRODUCT), "DARAJA_NOT_AUTHORISED"),
    (error_reply(400, "400.002.02", "Bad Request - Invalid PhoneNumber"), "DARAJA_INVALID_REQUEST"),
    (error_reply(200, "400.002.02", "Bad Request - Invalid PhoneNumber"), "DARAJA_INVALID_REQUEST"),
    (error_reply(400, "400.002.05", "Invalid Request Payload"), "DARAJA_INVALID_REQUEST"),
    (error_reply(400, "400.002.77", "Something new"), "DARAJA_INVALID_REQUEST"),
    (error_reply(404, "404.001.01", "Resource not found"), "DARAJA_CONFIGURATION"),
    (error_reply(404, "404.001.04", "Invalid Authentication Header"), "DARAJA_CONFIGURATION"),
    (error_reply(405, "405.001", "Method Not Allowed"), "DARAJA_CONFIGURATION"),
    (error_reply(500, "500.001.1001", "Merchant does not exist"), "DARAJA_CREDENTIALS"),
    (error_reply(500, "500.001.1001", "Wrong credentials"), "DARAJA_CREDENTIALS"),
    (error_reply(500, "500.001.1001", "[MerchantValidate] - Wrong credentials"), "DARAJA_CREDENTIALS"),
    (error_reply(500, "500.001.1001", LOCKED), "DARAJA_SUBSCRIBER_BUSY"),
    (error_reply(404, "404.001.03", "Invalid Access Token"), "DARAJA_NOT_AUTHORISED"),
    (error_reply(400, "400.003.01", "Invalid Access Token"), "DARAJA_NOT_AUTHORISED"),
    (error_reply(401, "401.002.01", "Error Occurred - Invalid Access Token"), "DARAJA_NOT_AUTHORISED"),
    (reply(401, b""), "DARAJA_NOT_AUTHORISED"),
    (html_reply(403), "DARAJA_BLOCKED"),
    (html_reply(404), "DARAJA_INVALID_REQUEST"),
    (json_reply(200, ACCEPTANCE | {"ResponseCode": "1"}), "DARAJA_DECLINED"),
]


@pytest.mark.parametrize(("answer", "code"), REFUSALS)
def test_a_refusing_answer_is_a_refusal(
    client: DarajaClient, script: Script, answer: scripted.Deed, code: str
) -> None:
    script.at(PUSH, answer)
    with pytest.raises(Refused) as refusal:
        push(client)
    assert refusal.value.code == code


def test_a_locked_subscriber_is_to_wait_a_minute(client: DarajaClient, script: Script) -> None:
    script.at(PUSH, error_reply(500, "500.001.1001", LOCKED))
    with pytest.raises(Refused) as refusal:
        push(client)
    assert (refusal.value.vendor_code, refusal.value.retry_after_seconds) == ("500.001.1001", 60)


LATER = [
    (error_reply(500, "500.003.02", "Error Occurred: Spike Arrest Violation"), "DARAJA_RATE_LIMITED", 2),
    (
        error_reply(500, "500.003.02", "System is busy. Please try again in few minutes."),
        "DARAJA_BUSY",
        120,
    ),
    (error_reply(500, "500.003.03", "Error Occurred: Quota Violation"), "DARAJA_QUOTA", 300),
    (json_reply(429, SPIKE_ARREST), "DARAJA_RATE_LIMITED", 2),
    (json_reply(500, SPIKE_ARREST), "DARAJA_RATE_LIMITED", 2),
    (json_reply(429, SPIKE_ARREST, Retry_After="17"), "DARAJA_RATE_LIMITED", 17),
    (reply(429, b"", Retry_After="Sun, 15 Nov 2026 06:07:35 GMT"), "DARAJA_RATE_LIMITED", 30),
    (reply(429, b"", Retry_After="99999999999999"), "DARAJA_RATE_LIMITED", 3600),
    (reply(429, b"", Retry_After="soon"), "DARAJA_RATE_LIMITED", 2),
]


@pytest.mark.parametrize(("answer", "code", "wait_seconds"), LATER)
def test_a_call_to_a_busy_gateway_may_be_retried_later(
    client: DarajaClient, script: Script, answer: scripted.Deed, code: str, wait_seconds: int
) -> None:
    script.at(PUSH, answer)
    with pytest.raises(Retryable) as refusal:
        push(client)
    assert (refusal.value.code, refusal.value.retry_after_seconds) == (code, wait_seconds)
    assert len(script.seen(PUSH)) == 1


UNCLEAR = [
    fault_reply(504, "messaging.adaptors.http.flow.GatewayTimeout", "Gateway Timeout"),
    fault_reply(503, "messaging.adaptors.http.flow.ServiceUnavailable", "The Service is unavailable"),
    fault_reply(500, "x" * 200, "Internal error"),
    error_reply(500, "", ""),
    error_reply(500, "404.001", "Something new"),
    error_reply(500, "500.001.1001", ""),
    error_reply(200, "500.001.1001", ""),
    error_reply(500, "500.001.1001", "Something else"),
    error_reply(400, "500.001.1001", "Something else"),
    error_reply(500, "500.003.02", "Something else"),
    error_reply(500, "500.003.1001", "Internal Server Error"),
    error_reply(500, "500.003.1001", "Service is currently unreachable. Please try again later."),
    error_reply(200, "999.999", "Something new"),
    reply(500, b"Service is temporarily unavailable. Please try again later", "text/plain"),
    reply(503, b""),
    html_reply(503),
    reply(502, b""),
    html_reply(502),
    reply(504, b"upstream timed out", "text/plain"),
    reply(408, b""),
    reply(301, b"", Location="/elsewhere"),
    reply(200, b""),
    reply(200, b"null"),
    reply(200, b"[" * 50_000),
    html_reply(200),
    reply(200, b'{"ResponseCode": "0", "Checkout'),
    reply(200, b'{"ResponseCode": "0", "CheckoutRequestID": "ws_CO_1"}' + b" " * 70_000),
    json_reply(200, {"ResponseCode": "0", "MerchantRequestID": "1-2-1"}),
    json_reply(200, {"ResponseCode": "0", "CheckoutRequestID": ""}),
    json_reply(200, {"ResponseCode": "0", "CheckoutRequestID": 7}),
    json_reply(200, {"ResponseCode": "0", "CheckoutRequestID": "x" * 129}),
    json_reply(200, {"CheckoutRequestID": CHECKOUT_ID}),
    scripted.reset,
    scripted.hang_up,
    scripted.cut_short,
]


@pytest.mark.parametrize("answer", UNCLEAR)
def test_an_answer_that_may_hide_a_prompt_is_uncertain_and_not_sent_again(
    client: DarajaClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(PUSH, answer)
    with pytest.raises(Uncertain):
        push(client)
    assert len(script.seen(PUSH)) == 1


@pytest.mark.parametrize("answer", [scripted.stall, scripted.drip_head, scripted.drip_body])
def test_a_slow_answer_is_given_up_at_the_deadline(
    make_client: MakeClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(PUSH, answer)
    with pytest.raises(Uncertain) as uncertain:
        push(make_client(read_timeout_seconds=0.3))
    assert uncertain.value.code == "DARAJA_ANSWER_LOST"
    assert len(script.seen(PUSH)) == 1


def test_a_reset_on_a_kept_connection_is_uncertain(client: DarajaClient, script: Script) -> None:
    script.at(PUSH, json_reply(200, ACCEPTANCE), scripted.reset)
    push(client)
    with pytest.raises(Uncertain):
        push(client)
    first, second = script.seen(PUSH)
    assert first.port == second.port


def test_a_client_goes_on_after_a_broken_connection(client: DarajaClient, script: Script) -> None:
    script.at(PUSH, scripted.hang_up, json_reply(200, ACCEPTANCE))
    with pytest.raises(Uncertain):
        push(client)
    assert push(client).checkout_request_id == CHECKOUT_ID


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_closed_port_means_that_nothing_was_sent(make_client: MakeClient, scheme: str) -> None:
    client = make_client(make_store("token-1"), base_url=f"{scheme}://127.0.0.1:{free_port()}")
    with pytest.raises(Retryable) as refusal:
        push(client)
    assert refusal.value.code == "DARAJA_UNREACHABLE"


@pytest.mark.parametrize("host", ["daraja.invalid", "daraja..example", "a" * 64 + ".example", "*"])
def test_an_unknown_host_means_that_nothing_was_sent(make_client: MakeClient, host: str) -> None:
    client = make_client(make_store("token-1"), base_url=f"http://{host}")
    with pytest.raises(Retryable) as refusal:
        push(client)
    assert refusal.value.code == "DARAJA_UNREACHABLE"


def test_a_failed_tls_handshake_means_that_nothing_was_sent(make_client: MakeClient, script: Script) -> None:
    client = make_client(make_store("token-1"), base_url=script.base_url.replace("http:", "https:"))
    with pytest.raises(Retryable) as refusal:
        push(client)
    assert refusal.value.code == "DARAJA_UNREACHABLE"
    assert script.seen(PUSH) == []


@pytest.mark.parametrize(
    "answer", [scripted.reset, error_reply(500, "500.001.1001", "254708374149"), html_reply(403)]
)
def test_no_error_reveals_a_number_an_address_or_a_secret(
    client: DarajaClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(PUSH, answer)
    with pytest.raises(SubmissionError) as refusal:
        push(client)
    told = "".join(traceback.format_exception_only(refusal.value)) + repr(refusal.value)
    for hidden in ("254708374149", "127.0.0.1", "token-1", "testpasskey", "Incapsula", "/mpesa/"):
        assert hidden not in told
