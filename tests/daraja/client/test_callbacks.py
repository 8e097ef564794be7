"""Callbacks: genuine ones are read to the cent, hostile ones refused with one kind of error."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from daraja import MalformedCallback, StkCallback, parse_callback
from tests.daraja.client.conftest import CHECKOUT_ID

MERCHANT_ID = "7c1e-4a90-b2d4-0e5f6a7b8c9d123456"
GENUINE_ITEMS = (
    '{"Name": "Amount", "Value": 650.0}, {"Name": "MpesaReceiptNumber", "Value": "UKF7Q2X9LM"},'
    '{"Name": "Balance"}, {"Name": "TransactionDate", "Value": 20261115090722},'
    '{"Name": "PhoneNumber", "Value": 254708374149}'
)


def success(items: str, result_code: str = "0") -> bytes:
    """Write a callback with these items, as raw JSON text."""
    return (
        f'{{"Body": {{"stkCallback": {{"MerchantRequestID": "{MERCHANT_ID}",'
        f'"CheckoutRequestID": "{CHECKOUT_ID}", "ResultCode": {result_code}, "ResultDesc": "As M-Pesa puts it",'
        f'"CallbackMetadata": {{"Item": [{items}]}}}}}}}}'
    ).encode()


def item(name: str, raw_value: str) -> bytes:
    """Write a callback with one item whose value is raw JSON text."""
    return success(f'{{"Name": "{name}", "Value": {raw_value}}}')


def test_a_success_is_read_by_name() -> None:
    assert parse_callback(success(GENUINE_ITEMS)) == StkCallback(
        merchant_request_id=MERCHANT_ID,
        checkout_request_id=CHECKOUT_ID,
        result_code="0",
        result_desc="As M-Pesa puts it",
        amount_cents=65_000,
        receipt="UKF7Q2X9LM",
        transaction_date=datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC),
        phone="254708374149",
    )


def test_the_order_of_items_and_strangers_among_them_do_not_matter() -> None:
    items = json.loads(f"[{GENUINE_ITEMS}]")
    shuffled = [
        {"Name": "New", "Value": {"a": []}},
        "junk",
        None,
        {"Value": 1},
        {"Name": []},
        *reversed(items),
    ]
    assert parse_callback(success(json.dumps(shuffled)[1:-1])) == parse_callback(success(GENUINE_ITEMS))


def test_a_failure_has_no_items() -> None:
    body = {
        "MerchantRequestID": MERCHANT_ID,
        "CheckoutRequestID": CHECKOUT_ID,
        "ResultCode": 1032,
        "ResultDesc": "Request cancelled by user",
    }
    callback = parse_callback(json.dumps({"Body": {"stkCallback": body}}).encode())
    assert (callback.result_code, callback.result_desc) == ("1032", "Request cancelled by user")
    assert (callback.amount_cents, callback.receipt, callback.unusable) == (None, None, ())
    assert callback.meaning.reason == "cancelled_by_user"


@pytest.mark.parametrize(
    "metadata", ["null", "[]", '"x"', "{}", '{"Item": null}', '{"Item": []}', '{"Item": 7}']
)
def test_a_success_may_come_without_its_items(metadata: str) -> None:
    body = success("").replace(b'{"Item": []}', metadata.encode())
    callback = parse_callback(body)
    assert (callback.result_code, callback.receipt, callback.unusable) == ("0", None, ())


def test_a_single_item_need_not_be_in_a_list() -> None:
    body = success("").replace(b'{"Item": []}', b'{"Item": {"Name": "Amount", "Value": 1}}')
    assert parse_callback(body).amount_cents == 100


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("0", "0"),
        ('"0"', "0"),
        ("0.0", "0"),
        ('" 0 "', "0"),
        ("-1", "-1"),
        ("4999", "4999"),
        ('"SFC_IC0003"', "SFC_IC0003"),
    ],
)
def test_a_result_code_becomes_text(raw: str, text: str) -> None:
    assert parse_callback(success("", raw)).result_code == text


@pytest.mark.parametrize(
    "raw", ["null", "true", "false", '""', "[]", "{}", "0.5", "1e400", '"0\\u0000"', '"\\u0660"']
)
def test_a_result_code_that_is_none_is_malformed(raw: str) -> None:
    with pytest.raises(MalformedCallback) as refusal:
        parse_callback(success("", raw))
    assert refusal.value.reason == "no_result_code"


@pytest.mark.parametrize(
    ("raw", "cents"),
    [
        ("650", 65_000),
        ("650.0", 65_000),
        ("650.00", 65_000),
        ("650.000000000000000000000000000000", 65_000),
        ("6.5e2", 65_000),
        ("65E1", 65_000),
        ('"650"', 65_000),
        ('"650.00"', 65_000),
        ('" 650 "', 65_000),
        ('"1,150.00"', 115_000),
        ('"1,150"', 115_000),
        ('"1 150"', 115_000),
        ('"1\\u00a0150.50"', 115_050),
        ('"1,234,567.00"', 123_456_700),
        ('"KES 1,150.00"', 115_000),
        ('"Ksh.1,150"', 115_000),
        ("650.5", 65_050),
        ("0.01", 1),
        ("1000.50", 100_050),
        ("0.29", 29),
        ("250000", 25_000_000),
    ],
)
def test_an_amount_is_exact_in_cents(raw: str, cents: int) -> None:
    callback = parse_callback(item("Amount", raw))
    assert (callback.amount_cents, callback.unusable) == (cents, ())


@pytest.mark.parametrize(
    "raw",
    [
        *(
            "650.001",
            "650.0000000000000000000000000000001",
            "0",
            "-650",
            "-0.0",
            "1e400",
            "1e-400",
            "1e999999999",
        ),
        *(
            "1e-999999999",
            "9" * 400,
            "true",
            "[]",
            "{}",
            '""',
            '"650 KES"',
            '"1,00"',
            '"1.150,00"',
            '"1,150 000"',
            '"10000,150"',
            '",150"',
            '"-650"',
            '"1e3"',
            '"NaN"',
        ),
        *('"\\u0666\\u0665"', '"650.001"'),
    ],
)
def test_an_amount_that_is_not_whole_cents_is_unusable(raw: str) -> None:
    callback = parse_callback(item("Amount", raw))
    assert (callback.amount_cents, callback.unusable) == (None, ("amount",))


@pytest.mark.parametrize(
    ("raw", "receipt"), [('"UKF7Q2X9LM"', "UKF7Q2X9LM"), ('" ukf7q2x9lm "', "UKF7Q2X9LM")]
)
def test_a_receipt_has_one_spelling(raw: str, receipt: str) -> None:
    assert parse_callback(item("MpesaReceiptNumber", raw)).receipt == receipt


@pytest.mark.parametrize("raw", ['""', "7", "[]", '"a b"', '"a\\u0000"', '"\\ud800"', f'"{"A" * 41}"'])
def test_a_receipt_that_is_none_is_unusable(raw: str) -> None:
    callback = parse_callback(item("MpesaReceiptNumber", raw))
    assert (callback.receipt, callback.unusable) == (None, ("receipt",))


@pytest.mark.parametrize("raw", ["20261315090722", "2026", '"yesterday"', "20261115090722.5", "0", "[]"])
def test_a_time_that_is_none_is_unusable(raw: str) -> None:
    callback = parse_callback(item("TransactionDate", raw))
    assert (callback.transaction_date, callback.unusable) == (None, ("transaction_date",))


@pytest.mark.parametrize("raw", ['"2026-11-15 09:07:22"', '"20261115090722"', "20261115090722.0"])
def test_a_time_may_be_written_in_other_ways(raw: str) -> None:
    when = parse_callback(item("TransactionDate", raw)).transaction_date
    assert when == datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)


def test_a_masked_phone_is_kept_as_it_came() -> None:
    assert parse_callback(item("PhoneNumber", '"254708***430"')).phone == "254708***430"


@pytest.mark.parametrize("raw", ['"Alice"', "[]", "true", "254708374149.5"])
def test_a_phone_that_is_none_is_unusable(raw: str) -> None:
    callback = parse_callback(item("PhoneNumber", raw))
    assert (callback.phone, callback.unusable) == (None, ("phone",))


def test_repeats_that_agree_are_one_and_repeats_that_do_not_are_unusable() -> None:
    agreeing = '{"Name": "Amount", "Value": 650}, {"Name": "Amount", "Value": "650.00"}'
    assert parse_callback(success(agreeing)).amount_cents == 65_000
    receipts = '{"Name": "MpesaReceiptNumber", "Value": "A1"}, {"Name": "MpesaReceiptNumber", "Value": "A2"}'
    callback = parse_callback(success(receipts))
    assert (callback.receipt, callback.unusable) == (None, ("receipt",))


def test_a_description_is_cleaned_and_cut() -> None:
    raw = success("").replace(b"As M-Pesa puts it", b"a\\u0000b\\ud800c\\n" + b"x" * 900)
    description = parse_callback(raw).result_desc
    assert description.startswith("a b c x")
    assert len(description) <= 300
    description.encode()


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not_json"),
        (b"x", "not_json"),
        (b"\xff\xfe", "not_json"),
        (b"NaN", "not_json"),
        (b'{"Body": Infinity}', "not_json"),
        (b"9" * 5000, "not_json"),
        (b"1e99999999999999999999", "not_json"),
        (success(GENUINE_ITEMS)[:-3], "not_json"),
        (b"[" * 60_000, "too_deep"),
        (b'{"Body":' * 8_000, "too_deep"),
        (b" " * 65_537, "too_large"),
        (b'{"Body": 1, "Body": 2}', "repeated_key"),
        (b"{}", "no_stk_callback"),
        (b"[]", "no_stk_callback"),
        (b"null", "no_stk_callback"),
        (b"7", "no_stk_callback"),
        (b'"x"', "no_stk_callback"),
        (b'{"Body": null}', "no_stk_callback"),
        (b'{"Body": []}', "no_stk_callback"),
        (b'{"Body": {"stkCallback": null}}', "no_stk_callback"),
        (b'{"Body": {"stkCallback": []}}', "no_stk_callback"),
        (b'{"Body": {"stkCallback": {}}}', "no_merchant_request_id"),
        (b'{"Body": {"stkCallback": {"MerchantRequestID": "1"}}}', "no_checkout_request_id"),
        (
            b'{"Body": {"stkCallback": {"MerchantRequestID": "1", "CheckoutRequestID": "2"}}}',
            "no_result_code",
        ),
    ],
)
def test_a_body_that_is_no_callback_is_refused_with_a_reason(body: bytes, reason: str) -> None:
    with pytest.raises(MalformedCallback) as refusal:
        parse_callback(body)
    assert refusal.value.reason == reason


@pytest.mark.parametrize("name", ["MerchantRequestID", "CheckoutRequestID"])
@pytest.mark.parametrize("value", [7, None, "", "a b", "a\nb", "a\x00", "é", "x" * 129, []])
def test_an_id_that_is_none_is_malformed(name: str, value: object) -> None:
    body = {"MerchantRequestID": "1", "CheckoutRequestID": "2", "ResultCode": 0} | {name: value}
    with pytest.raises(MalformedCallback):
        parse_callback(json.dumps({"Body": {"stkCallback": body}}).encode())


def test_a_callback_does_not_show_the_phone() -> None:
    shown = repr(parse_callback(success(GENUINE_ITEMS)))
    assert "708374149" not in shown


UNHURRIED = settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
TEXT = st.text(alphabet="aZ059 .-+e*\x00\n\u0660\ud800\U0001f600", max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=4,
)
ITEM = st.fixed_dictionaries(
    {},
    optional={
        "Name": st.sampled_from(["Amount", "MpesaReceiptNumber", "TransactionDate", "PhoneNumber"]) | JSON,
        "Value": JSON,
    },
)
CALLBACK = st.fixed_dictionaries(
    {},
    optional={
        "MerchantRequestID": st.just("1-2-3") | JSON,
        "CheckoutRequestID": st.just(CHECKOUT_ID) | JSON,
        "ResultCode": st.integers() | JSON,
        "ResultDesc": JSON,
        "CallbackMetadata": st.fixed_dictionaries({"Item": st.lists(ITEM, max_size=6) | JSON}) | JSON,
    },
)


@UNHURRIED
@given(CALLBACK)
def test_whatever_json_says_it_is_read_or_refused(callback: dict[str, Any]) -> None:
    _read_or_refuse(json.dumps({"Body": {"stkCallback": callback}}).encode())


@UNHURRIED
@given(st.binary(max_size=300))
@example(b'{"Body":{"stkCallback":{"MerchantRequestID":"\\ud800"}}}')
def test_whatever_bytes_come_they_are_read_or_refused(body: bytes) -> None:
    _read_or_refuse(body)


@UNHURRIED
@given(st.integers(0, len(success(GENUINE_ITEMS)) - 1), st.binary(max_size=3))
def test_a_damaged_callback_is_read_or_refused(position: int, damage: bytes) -> None:
    genuine = success(GENUINE_ITEMS)
    _read_or_refuse(genuine[:position] + damage + genuine[position + 1 :])


def _read_or_refuse(body: bytes) -> None:
    try:
        callback = parse_callback(body)
    except MalformedCallback:
        return
    callback.result_desc.encode()
    assert callback.amount_cents is None or callback.amount_cents > 0
    assert callback.transaction_date is None or callback.transaction_date.tzinfo is UTC
