"""Names that nobody reads are refused, and on the checkout contract's endpoints ignored and reported."""

from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from api.http.framework.blueprint import MAX_NAME_TOLD, MAX_NAMES_TOLD, UNKNOWN, WARNINGS

Bearer = Callable[..., dict[str, str]]
SESSIONS = "/api/payments/sessions/"
DELIVERY = {"phone_number": "0712345678", "county_id": 1}


def test_unknown_names_of_a_body_are_refused_together_with_all_that_is_wrong(
    client: FlaskClient, bearer: Bearer
) -> None:
    body = {"name": 7, "amount": 5, "delivery": {**DELIVERY, "city": "Nairobi"}}
    answer = client.post("/api/probes/orders/", json=body, headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error_code"] == "INVALID_INPUT"
    assert answer.json["errors"] == {
        "name": ["Write text."],
        "amount": [UNKNOWN],
        "delivery.city": [UNKNOWN],
    }


@pytest.mark.parametrize("path", ["/api/probes/list/?form=3&page=1", "/api/probes/who/?form=3"])
def test_unknown_names_of_a_query_are_refused_with_and_without_a_schema(
    client: FlaskClient, bearer: Bearer, path: str
) -> None:
    answer = client.get(path, headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["errors"] == {"form": [UNKNOWN]}


def test_the_contracts_endpoints_ignore_them_and_say_so(client: FlaskClient, bearer: Bearer) -> None:
    body = {"amount": 5, "delivery_details": {"city": "x", "full_name": ""}}
    answer = client.post(f"{SESSIONS}?from=1", json=body, headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert "amount" not in answer.json["errors"]
    assert answer.headers[WARNINGS] == ", ".join(
        f'"unknown name ignored: {name}"' for name in ("from", "amount", "delivery_details.city")
    )


def test_the_header_is_bounded_and_no_name_breaks_out_of_it(client: FlaskClient, bearer: Bearer) -> None:
    body = {f'"\r\nSet-Cookie: {number}é{"x" * 200}': 1 for number in range(50)}
    answer = client.post(SESSIONS, json=body, headers=bearer())
    assert "Set-Cookie" not in answer.headers
    warning = answer.headers[WARNINGS]
    assert warning.count("unknown name ignored") == MAX_NAMES_TOLD
    assert len(warning) < MAX_NAMES_TOLD * (3 * MAX_NAME_TOLD + 40)


def test_without_unknown_names_there_is_no_header(client: FlaskClient, bearer: Bearer) -> None:
    assert WARNINGS not in client.post(SESSIONS, json={}, headers=bearer()).headers
