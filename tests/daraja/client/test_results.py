"""Results of reversals and transaction status: read exactly, judged by a closed table, hostile ones refused."""

import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daraja import (
    MalformedResult,
    parse_result,
    parse_timeout,
    reversal_verdict,
    status_verdict,
)
from daraja.verdicts import ReversalKind, StatusKind

REVERSED = [
    {"Key": "DebitAccountBalance", "Value": "Utility Account|KES|7722179.62|7722179.62|0.00|0.00"},
    {"Key": "Amount", "Value": 650.00},
    {"Key": "TransCompletedTime", "Value": 20261115090722},
    {"Key": "OriginalTransactionID", "Value": "UKF7Q2X9LM"},
    {"Key": "Charge", "Value": 0},
    {"Key": "CreditPartyPublicName", "Value": "254708374149 - John Doe"},
    {"Key": "DebitPartyPublicName", "Value": "174379 - Shop"},
]
FOUND: list[dict[str, Any]] = [
    {"Key": "DebitPartyName", "Value": "254708374149 - John Doe"},
    {"Key": "DebitPartyName", "Value": "174379 - Shop"},
    {"Key": "TransactionReason"},
    {"Key": "ReasonType", "Value": "Pay Bill Online"},
    {"Key": "TransactionStatus", "Value": "Completed"},
    {"Key": "FinalisedTime", "Value": 20261115090722},
    {"Key": "Amount", "Value": 650},
    {"Key": "ReceiptNo", "Value": "UKF7Q2X9LM"},
]


def body(parameters: object = None, **changes: Any) -> bytes:
    """Write a result; a change to None leaves a member out."""
    result: dict[str, Any] = {
        "ResultType": 0,
        "ResultCode": 0,
        "ResultDesc": "The service request is processed successfully.",
        "OriginatorConversationID": "8423-4a3b-87d8-1d918a78741e243712",
        "ConversationID": "AG_20261115_0100101002hi3i67m6ml",
        "TransactionID": "UKF0R3V3R5",
        "ReferenceData": {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": "https://x/"}},
    }
    if parameters is not None:
        result["ResultParameters"] = {"ResultParameter": parameters}
    result |= changes
    return json.dumps({"Result": {k: v for k, v in result.items() if v is not None}}).encode()


def with_status(word: object) -> list[dict[str, Any]]:
    """Return the parameters of a found transaction in another status."""
    return [
        {"Key": "TransactionStatus", "Value": word} if p["Key"] == "TransactionStatus" else p for p in FOUND
    ]


def test_a_result_is_read_by_key_and_keeps_repeats() -> None:
    result = parse_result(body(FOUND))
    assert (result.result_type, result.result_code) == ("0", "0")
    assert result.conversation_id == "AG_20261115_0100101002hi3i67m6ml"
    assert result.originator_conversation_id == "8423-4a3b-87d8-1d918a78741e243712"
    assert result.transaction_id == "UKF0R3V3R5"
    assert result.parameters["DebitPartyName"] == ("254708374149 - John Doe", "174379 - Shop")
    assert result.parameters["TransactionReason"] == (None,)
    assert result.values("TransactionReason") == ()
    assert "John" not in repr(result)


def test_numbers_are_not_rounded() -> None:
    exact = b'{"Result": {"ResultType": "0", "ResultCode": "0", "ConversationID": "A", "ResultParameters":'
    result = parse_result(exact + b'{"ResultParameter": {"Key": "Amount", "Value": 9007199254740993.01}}}}')
    assert result.parameters["Amount"] == (Decimal("9007199254740993.01"),)


@pytest.mark.parametrize("code", [2001, "2001", 2001.0])
def test_a_code_may_be_a_number_or_text(code: object) -> None:
    assert parse_result(body(ResultCode=code)).result_code == "2001"


@pytest.mark.parametrize(
    "parameters", [None, [], {}, "junk", 7, [None, "junk", {"Key": 3}, {"Value": 1}, {"Key": ""}]]
)
def test_parameters_may_be_missing_or_useless(parameters: object) -> None:
    assert parse_result(body(parameters)).parameters == {}


def test_a_lone_parameter_needs_no_list() -> None:
    assert parse_result(body({"Key": "Amount", "Value": "650.00"})).one_amount("Amount") == 65_000


@pytest.mark.parametrize("placeholder", ["UKF0000000", "UIS1000000", "0", "", None, 0, "no receipt!"])
def test_a_placeholder_is_no_receipt(placeholder: object) -> None:
    assert parse_result(body(TransactionID=placeholder)).transaction_id is None


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "no_result"),
        (b'{"Result": []}', "no_result"),
        (b'{"Body": {}}', "no_result"),
        (b'{"Result": {"ResultCode": 0, "ResultCode": 1}}', "repeated_key"),
        (b" " * 70_000, "too_large"),
        (b"[" * 60_000, "too_deep"),
        (body(ResultCode=None), "no_result_code"),
        (body(ResultCode=True), "no_result_code"),
        (body(ResultCode={"a": 1}), "no_result_code"),
        (body(ConversationID=None, OriginatorConversationID=None), "no_conversation_id"),
        (body(ConversationID="a b", OriginatorConversationID=7), "no_conversation_id"),
    ],
)
def test_a_body_that_is_no_result_is_refused_with_where_reading_stopped(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedResult) as refusal:
        parse_result(raw)
    assert refusal.value.reason == reason
    assert pickle.loads(pickle.dumps(refusal.value)).reason == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)


