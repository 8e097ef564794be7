"""Reversals and transaction status: what is sent, and what each kind of answer becomes."""

from dataclasses import asdict
from typing import Any

import pytest

from daraja import Acknowledged, DarajaClient, Refused, Retryable, SubmissionError, Uncertain
from tests.daraja.client import scripted
from tests.daraja.client.conftest import MakeClient, token_reply
from tests.daraja.client.scripted import OAUTH, Script, error_reply, html_reply, json_reply, reply

REVERSAL = "/mpesa/reversal/v1/request"
STATUS = "/mpesa/transactionstatus/v1/query"
CREDENTIAL = "A" * 343 + "="
ACKNOWLEDGEMENT = {
    "OriginatorConversationID": "8423-4a3b-87d8-1d918a78741e243712",
    "ConversationID": "AG_20261115_0100101002hi3i67m6ml",
    "ResponseCode": "0",
    "ResponseDescription": "Accept the service request successfully.",
}
BOTH_IDS = {
    "conversation_id": "AG_20261115_0100101002hi3i67m6ml",
    "originator_conversation_id": "8423-4a3b-87d8-1d918a78741e243712",
}


@pytest.fixture
def initiator(make_client: MakeClient, script: Script) -> DarajaClient:
    """Return a client with an initiator, of a server that acknowledges everything."""
    script.at(REVERSAL, json_reply(200, ACKNOWLEDGEMENT))
    script.at(STATUS, json_reply(200, ACKNOWLEDGEMENT))
    return make_client(initiator_name="testapi", security_credential=CREDENTIAL)


def reverse(client: DarajaClient, **changes: Any) -> Acknowledged:
    """Give 650 shillings back."""
    request: dict[str, Any] = {
        "receipt": "UKF7Q2X9LM",
        "amount_shillings": 650,
        "remarks": "Out of stock",
        "result_url": "https://shop.example/results/abc/",
        "timeout_url": "https://shop.example/timeouts/abc/",
    }
    return client.reverse(**(request | changes))


def ask(client: DarajaClient, **changes: Any) -> Acknowledged:
    """Ask after a payment."""
    request: dict[str, Any] = {
        "receipt": "UKF7Q2X9LM",
        "remarks": "What became of it",
        "result_url": "https://shop.example/results/abc/",
        "timeout_url": "https://shop.example/timeouts/abc/",
    }
    return client.transaction_status(**(request | changes))


def test_a_reversal_sends_every_field_in_the_vendors_spelling(
    initiator: DarajaClient, script: Script
) -> None:
    assert asdict(reverse(initiator)) == BOTH_IDS
    [request] = script.seen(REVERSAL)
    assert request.json == {
        "Initiator": "testapi",
        "SecurityCredential": CREDENTIAL,
        "CommandID": "TransactionReversal",
        "TransactionID": "UKF7Q2X9LM",
        "Amount": 650,
        "ReceiverParty": "174379",
        "RecieverIdentifierType": "11",
        "ResultURL": "https://shop.example/results/abc/",
        "QueueTimeOutURL": "https://shop.example/timeouts/abc/",
        "Remarks": "Out of stock",
    }
    assert request.headers["Authorization"] == "Bearer token-1"


def test_a_status_request_sends_every_field_in_the_vendors_spelling(
    initiator: DarajaClient, script: Script
) -> None:
    assert asdict(ask(initiator)) == BOTH_IDS
    [request] = script.seen(STATUS)
    assert request.json == {
        "Initiator": "testapi",
        "SecurityCredential": CREDENTIAL,
        "CommandID": "TransactionStatusQuery",
        "TransactionID": "UKF7Q2X9LM",
        "PartyA": "174379",
        "IdentifierType": "4",
        "ResultURL": "https://shop.example/results/abc/",
        "QueueTimeOutURL": "https://shop.example/timeouts/abc/",
        "Remarks": "What became of it",
        "Occasion": "What became of it",
    }


