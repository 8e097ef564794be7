"""Times, result codes, passwords, settings and URLs: the small rules of the vendor."""

import os
import pickle
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from daraja import (
    RESULT_MEANINGS,
    InvalidConfig,
    MalformedCallback,
    Retryable,
    forbidden_words_in,
    meaning_of,
)
from daraja.client import password
from daraja.eat import parse_transaction_date, timestamp
from tests.daraja.client.conftest import make_config


@pytest.fixture(params=["UTC", "America/New_York", "Pacific/Auckland"])
def host_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the test on a host in another zone; put the zone back after it."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = request.param
    time.tzset()
    yield request.param
    if before is None:
        del os.environ["TZ"]
    else:
        os.environ["TZ"] = before
    time.tzset()


TIMES = [
    (datetime(2026, 11, 15, 6, 7, 22, tzinfo=UTC), "20261115090722"),
    (datetime(2026, 11, 15, 20, 59, 59, tzinfo=UTC), "20261115235959"),
    (datetime(2026, 11, 15, 21, 0, 0, tzinfo=UTC), "20261116000000"),
    (datetime(2026, 12, 31, 20, 59, 59, tzinfo=UTC), "20261231235959"),
    (datetime(2026, 12, 31, 21, 0, 0, tzinfo=UTC), "20270101000000"),
    (datetime(2028, 2, 28, 21, 0, 0, tzinfo=UTC), "20280229000000"),
]


@pytest.mark.parametrize(("moment", "written"), TIMES)
@pytest.mark.usefixtures("host_zone")
def test_times_are_written_and_read_in_east_africa_whatever_the_host(moment: datetime, written: str) -> None:
    assert timestamp(moment) == written
    assert timestamp(moment.astimezone(timezone(timedelta(hours=-5)))) == written
    assert parse_transaction_date(written) == parse_transaction_date(int(written)) == moment
    assert parse_transaction_date(written).tzinfo is UTC


def test_a_naive_time_is_refused() -> None:
    with pytest.raises(ValueError, match="aware"):
        timestamp(datetime(2026, 11, 15))  # noqa: DTZ001 - a naive time is the point


@pytest.mark.parametrize(
    "written",
    [0, -1, True, 2026, 10**20, "", "2026-11-15", "20260230000000", "20261115240000", "00010101000000"],
)
def test_what_is_no_time_is_refused(written: int | str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_transaction_date(written)


def test_the_password_matches_the_known_vector() -> None:
    assert (
        password("174379", "testpasskey", "20240102030405") == "MTc0Mzc5dGVzdHBhc3NrZXkyMDI0MDEwMjAzMDQwNQ=="
    )


def test_only_zero_is_paid() -> None:
    assert [meaning.code for meaning in RESULT_MEANINGS if meaning.outcome == "paid"] == ["0"]


def test_every_code_of_the_vendor_is_known_once() -> None:
    codes = [meaning.code for meaning in RESULT_MEANINGS]
    assert len(codes) == len(set(codes))
    assert set(codes) == {
        *("0", "1", "2", "3", "4", "8", "17", "26", "1001", "1019", "1025", "9999", "1031", "1032", "1036"),
        *("1037", "2001", "2006", "2028", "8006", "SFC_IC0003", "4999"),
    }


@pytest.mark.parametrize("code", ["7777", "-1", "500", "", "00", "0.0", "sfc_ic0003"])
def test_an_unknown_code_is_neither_success_nor_failure(code: str) -> None:
    meaning = meaning_of(code)
    assert (meaning.outcome, meaning.final, meaning.can_retry) == ("unknown", False, False)


def test_processing_is_not_final() -> None:
    assert not meaning_of("4999").final


@pytest.mark.parametrize(
    ("code", "reason", "can_retry", "wait_seconds"),
    [
        ("1", "insufficient_funds", True, 0),
        ("17", "repeated_too_soon", True, 120),
        ("1032", "cancelled_by_user", True, 0),
        ("1037", "no_response", True, 0),
        ("2001", "wrong_pin", True, 0),
        ("4", "daily_limit", False, 0),
        ("SFC_IC0003", "receiver_unknown", False, 0),
    ],
)
def test_a_failure_has_a_reason_and_says_whether_to_retry(
    code: str, reason: str, can_retry: bool, wait_seconds: int
) -> None:
    meaning = meaning_of(code)
    assert meaning.final
    assert (meaning.reason, meaning.can_retry, meaning.retry_after_seconds) == (
        reason,
        can_retry,
        wait_seconds,
    )


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://shop.example/pay/callbacks/abc/", ()),
        ("https://shop.example/api/payments/transactions/mpesa_callback/", ("mpesa",)),
        ("https://M-PESA.example/SQL", ("m-pesa", "sql")),
        ("https://shop.example/executor?query=1", ("exec", "exe", "query")),
    ],
)
def test_forbidden_words_are_found_in_any_case(url: str, words: tuple[str, ...]) -> None:
    assert forbidden_words_in(url) == words


@pytest.mark.parametrize(
    "wrong",
    [
        {"base_url": "daraja.example"},
        {"base_url": "https://daraja.example/"},
        {"base_url": "ftp://daraja.example"},
        {"base_url": "https://user:pass@daraja.example"},
        {"base_url": "https://daraja.example?x"},
        {"base_url": "https://daraja.example:99999"},
        {"consumer_key": ""},
        {"consumer_secret": "test-secret\n"},
        {"passkey": " testpasskey"},
        {"shortcode": "1743"},
        {"shortcode": "17437x"},
        {"transaction_type": "Paybill"},
        {"transaction_type": "CustomerBuyGoodsOnline"},
        {"party_b": "0712345678"},
        {"connect_timeout_seconds": 0},
        {"read_timeout_seconds": 61},
        {"query_timeout_seconds": 0},
        {"user_agent": "a\r\nb"},
        {"pool_size": 0},
        {"max_amount_shillings": 0},
    ],
)
def test_a_setting_that_cannot_work_is_named_and_not_shown(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidConfig) as refusal:
        make_config(**wrong)
    [(name, value)] = wrong.items()
    assert refusal.value.setting in (name, "party_b")
    assert not value or len(str(value)) < 3 or str(value) not in str(refusal.value)


def test_a_configuration_does_not_show_its_secrets() -> None:
    shown = repr(make_config())
    assert not [secret for secret in ("test-key", "test-secret", "testpasskey") if secret in shown]


def test_errors_survive_a_journey_between_processes() -> None:
    sent = Retryable("DARAJA_BUSY", "M-Pesa is busy.", "500.003.02", 120)
    arrived = pickle.loads(pickle.dumps(sent))
    assert (str(arrived), arrived.vendor_code, arrived.retry_after_seconds) == (str(sent), "500.003.02", 120)
    assert pickle.loads(pickle.dumps(MalformedCallback("too_deep"))).reason == "too_deep"
    assert pickle.loads(pickle.dumps(InvalidConfig("passkey", "No."))).setting == "passkey"