parameters_of_interest = st.fixed_dictionaries(
    {
        "Key": st.sampled_from(["Amount", "ReceiptNo", "TransactionStatus", "FinalisedTime"]),
        "Value": json_values,
    }
)


@given(
    parameters=json_values | st.lists(parameters_of_interest, max_size=4), code=json_values, kind=json_values
)
def test_any_answer_is_judged_or_refused(parameters: object, code: object, kind: object) -> None:
    try:
        result = parse_result(body(parameters, ResultCode=code, ResultType=kind))
    except MalformedResult:
        return
    assert reversal_verdict(result).kind in get_args(ReversalKind)
    assert status_verdict(result).kind in get_args(StatusKind)


@given(st.binary(max_size=200))
def test_any_bytes_may_come_to_the_timeout_address(raw: bytes) -> None:
    timeout = parse_timeout(raw)
    assert (timeout.conversation_id, timeout.originator_conversation_id) == ("", "")


@pytest.mark.parametrize(
    ("raw", "ids"),
    [
        (body(), ("AG_20261115_0100101002hi3i67m6ml", "8423-4a3b-87d8-1d918a78741e243712")),
        (b'{"ConversationID": "AG_1"}', ("AG_1", "")),
        (b'{"OriginatorConversationID": "71"}', ("", "71")),
        (b'{"Result": "late"}', ("", "")),
        (b"<html>", ("", "")),
        (b"", ("", "")),
    ],
)
def test_a_timeout_gives_the_ids_that_it_holds(raw: bytes, ids: tuple[str, str]) -> None:
    timeout = parse_timeout(raw)
    assert (timeout.conversation_id, timeout.originator_conversation_id) == ids


def test_a_completed_reversal_says_what_was_reversed() -> None:
    verdict = reversal_verdict(parse_result(body(REVERSED)))
    assert (verdict.kind, verdict.reason) == ("done", "reversed")
    assert (verdict.receipt, verdict.original_receipt) == ("UKF0R3V3R5", "UKF7Q2X9LM")
    assert verdict.amount_cents == 65_000
    assert verdict.completed_at == datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)


def test_already_reversed_is_done_without_a_receipt_of_its_own() -> None:
    verdict = reversal_verdict(parse_result(body(ResultCode="R000001", TransactionID="UKF7Q2X9LM")))
    assert (verdict.kind, verdict.reason, verdict.receipt) == ("done", "already_reversed", None)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (1, "insufficient_funds"),
        (11, "party_invalid"),
        (21, "not_permitted"),
        (2001, "wrong_credential"),
        (2006, "account_not_active"),
        (2028, "product_mismatch"),
        (8006, "operator_locked"),
        ("R000002", "original_invalid"),
    ],
)
def test_a_failed_reversal_has_a_reason(code: object, reason: str) -> None:
    verdict = reversal_verdict(parse_result(body(ResultCode=code, TransactionID="UKF0000000")))
    assert (verdict.kind, verdict.reason, verdict.amount_cents) == ("failed", reason, None)
    assert verdict.sentence.endswith(".")


