"""Pull: every form in which the vendor lists payments, or says that there are none."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from daraja import DarajaClient, Refused, Retryable
from daraja.eat import guess_moment
from tests.daraja.client import scripted
from tests.daraja.client.conftest import NOW
from tests.daraja.client.scripted import Script, error_reply, html_reply, json_reply

REGISTER = "/pulltransactions/v1/register"
QUERY = "/pulltransactions/v1/query"
START = NOW - timedelta(hours=26)
NO_ROWS: list[Any] = [[]]


def row(receipt: str = "UKF7Q2X9LM", **changes: Any) -> dict[str, Any]:
    """Return one payment as M-Pesa lists it."""
    return {
        "transactionId": receipt,
        "trxDate": "2026-11-15T06:07:22Z",
        "msisdn": "254708374149",
        "sender": "UNKNOWN",
        "transactiontype": "c2b-pay-bill-debit",
        "billreference": "D-1234",
        "amount": "650.00",
        "organizationname": "Shop",
    } | changes


def page(*rows: object, **changes: Any) -> scripted.Deed:
    """Answer with a page."""
    answer = {
        "ResponseRefID": "1-2",
        "ResponseCode": "1000",
        "ResponseMessage": "Success",
        "Response": [list(rows)],
    }
    return json_reply(200, answer | changes)


def pulled(client: DarajaClient) -> list[str]:
    """Return the receipts of the first page."""
    return [found.receipt for found in client.pull(start=START, end=NOW).transactions]


def test_a_query_names_its_window_in_east_africa_time(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page())
    client.pull(start=START, end=NOW, offset=50)
    [request] = script.seen(QUERY)
    assert request.method == "POST"
    assert request.json == {
        "ShortCode": "174379",
        "StartDate": "2026-11-14 07:07:05",
        "EndDate": "2026-11-15 09:07:05",
        "OffSetValue": "50",
    }


def test_a_payment_is_read_exactly(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(row()))
    read = client.pull(start=START, end=NOW)
    [found] = read.transactions
    assert (found.receipt, found.amount_cents, found.kind) == ("UKF7Q2X9LM", 65_000, "c2b-pay-bill-debit")
    assert (found.bill_reference, found.payer) == ("D-1234", "254708374149")
    assert found.happened_at_text == "2026-11-15T06:07:22Z"
    assert found.happened_at == datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)
    assert (read.rows, read.unreadable) == (1, ())
    assert "254708374149" not in repr(read)


@pytest.mark.parametrize("written", [254708374149, "254708374149"])
def test_the_payer_may_be_a_number_or_text(client: DarajaClient, script: Script, written: object) -> None:
    script.at(QUERY, page(row(msisdn=written)))
    [found] = client.pull(start=START, end=NOW).transactions
    assert found.payer == "254708374149"


def test_a_long_reference_is_never_cut_to_a_shorter_one(client: DarajaClient, script: Script) -> None:
    script.at(
        QUERY, page(row(billreference="D00000000000000004561"), row("UKF7Q2X9LN", billreference="D" * 500))
    )
    whole, cut = client.pull(start=START, end=NOW).transactions
    assert whole.bill_reference == "D00000000000000004561"
    assert cut.bill_reference == "D" * 99 + "…"


@pytest.mark.parametrize(
    "answer",
    [
        page(Response=[row()]),
        page(Response=[[row()]]),
        page(Response=[[row()], []]),
        page(Response=None, Transaction=[[row()]]),
        page(Response='[[{"transactionId": "UKF7Q2X9LM", "amount": "650.00"}]]'),
        page(row(), ResponseCode=1000),
        page(row(), ResponseCode=None),
        page(row(msisdn=None, trxDate=None, amount="six")),
        page({"TransactionID": "ukf7q2x9lm"}),
    ],
)
def test_a_page_comes_in_many_wrappings(client: DarajaClient, script: Script, answer: scripted.Deed) -> None:
    script.at(QUERY, answer)
    assert pulled(client) == ["UKF7Q2X9LM"]


@pytest.mark.parametrize(
    "answer",
    [
        page(),
        page(Response=[]),
        page(Response=None, Transaction="[[]]"),
        page(Response=None, ResponseCode="1001", ResponseMessage="No transactions"),
        json_reply(200, {"ResponseRefID": "1", "ResponseCode": "1001", "Response": NO_ROWS}),
        json_reply(500, {"ResponseCode": "500", "ResponseMessage": "No transactions found"}),
        error_reply(500, "500.001.1001", "No Transactions available for the period"),
        error_reply(500, "1001", "None"),
    ],
)
def test_an_empty_list_comes_in_many_forms(
    client: DarajaClient, script: Script, answer: scripted.Deed
) -> None:
    script.at(QUERY, answer)
    read = client.pull(start=START, end=NOW)
    assert (read.transactions, read.rows, read.unreadable) == ((), 0, ())


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (error_reply(401, "401.001", "No transactions may be pulled"), Refused),
        (error_reply(500, "500.003.1001", "Internal Server Error"), Retryable),
        (html_reply(503), Retryable),
        (page(Response="junk"), Retryable),
        (page(Response={"a": 1}), Retryable),
        (page(ResponseCode="1005"), Refused),
        (scripted.reset, Retryable),
        (scripted.cut_short, Retryable),
    ],
)
def test_trouble_is_not_an_empty_page(
    client: DarajaClient, script: Script, answer: scripted.Deed, kind: type[Exception]
) -> None:
    script.at(QUERY, answer)
    with pytest.raises(kind):
        client.pull(start=START, end=NOW)


def test_a_row_without_a_receipt_is_kept_for_a_person(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(row(), "junk", {"amount": "5.00"}, None))
    read = client.pull(start=START, end=NOW)
    assert (len(read.transactions), read.rows) == (1, 4)
    assert read.unreadable == ('"junk"', '{"amount": "5.00"}', "null")


def test_a_page_may_be_long(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(*[row(f"UKF7Q2{number:04}") for number in range(1_000, 3_000)]))
    assert len(pulled(client)) == 2_000


@pytest.mark.parametrize("wrong", [{"start": NOW}, {"offset": -1}])
def test_a_window_must_be_one(client: DarajaClient, script: Script, wrong: dict[str, Any]) -> None:
    with pytest.raises(Refused):
        client.pull(**({"start": START, "end": NOW} | wrong))
    assert script.requests == []


def test_pages_are_read_until_one_is_empty(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(row("AAA1"), row("AAA2")), page(row("AAA2"), row("AAA3")), page())
    window = client.pull_all(start=START, end=NOW)
    assert [found.receipt for found in window.transactions] == ["AAA1", "AAA2", "AAA3"]
    assert (window.pages, window.complete) == (3, True)
    assert [request.json["OffSetValue"] for request in script.seen(QUERY)] == ["0", "2", "4"]


def test_a_repeated_page_ends_the_reading(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(row("AAA1"), row("AAA2"), "junk"))
    window = client.pull_all(start=START, end=NOW)
    assert len(window.transactions) == 2
    assert window.unreadable == ('"junk"',)
    assert (window.pages, window.complete) == (2, True)


def test_pages_without_end_have_an_end(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, *[page(row(f"AAA{number}")) for number in range(9)])
    window = client.pull_all(start=START, end=NOW, max_pages=4)
    assert (len(window.transactions), window.pages, window.complete) == (4, 4, False)


def test_one_receipt_with_two_amounts_is_two_facts_to_look_at(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(row(), row(amount="651.00")), page())
    window = client.pull_all(start=START, end=NOW)
    assert [found.amount_cents for found in window.transactions] == [65_000, 65_100]


def test_trouble_in_the_middle_gives_nothing(client: DarajaClient, script: Script) -> None:
    script.at(QUERY, page(row("AAA1")), html_reply(503))
    with pytest.raises(Retryable):
        client.pull_all(start=START, end=NOW)


@pytest.mark.parametrize(
    ("members", "state"),
    [
        ({"ResponseRefID": "1", "ResponseStatus": "1000"}, "registered"),
        ({"ResponseRefID": "1", "Response Status": "1001"}, "already_registered"),
        ({"ResponseStatus": 1000}, "registered"),
        ({"ResponseCode": "1001"}, "already_registered"),
    ],
)
def test_pull_is_registered_once(
    client: DarajaClient, script: Script, members: dict[str, Any], state: str
) -> None:
    script.at(REGISTER, json_reply(200, members))
    assert (
        client.pull_register(nominated_number="254708374149", callback_url="https://shop.example/x/") == state
    )
    [request] = script.seen(REGISTER)
    assert request.json == {
        "ShortCode": "174379",
        "RequestType": "Pull",
        "NominatedNumber": "254708374149",
        "CallBackURL": "https://shop.example/x/",
    }


def test_a_sandbox_without_pull_is_an_error(client: DarajaClient, script: Script) -> None:
    script.at(REGISTER, error_reply(401, "401.001", "Unauthorized"))
    with pytest.raises(Refused) as refusal:
        client.pull_register(nominated_number="254708374149", callback_url="https://shop.example/x/")
    assert refusal.value.code == "DARAJA_NOT_AUTHORISED"


@pytest.mark.parametrize("wrong", [{"nominated_number": "0708374149"}, {"callback_url": "shop.example"}])
def test_a_registration_of_pull_that_mpesa_would_refuse_is_refused_here(
    client: DarajaClient, script: Script, wrong: dict[str, str]
) -> None:
    request = {"nominated_number": "254708374149", "callback_url": "https://shop.example/x/"}
    with pytest.raises(Refused):
        client.pull_register(**(request | wrong))
    assert script.requests == []


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-15T06:07:22Z", datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)),
        ("2026-11-15T09:07:22+03:00", datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)),
        ("2026-11-15 09:07:22", datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)),
        ("2026-11-15T09:07:22", datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)),
        ("20261115090722", datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC)),
        ("yesterday", None),
        ("", None),
        ("0001-01-01T00:00:00+14:00", None),
    ],
)
def test_a_time_in_an_unpromised_form_is_guessed(written: str, moment: datetime | None) -> None:
    assert guess_moment(written) == moment
