"""What each kind of answer to a query says about a prompt: a verdict only when there is no doubt."""

from typing import Any

import pytest

from daraja import RESULT_MEANINGS, DarajaClient, QueryVerdict
from tests.daraja.client import scripted
from tests.daraja.client.conftest import ACCEPTANCE, CHECKOUT_ID, MakeClient, make_store
from tests.daraja.client.scripted import OAUTH, QUERY, Script, error_reply, html_reply, json_reply, reply
from tests.support.ports import free_port

EMPTY_ERROR = error_reply(500, "500.001.1001", "")
PROCESSING = "The transaction is being processed"
SPIKE_ARREST = {
    "fault": {"faultstring": "x", "detail": {"errorcode": "policies.ratelimit.SpikeArrestViolation"}}
}


def verdict_reply(result_code: object, **changes: Any) -> scripted.Deed:
    """Answer with a verdict."""
    members = {
        "ResponseCode": "0",
        "ResponseDescription": "The service request has been accepted successsfully",
        "MerchantRequestID": ACCEPTANCE["MerchantRequestID"],
        "CheckoutRequestID": CHECKOUT_ID,
        "ResultCode": result_code,
        "ResultDesc": "As M-Pesa puts it",
    }
    return json_reply(200, members | changes)


def test_a_query_sends_a_fresh_password_and_the_id(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, verdict_reply("0"))
    client.query(CHECKOUT_ID)
    [request] = script.seen(QUERY)
    assert request.json == {
        "BusinessShortCode": "174379",
        "Password": "MTc0Mzc5dGVzdHBhc3NrZXkyMDI2MTExNTA5MDcwNQ==",
        "Timestamp": "20261115090705",
        "CheckoutRequestID": CHECKOUT_ID,
    }


@pytest.mark.parametrize("meaning", RESULT_MEANINGS, ids=lambda meaning: str(meaning.code))
def test_a_known_result_code_is_a_verdict(client: DarajaClient, script: Script, meaning: Any) -> None:
    script.at(QUERY, verdict_reply(meaning.code))
    assert client.query(CHECKOUT_ID) == QueryVerdict(
        meaning.outcome, meaning.code, "As M-Pesa puts it", meaning.reason
    )


@pytest.mark.parametrize(("result_code", "kind"), [(0, "paid"), (1032, "failed"), (4999, "pending")])
def test_a_result_code_may_be_a_number(
    client: DarajaClient, script: Script, result_code: int, kind: str
) -> None:
    script.at(QUERY, verdict_reply(result_code))
    assert client.query(CHECKOUT_ID).kind == kind


@pytest.mark.parametrize("result_code", ["7777", "-1", "500", "R000002"])
def test_an_unknown_result_code_is_no_answer(client: DarajaClient, script: Script, result_code: str) -> None:
    script.at(QUERY, verdict_reply(result_code))
    verdict = client.query(CHECKOUT_ID)
    assert (verdict.kind, verdict.result_code, verdict.reason) == ("no_answer", result_code, "unknown")


@pytest.mark.parametrize(
    "answer",
    [
        verdict_reply("0", ResponseCode="1"),
        verdict_reply("0", ResponseCode=None),
        verdict_reply("0", CheckoutRequestID="ws_CO_another"),
        verdict_reply("0", CheckoutRequestID=None),
        verdict_reply("0", errorCode="500.003.1001"),
        verdict_reply(""),
        verdict_reply(None),
        verdict_reply({"0": 0}),
        verdict_reply([]),
        reply(
            500, b'{"ResponseCode": "0", "CheckoutRequestID": "%s", "ResultCode": "0"}' % CHECKOUT_ID.encode()
        ),
        EMPTY_ERROR,
        error_reply(200, "500.001.1001", ""),
        error_reply(500, "500.001.1001", "Merchant does not exist"),
        error_reply(500, "500.001.1001", "Wrong credentials"),
        error_reply(500, "500.003.1001", "Internal Server Error"),
        error_reply(400, "400.002.02", "Bad Request - Invalid Timestamp"),
        error_reply(404, "404.001.03", "Invalid Access Token"),
        reply(500, b""),
        reply(200, b""),
        reply(200, b"[]"),
        reply(200, b"{" * 50_000),
        html_reply(200),
        html_reply(403),
        html_reply(503),
        scripted.reset,
        scripted.hang_up,
        scripted.cut_short,
    ],
)
def test_what_is_not_clearly_a_verdict_is_no_answer(
    client: DarajaClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(QUERY, answer)
    verdict = client.query(CHECKOUT_ID)
    assert (verdict.kind, verdict.rate_limited) == ("no_answer", False)
    assert verdict.reason


@pytest.mark.parametrize("status", [200, 500])
def test_being_processed_is_pending(client: DarajaClient, script: Script, status: int) -> None:
    script.at(QUERY, error_reply(status, "500.001.1001", PROCESSING))
    assert client.query(CHECKOUT_ID) == QueryVerdict("pending", reason="processing")


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (500, "500.001.1001", "The transaction does not Exist"),
        (200, "500.001.1001", "The transaction does not Exist"),
        (400, "400.002.02", "Bad Request - Invalid CheckoutRequestID"),
    ],
)
def test_an_id_that_daraja_does_not_know_is_no_failure(
    client: DarajaClient, script: Script, status: int, code: str, message: str
) -> None:
    script.at(QUERY, error_reply(status, code, message))
    assert client.query(CHECKOUT_ID).kind == "unknown_id"