def test_a_request_is_looked_up_by_its_conversation(initiator: DarajaClient, script: Script) -> None:
    ask(initiator, receipt=None, original_conversation_id="AG_20261115_1")
    [request] = script.seen(STATUS)
    assert request.json["OriginalConversationID"] == "AG_20261115_1"
    assert "TransactionID" not in request.json


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({"ConversationID": None}, ("", "8423-4a3b-87d8-1d918a78741e243712")),
        ({"OriginatorConversationID": None}, ("AG_20261115_0100101002hi3i67m6ml", "")),
        (
            {"OriginatorConversationID": None, "OriginatorCoversationID": "71-2"},
            ("AG_20261115_0100101002hi3i67m6ml", "71-2"),
        ),
        ({"ResponseCode": 0}, tuple(BOTH_IDS.values())),
        ({"ResponseCode": "00000000"}, tuple(BOTH_IDS.values())),
    ],
)
def test_an_acknowledgement_may_come_in_other_forms(
    initiator: DarajaClient, script: Script, changes: dict[str, Any], ids: tuple[str, str]
) -> None:
    script.at(REVERSAL, json_reply(200, ACKNOWLEDGEMENT | changes))
    acknowledged = reverse(initiator)
    assert (acknowledged.conversation_id, acknowledged.originator_conversation_id) == ids


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (
            error_reply(400, "400.002.02", "Bad Request - Invalid TransactionID"),
            Refused,
            "DARAJA_INVALID_REQUEST",
        ),
        (error_reply(404, "404.001.03", "Invalid Access Token"), Refused, "DARAJA_NOT_AUTHORISED"),
        (error_reply(500, "500.003.02", "System is busy."), Retryable, "DARAJA_BUSY"),
        (error_reply(500, "500.003.02", "Spike Arrest Violation"), Retryable, "DARAJA_RATE_LIMITED"),
        (json_reply(200, ACKNOWLEDGEMENT | {"ResponseCode": "1"}), Refused, "DARAJA_DECLINED"),
        (json_reply(200, {"ResponseCode": "0"}), Uncertain, "DARAJA_UNCERTAIN"),
        (json_reply(200, {"ResponseCode": "00000000"}), Uncertain, "DARAJA_UNCERTAIN"),
        (error_reply(500, "500.003.1001", "Internal Server Error"), Uncertain, "DARAJA_UNCERTAIN"),
        (error_reply(500, "500.001.1001", ""), Uncertain, "DARAJA_UNCERTAIN"),
        (error_reply(200, "500.001.1001", ""), Uncertain, "DARAJA_UNCERTAIN"),
        (html_reply(503), Uncertain, "DARAJA_UNCERTAIN"),
        (html_reply(403), Refused, "DARAJA_BLOCKED"),
        (reply(200, b"not json"), Uncertain, "DARAJA_UNCERTAIN"),
        (scripted.reset, Uncertain, "DARAJA_ANSWER_LOST"),
        (scripted.hang_up, Uncertain, "DARAJA_ANSWER_LOST"),
        (scripted.cut_short, Uncertain, "DARAJA_ANSWER_LOST"),
    ],
)
def test_the_outcome_of_a_reversal_is_raised_and_it_is_sent_once(
    initiator: DarajaClient, script: Script, answer: scripted.Deed, kind: type[SubmissionError], code: str
) -> None:
    script.at(REVERSAL, answer)
    with pytest.raises(SubmissionError) as told:
        reverse(initiator)
    assert (type(told.value), told.value.code) == (kind, code)
    assert len(script.seen(REVERSAL)) == (2 if code == "DARAJA_NOT_AUTHORISED" else 1)
    assert "phone" not in told.value.message


def test_a_reversal_that_is_never_answered_is_in_doubt(make_client: MakeClient, script: Script) -> None:
    script.at(REVERSAL, scripted.stall)
    client = make_client(initiator_name="testapi", security_credential=CREDENTIAL, read_timeout_seconds=0.2)
    with pytest.raises(Uncertain, match="do not send this again"):
        reverse(client)
    assert len(script.seen(REVERSAL)) == 1


def test_an_unreachable_mpesa_has_sent_nothing_back(make_client: MakeClient, script: Script) -> None:
    script.at(OAUTH, token_reply("token-1"))
    client = make_client(
        initiator_name="testapi", security_credential=CREDENTIAL, base_url="http://127.0.0.1:9"
    )
    with pytest.raises(Retryable):
        reverse(client)


def test_a_refused_token_is_replaced_once(initiator: DarajaClient, script: Script) -> None:
    script.at(OAUTH, token_reply("old"), token_reply("new"))
    refusal = error_reply(404, "404.001.03", "Invalid Access Token")
    script.at(REVERSAL, refusal, json_reply(200, ACKNOWLEDGEMENT))
    assert asdict(reverse(initiator)) == BOTH_IDS
    bearers = [request.headers["Authorization"] for request in script.seen(REVERSAL)]
    assert bearers == ["Bearer old", "Bearer new"]


@pytest.mark.parametrize(
    "answer",
    [
        scripted.reset,
        html_reply(503),
        error_reply(500, "500.003.1001", "Internal Server Error"),
        json_reply(200, {"ResponseCode": "0"}),
    ],
)
def test_a_status_request_in_doubt_may_be_repeated(
    initiator: DarajaClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(STATUS, answer)
    with pytest.raises(Retryable, match=r"(?i)ask again"):
        ask(initiator)


@pytest.mark.parametrize(
    "wrong",
    [
        {"receipt": ""},
        {"receipt": "ukf7q2x9lm"},
        {"amount_shillings": 0},
        {"amount_shillings": 250_001},
        {"amount_shillings": True},
        {"amount_shillings": 650.0},
        {"remarks": "x"},
        {"remarks": "x" * 101},
        {"remarks": "line\nline"},
        {"result_url": "shop.example"},
        {"timeout_url": "https://Shop.example/"},
    ],
)
def test_a_reversal_that_mpesa_would_refuse_is_refused_here(
    initiator: DarajaClient, script: Script, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refusal:
        reverse(initiator, **wrong)
    assert refusal.value.code == "DARAJA_INVALID_REQUEST"
    assert script.requests == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"receipt": None},
        {"receipt": "UKF7 Q2X9LM"},
        {"original_conversation_id": "AG 1"},
        {"remarks": ""},
        {"result_url": ""},
    ],
)
def test_a_status_request_that_mpesa_would_refuse_is_refused_here(
    initiator: DarajaClient, script: Script, wrong: dict[str, Any]
) -> None:
    with pytest.raises(Refused) as refusal:
        ask(initiator, **wrong)
    assert refusal.value.code == "DARAJA_INVALID_REQUEST"
    assert script.requests == []


def test_without_an_initiator_nothing_is_sent(client: DarajaClient, script: Script) -> None:
    for request in (reverse, ask):
        with pytest.raises(Refused, match="MPESA_INITIATOR_NAME") as refusal:
            request(client)
        assert refusal.value.code == "DARAJA_CONFIGURATION"
    assert script.requests == []