@pytest.mark.parametrize("written", [0, "0"])
def test_a_result_type_may_be_a_number_or_text(written: object) -> None:
    assert reversal_verdict(parse_result(body(REVERSED, ResultType=written))).kind == "done"
    assert status_verdict(parse_result(body(FOUND, ResultType=written))).kind == "completed"


@pytest.mark.parametrize(
    "changes",
    [
        {"ResultCode": "7777"},
        {"ResultCode": -1},
        {"ResultCode": "00"},
        {"ResultType": 1},
        {"ResultType": "1"},
        {"ResultType": None},
        {"ResultType": 1, "ResultCode": "R000001"},
        {"ResultType": 1, "ResultCode": "2001"},
    ],
)
def test_anything_else_is_neither_success_nor_failure(changes: dict[str, Any]) -> None:
    result = parse_result(body(REVERSED, **changes))
    verdict = reversal_verdict(result)
    assert (verdict.kind, verdict.receipt, verdict.amount_cents) == ("unclear", None, None)
    assert status_verdict(parse_result(body(FOUND, **changes))).kind == "unclear"


def test_a_completed_transaction_has_its_amount_receipt_and_time() -> None:
    verdict = status_verdict(parse_result(body(FOUND)))
    assert (verdict.kind, verdict.reason) == ("completed", "completed")
    assert (verdict.receipt, verdict.amount_cents) == ("UKF7Q2X9LM", 65_000)
    assert verdict.finished_at == datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)
    assert verdict.reason_type == "Pay Bill Online"


@pytest.mark.parametrize(
    ("word", "kind"),
    [
        ("completed", "completed"),
        (" Completed ", "completed"),
        ("Reversed", "reversed"),
        ("Completed (Reversed)", "reversed"),
        ("REVERSED", "reversed"),
        ("Cancelled", "not_completed"),
        ("Declined", "not_completed"),
        ("Expired", "not_completed"),
        ("Failed", "not_completed"),
        ("Initiated", "transient"),
        ("Authorized", "transient"),
        ("Pending  Authorized", "transient"),
        ("Completed soon", "unclear"),
        ("", "unclear"),
        (None, "unclear"),
        (7, "unclear"),
    ],
)
def test_the_status_of_a_transaction_decides(word: object, kind: str) -> None:
    assert status_verdict(parse_result(body(with_status(word)))).kind == kind


def test_two_statuses_that_disagree_are_unclear() -> None:
    two = [*FOUND, {"Key": "TransactionStatus", "Value": "Cancelled"}]
    assert status_verdict(parse_result(body(two))).kind == "unclear"


@pytest.mark.parametrize(
    ("code", "kind", "reason"),
    [
        (2032, "unknown_receipt", "unknown_receipt"),
        ("2032", "unknown_receipt", "unknown_receipt"),
        (2001, "unclear", "wrong_credential"),
        (25, "unclear", "bad_request"),
        ("SFC_IC0003", "unclear", "party_unknown"),
        (1, "unclear", "unknown"),
    ],
)
def test_a_status_request_without_an_answer_has_a_reason(code: object, kind: str, reason: str) -> None:
    verdict = status_verdict(parse_result(body(ResultCode=code, TransactionID="UKF0000000")))
    assert (verdict.kind, verdict.reason) == (kind, reason)


@pytest.mark.parametrize(
    ("value", "cents"),
    [
        (650, 65_000),
        ("650", 65_000),
        ("650.00", 65_000),
        (650.5, 65_050),
        ("650.005", None),
        ("6,50", None),
        (0, None),
        (True, None),
    ],
)
def test_amounts_are_exact_or_none(value: object, cents: int | None) -> None:
    assert parse_result(body({"Key": "Amount", "Value": value})).one_amount("Amount") == cents


def test_amounts_that_disagree_are_none() -> None:
    two = [{"Key": "Amount", "Value": 650}, {"Key": "Amount", "Value": 651}]
    assert parse_result(body(two)).one_amount("Amount") is None