@pytest.mark.parametrize(
    ("answer", "wait_seconds"),
    [
        (json_reply(429, SPIKE_ARREST), None),
        (json_reply(429, SPIKE_ARREST, Retry_After="40"), 40),
        (json_reply(500, SPIKE_ARREST), None),
        (error_reply(500, "500.003.02", "Error Occurred: Spike Arrest Violation"), None),
        (error_reply(500, "500.003.02", "System is busy. Please try again in few minutes."), None),
        (error_reply(500, "500.003.03", "Quota Violation"), None),
    ],
)
def test_a_rate_limit_says_only_to_query_less_often(
    client: DarajaClient, script: Script, answer: scripted.Deed, wait_seconds: int | None
) -> None:
    script.at(QUERY, answer)
    verdict = client.query(CHECKOUT_ID)
    assert (verdict.kind, verdict.rate_limited) == ("no_answer", True)
    assert verdict.retry_after_seconds == wait_seconds


@pytest.mark.parametrize(
    ("answers", "kinds"),
    [
        (["4999", "4999", "0", "0"], ["pending", "pending", "paid", "paid"]),
        (["", "", "1032"], ["no_answer", "no_answer", "failed"]),
        (["4999", "1037", "", "1037"], ["pending", "failed", "no_answer", "failed"]),
    ],
)
def test_the_recorded_sequences_read_as_they_ended(
    client: DarajaClient, script: Script, answers: list[str], kinds: list[str]
) -> None:
    script.at(QUERY, *(verdict_reply(answer) if answer else EMPTY_ERROR for answer in answers))
    assert [client.query(CHECKOUT_ID).kind for _ in answers] == kinds


def test_a_refused_token_is_replaced_and_the_query_sent_once_more(
    client: DarajaClient, script: Script
) -> None:
    script.at(QUERY, error_reply(404, "404.001.03", "Invalid Access Token"), verdict_reply("0"))
    assert client.query(CHECKOUT_ID).kind == "paid"
    assert len(script.seen(OAUTH)) == 2


@pytest.mark.parametrize("timeout", ["read_timeout_seconds", "query_timeout_seconds"])
@pytest.mark.parametrize("answer", [scripted.stall, scripted.drip_head, scripted.drip_body])
def test_a_slow_answer_is_given_up_at_the_first_deadline(
    make_client: MakeClient, script: Script, answer: scripted.Deed, timeout: str
) -> None:
    script.at(QUERY, answer)
    verdict = make_client(
        **{"read_timeout_seconds": 60.0, "query_timeout_seconds": 60.0, timeout: 0.3}
    ).query(CHECKOUT_ID)
    assert verdict == QueryVerdict("no_answer", reason="DARAJA_ANSWER_LOST")


def test_an_unreachable_daraja_is_no_answer(make_client: MakeClient) -> None:
    client = make_client(make_store("token-1"), base_url=f"http://127.0.0.1:{free_port()}")
    assert client.query(CHECKOUT_ID) == QueryVerdict("no_answer", reason="DARAJA_UNREACHABLE")


def test_a_query_that_is_limited_at_the_token_says_so(client: DarajaClient, script: Script) -> None:
    script.at(OAUTH, reply(429, b"", Retry_After="9"))
    verdict = client.query(CHECKOUT_ID)
    assert (verdict.kind, verdict.rate_limited, verdict.retry_after_seconds) == ("no_answer", True, 9)
