from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from freezegun import freeze_time
from marshmallow import ValidationError

from tests.api.http.probes import Order

Bearer = Callable[..., dict[str, str]]
GOOD: dict[str, Any] = {"name": "Asha", "delivery": {"phone_number": "0712345678", "county_id": 1}}


def load(**changes: Any) -> dict[str, Any]:
    delivery = GOOD["delivery"] | changes.pop("delivery", {})
    return Order().load(GOOD | changes | {"delivery": delivery})  # type: ignore[no-any-return]


def refuses(**changes: Any) -> bool:
    with pytest.raises(ValidationError):
        load(**changes)
    return True


@pytest.mark.parametrize(
    "typed",
    ["0712345678", "+254712345678", "254712345678", "712345678", "0712 345 678", " 0712-345-678 "],
)
def test_a_phone_number_is_read_as_people_type_it(typed: str) -> None:
    assert str(load(delivery={"phone_number": typed})["delivery"]["phone_number"]) == "254712345678"


@pytest.mark.parametrize(
    "typed",
    [
        "0",
        "07abc",
        "254",
        712345678,
        712345678.0,
        "",
        None,
        True,
        [],
        {},
        "7" * 16,
        "+447700900123",
        "x" * 9999,
    ],
)
def test_what_mpesa_cannot_prompt_is_no_phone_number(typed: Any) -> None:
    assert refuses(delivery={"phone_number": typed})


@pytest.mark.parametrize("given", ["abc", "1", None, 1.0, 1.5, True, False, 0, -1, 2**31, 10**30, [], {}])
def test_an_id_is_a_positive_json_integer(given: Any) -> None:
    assert refuses(delivery={"county_id": given})


def test_text_is_trimmed_and_may_be_anything_that_people_write() -> None:
    assert load(name="  Wanjirũ 🍅 O'Neil ")["name"] == "Wanjirũ 🍅 O'Neil"
    assert load(note="Gate 4\r\nBlue door")["note"] == "Gate 4\nBlue door"
    assert load(note="")["note"] == ""
    assert load(note=None)["note"] is None
    assert load(name="x" * 100)["name"] == "x" * 100


@pytest.mark.parametrize(
    "given", ["", "   ", "x" * 101, "a\x00b", "a\x1bb", None, 7, True, ["Asha"], {"a": 1}]
)
def test_text_has_bounds_and_no_control_characters(given: Any) -> None:
    assert refuses(name=given)


@pytest.mark.parametrize(
    "given", ["15/01/2024", "20240115", "2024-W03-1", "2024-1-5", "2024-02-30", "", None, 20240115]
)
def test_a_day_has_one_form(given: Any) -> None:
    assert refuses(wanted_on=given)


@freeze_time("2024-01-14T21:30:00Z")
def test_a_delivery_day_is_today_or_later_in_nairobi() -> None:
    assert str(load(deliver_on="2024-01-15")["deliver_on"]) == "2024-01-15"
    assert refuses(deliver_on="2024-01-14")
    assert refuses(deliver_on="2026-01-15")


@pytest.mark.parametrize("given", ["night", "Morning", "", 1, None, ["morning"]])
def test_a_time_slot_is_one_of_its_words(given: Any) -> None:
    assert refuses(slot=given)
    assert load(slot="morning")["slot"] == "morning"


def test_names_that_are_not_ours_are_refused() -> None:
    assert refuses(total_amount=1)


def test_all_that_is_wrong_comes_in_one_answer_with_nested_fields_by_path(
    client: FlaskClient, bearer: Bearer
) -> None:
    wrong = {"name": "", "delivery": {"phone_number": 7, "county_id": "x"}, "slot": "night"}
    answer = client.post("/api/probes/orders/", json=wrong, headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error_code"] == "INVALID_INPUT"
    assert set(answer.json["errors"]) == {"name", "delivery.phone_number", "delivery.county_id", "slot"}
    assert all(isinstance(found, list) and found for found in answer.json["errors"].values())


def test_an_absent_body_is_an_empty_one(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.post("/api/probes/orders/", headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert set(answer.json["errors"]) == {"name", "delivery"}


def test_a_sound_body_reaches_the_view(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.post("/api/probes/orders/", json=GOOD, headers=bearer())
    assert (answer.status_code, answer.json) == (201, {"name": "Asha", "phone": "254712345678"})
