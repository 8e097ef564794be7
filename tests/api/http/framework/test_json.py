from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from api.http.framework import json
from ledger.errors import InvalidValue


class Colour(StrEnum):
    RED = "red"


def test_amounts_keep_their_digits() -> None:
    assert (
        json.encode([json.amount(150_00), json.amount(5), json.amount_text(350_00)])
        == b'[150.00,0.05,"350.00"]'
    )


@pytest.mark.parametrize(
    ("thousandths", "shown"),
    [(2000, b"2.0"), (1500, b"1.5"), (1250, b"1.25"), (1255, b"1.255"), (10_000, b"10.0")],
)
def test_quantities_have_as_many_decimals_as_they_need(thousandths: int, shown: bytes) -> None:
    assert json.encode(json.quantity(thousandths)) == shown


def test_moments_are_whole_seconds_of_utc() -> None:
    nairobi = timezone(timedelta(hours=3))
    moments = [datetime(2024, 1, 15, 10, 30, 0, 999_999, UTC), datetime(2024, 1, 15, 13, 30, tzinfo=nairobi)]
    assert json.encode(moments) == b'["2024-01-15T10:30:00Z","2024-01-15T10:30:00Z"]'


def test_a_moment_without_a_zone_is_our_fault() -> None:
    with pytest.raises(ValueError, match="time zone"):
        json.encode(datetime(2024, 1, 15))  # noqa: DTZ001 - the lack of a zone is the point


def test_an_amount_that_is_no_number_is_our_fault() -> None:
    with pytest.raises(ValueError, match="infinite"):
        json.encode({"total": Decimal("NaN")})


def test_days_ids_words_and_null() -> None:
    value = [date(2024, 1, 15), UUID(int=1), Colour.RED, None, True]
    assert json.encode(value) == b'["2024-01-15","00000000-0000-0000-0000-000000000001","red",null,true]'


def test_equal_objects_have_one_canonical_form() -> None:
    assert json.canonical({"b": 1, "a": {"d": 2, "c": 3}}) == json.canonical({"a": {"c": 3, "d": 2}, "b": 1})


@given(st.binary(max_size=200))
def test_hostile_bytes_are_one_object_or_malformed(body: bytes) -> None:
    app = Flask("probe")
    with app.test_request_context("/", method="POST", data=body, content_type="application/json"):
        assert isinstance(read(), dict)


@pytest.mark.parametrize("number", [b"1e9999999999999999999", b"1e-99999999999999999999"])
def test_a_number_beyond_all_bounds_is_malformed(number: bytes) -> None:
    body = b'{"quantity": ' + number + b"}"
    with (
        Flask("probe").test_request_context("/", method="POST", data=body, content_type="application/json"),
        pytest.raises(InvalidValue) as refused,
    ):
        json.json_object()
    assert refused.value.code == "MALFORMED_JSON"


def read() -> dict[str, Any]:
    """Read the body; a refusal for its form counts as an empty one."""
    try:
        return json.json_object()
    except InvalidValue as refusal:
        if refusal.code != "MALFORMED_JSON":
            raise
        return {}


def test_a_view_answers_in_this_json(client: FlaskClient, bearer: object) -> None:
    assert callable(bearer)
    answer = client.get("/api/probes/things/550e8400-e29b-41d4-a716-446655440000", headers=bearer())
    assert answer.data == b'{"session_id":"550e8400-e29b-41d4-a716-446655440000","amount":150.00}'
