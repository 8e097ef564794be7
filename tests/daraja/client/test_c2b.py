"""Payments made by hand: registering for their reports, and reading the reports, hostile ones included."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daraja import C2bNotice, C2bRegistration, DarajaClient, MalformedNotice, Refused, Retryable, parse_c2b
from daraja.untrusted import balance_in_cents
from tests.daraja.client import scripted
from tests.daraja.client.scripted import Script, error_reply, json_reply

REGISTER = "/mpesa/c2b/v2/registerurl"
CONFIRMATION = {
    "TransactionType": "Pay Bill",
    "TransID": "UKF7Q2X9LM",
    "TransTime": "20261115090722",
    "TransAmount": "350.00",
    "BusinessShortCode": "174379",
    "BillRefNumber": "D-1234",
    "InvoiceNumber": "",
    "OrgAccountBalance": "49197.00",
    "ThirdPartyTransID": "",
    "MSISDN": "2547 ***** 126",
    "FirstName": "John",
    "MiddleName": "",
    "LastName": "Doe",
}


def register(client: DarajaClient, **changes: str) -> C2bRegistration:
    """Register the addresses of a shop."""
    request = {
        "confirmation_url": "https://shop.example/c2b/confirmation/",
        "validation_url": "https://shop.example/c2b/validation/",
        "response_type": "Completed",
    }
    return client.register_c2b(**(request | changes))


def body(**changes: Any) -> bytes:
    """Write a confirmation; a change to None leaves a member out."""
    members = {name: value for name, value in (CONFIRMATION | changes).items() if value is not None}
    return json.dumps(members).encode()


def test_a_registration_sends_every_field(client: DarajaClient, script: Script) -> None:
    script.at(REGISTER, json_reply(200, {"OriginatorCoversationID": "71-2", "ResponseCode": "0"}))
    registration = register(client)
    assert (registration.state, registration.originator_conversation_id) == ("registered", "71-2")
    [request] = script.seen(REGISTER)
    assert request.json == {
        "ShortCode": "174379",
        "ResponseType": "Completed",
        "ConfirmationURL": "https://shop.example/c2b/confirmation/",
        "ValidationURL": "https://shop.example/c2b/validation/",
    }


@pytest.mark.parametrize(
    ("answer", "state"),
    [
        (json_reply(200, {"ResponseCode": "00000000"}), "registered"),
        (json_reply(200, {"ResponseCode": 0}), "registered"),
        (json_reply(200, {"ResponseDescription": "Success"}), "registered"),
        (error_reply(500, "500.003.1001", "Urls are already registered"), "already_registered"),
        (error_reply(200, "500.003.1001", "URLs are already registered."), "already_registered"),
        (
            json_reply(200, {"ResponseCode": "1", "ResponseDescription": "Urls are already registered"}),
            "already_registered",
        ),
    ],
)
def test_a_registration_is_taken_in_many_forms(
    client: DarajaClient, script: Script, answer: scripted.Deed, state: str
) -> None:
    script.at(REGISTER, answer)
    assert register(client).state == state


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_reply(500, "500.003.1001", "Service is currently unreachable."), Retryable),
        (error_reply(400, "400.002.02", "Bad Request - Invalid ValidationURL"), Refused),
        (json_reply(200, {"ResponseCode": "1"}), Refused),
        (json_reply(200, {}), Retryable),
        (json_reply(500, {"ResponseDescription": "no success"}), Retryable),
        (scripted.reset, Retryable),
    ],
)
def test_a_refused_registration_is_raised(
    client: DarajaClient, script: Script, answer: scripted.Deed, kind: type[Exception]
) -> None:
    script.at(REGISTER, answer)
    with pytest.raises(kind):
        register(client)


@pytest.mark.parametrize(
    "wrong",
    [
        {"response_type": "completed"},
        {"confirmation_url": "shop.example"},
        {"validation_url": "https://Shop.x/"},
    ],
)
def test_a_registration_that_mpesa_would_refuse_is_refused_here(
    client: DarajaClient, script: Script, wrong: dict[str, str]
) -> None:
    with pytest.raises(Refused):
        register(client, **wrong)
    assert script.requests == []


def test_a_confirmation_is_read_exactly() -> None:
    notice = parse_c2b(body())
    assert notice == C2bNotice(
        receipt="UKF7Q2X9LM",
        amount_cents=35_000,
        shortcode="174379",
        transaction_type="Pay Bill",
        completed_at=datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC),
        bill_reference="D-1234",
        payer="2547 ***** 126",
        first_name="John",
        last_name="Doe",
        balance_cents=4_919_700,
    )
    assert not [word for word in ("John", "Doe", "126", "D-1234", "4919700") if word in repr(notice)]


def test_a_validation_has_no_balance_yet() -> None:
    assert parse_c2b(body(OrgAccountBalance="")).balance_cents is None


def test_the_first_version_hashes_the_payer() -> None:
    assert parse_c2b(body(MSISDN="AB" * 32)).payer == "ab" * 32


@pytest.mark.parametrize(
    "name", ["TransTime", "MSISDN", "FirstName", "BillRefNumber", "OrgAccountBalance", "TransactionType"]
)
@pytest.mark.parametrize("value", [None, "", {}, ["x"], True, "\ud800"])
def test_money_is_read_whatever_else_lacks(name: str, value: object) -> None:
    notice = parse_c2b(body(**{name: value}))
    assert (notice.receipt, notice.amount_cents) == ("UKF7Q2X9LM", 35_000)


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("  d 12 ", "d 12"),
        ("=cmd|' /C calc'!A0", "=cmd|' /C calc'!A0"),
        ("a\r\nb\x00c", "a b c"),
        ("x" * 100, "x" * 100),
        ("x" * 101, "x" * 99 + "…"),
        ("D" + " " * 400 + "456", "D…"),
        ("D00000000000000004561", "D00000000000000004561"),
        (1234, "1234"),
        ("<script>", "<script>"),
    ],
)
def test_what_the_payer_typed_is_one_short_line(typed: object, read: str) -> None:
    assert parse_c2b(body(BillRefNumber=typed)).bill_reference == read


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "not_json"),
        (b"[]", "no_object"),
        (b"{}", "no_receipt"),
        (body(TransID="UKF0000000"), "no_receipt"),
        (body(TransID=7), "no_receipt"),
        (body(TransID="A B"), "no_receipt"),
        (body(TransAmount="0.00"), "no_amount"),
        (body(TransAmount="-350.00"), "no_amount"),
        (body(TransAmount="350.001"), "no_amount"),
        (body(TransAmount=None), "no_amount"),
        (body(TransAmount=True), "no_amount"),
        (body(BusinessShortCode=None), "no_shortcode"),
        (b" " * 70_000, "too_large"),
    ],
)
def test_a_body_that_is_no_notice_is_refused_with_where_reading_stopped(raw: bytes, reason: str) -> None:
    with pytest.raises(MalformedNotice) as refusal:
        parse_c2b(raw)
    assert refusal.value.reason == reason


@given(
    st.dictionaries(
        st.sampled_from(sorted(CONFIRMATION)), st.text(max_size=30) | st.integers() | st.booleans()
    )
)
def test_any_values_are_read_or_refused(changes: dict[str, Any]) -> None:
    try:
        notice = parse_c2b(body(**changes))
    except MalformedNotice:
        return
    assert notice.amount_cents > 0
    assert len(notice.bill_reference) <= 100
    assert not set(notice.bill_reference) & set("\r\n\0\u2028")


@pytest.mark.parametrize(
    ("written", "cents"),
    [
        ("49197.00", 4_919_700),
        ("0.00", 0),
        ("-0.5", -50),
        ("-12.00", -1_200),
        ("", None),
        ("--1", None),
        ("1.001", None),
        (5, None),
    ],
)
def test_a_balance_may_be_nothing_or_below(written: object, cents: int | None) -> None:
    assert balance_in_cents(written) == cents
