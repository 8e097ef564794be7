from collections.abc import Callable

import pytest
from flask.testing import FlaskClient

from api.http.framework.json import MAX_BODY_BYTES, MAX_DEPTH

Bearer = Callable[..., dict[str, str]]
PROBLEM = "application/problem+json"


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        ("value", 400, "INVALID_INPUT"),
        ("rejected", 400, "PROBE_REJECTED"),
        ("missing", 404, "NOT_FOUND"),
        ("conflict", 409, "CONFLICT"),
        ("down", 503, "UNAVAILABLE"),
    ],
)
def test_each_kind_of_refusal_has_its_status(
    client: FlaskClient, bearer: Bearer, kind: str, status: int, code: str
) -> None:
    answer = client.get(f"/api/probes/refusals/{kind}/", headers=bearer())
    assert (answer.status_code, answer.mimetype) == (status, "application/json")
    assert answer.json is not None
    assert answer.json["status"] == "error"
    assert answer.json["error_code"] == code
    assert answer.json["message"]


def test_wrong_fields_are_named(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.get("/api/probes/refusals/value/", headers=bearer())
    assert answer.json is not None
    assert answer.json["errors"] == {"name": ["Write text."]}


def test_an_answer_that_may_change_soon_says_when_to_ask_again(client: FlaskClient, bearer: Bearer) -> None:
    assert client.get("/api/probes/refusals/busy/", headers=bearer()).headers["Retry-After"] == "3"
    assert client.get("/api/probes/refusals/down/", headers=bearer()).headers["Retry-After"] == "2"
    assert "Retry-After" not in client.get("/api/probes/refusals/conflict/", headers=bearer()).headers


def test_a_client_that_asks_for_problem_details_gets_them(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.get("/api/probes/refusals/value/", headers=bearer() | {"Accept": PROBLEM})
    assert (answer.status_code, answer.mimetype) == (400, PROBLEM)
    assert answer.json == {
        "type": "/docs/#INVALID_INPUT",
        "title": "Bad Request",
        "status": 400,
        "detail": "Look at the fields.",
        "error_code": "INVALID_INPUT",
        "errors": {"name": ["Write text."]},
    }


@pytest.mark.parametrize(
    ("accept", "mimetype"),
    [
        ("application/json, application/problem+json", PROBLEM),
        ("application/problem+json;q=0.5, application/json", "application/json"),
        ("application/problem+json;q=0", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
    ],
)
def test_the_form_follows_what_is_accepted(
    client: FlaskClient, bearer: Bearer, accept: str, mimetype: str
) -> None:
    answer = client.get("/api/probes/refusals/rejected/", headers=bearer() | {"Accept": accept})
    assert answer.mimetype == mimetype


def test_a_fault_is_500_and_says_nothing_but_its_request_id(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.get("/api/probes/refusals/fault/", headers=bearer())
    assert answer.status_code == 500
    assert answer.json is not None
    assert answer.json["error_code"] == "INTERNAL_ERROR"
    assert answer.json["request_id"] == answer.headers["X-Request-ID"]
    assert "254712345678" not in answer.text


def test_another_method_is_405_and_names_those_that_work(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.patch("/api/probes/orders/", headers=bearer(), json={})
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "OPTIONS, POST"
    assert answer.json is not None
    assert answer.json["error_code"] == "METHOD_NOT_ALLOWED"


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"nothing",
        b"[]",
        b"null",
        b'"text"',
        b"7",
        b'{"name": NaN}',
        b'{"name": "\xff"}',
        b'{"name": "\\ud800"}',
        b'{"name": "\\udc00 and more text behind it"}',
        b'{"name": "a\\u0000b"}',
        b'{"a\\u0000b": 1}',
        b'{"delivery": [{"x": "\\u0000"}]}',
        b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1),
        b'{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        b'{"a":' + b"9" * 10_000 + b"}",
        b'\xef\xbb\xbf{"name": "x"}',
    ],
)
def test_a_body_that_is_not_one_sound_object_is_400(client: FlaskClient, bearer: Bearer, body: bytes) -> None:
    answer = client.post("/api/probes/orders/", headers=bearer(), data=body, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error_code"] == "MALFORMED_JSON"


def test_a_body_that_is_too_large_is_413(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.post("/api/probes/orders/", headers=bearer(), json={"name": "x" * MAX_BODY_BYTES})
    assert answer.status_code == 413
    assert answer.json is not None
    assert answer.json["error_code"] == "BODY_TOO_LARGE"


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", None])
def test_a_body_that_is_not_called_json_is_415(
    client: FlaskClient, bearer: Bearer, content_type: str | None
) -> None:
    answer = client.post(
        "/api/probes/orders/", headers=bearer(), data=b'{"name": "x"}', content_type=content_type
    )
    assert answer.status_code == 415
    assert answer.json is not None
    assert answer.json["error_code"] == "UNSUPPORTED_MEDIA_TYPE"


@pytest.mark.parametrize("path", ["/api/probes/who", "/api/probes/who/", "/healthz", "/healthz/"])
def test_a_slash_at_the_end_is_optional_and_never_a_redirect(
    client: FlaskClient, bearer: Bearer, path: str
) -> None:
    assert client.get(path, headers=bearer()).status_code == 200


def test_post_works_without_the_slash(client: FlaskClient, bearer: Bearer) -> None:
    order = {"name": "Asha", "delivery": {"phone_number": "0712345678", "county_id": 1}}
    assert client.post("/api/probes/orders", headers=bearer(), json=order).status_code == 201


def test_a_doubled_slash_is_404_and_not_a_redirect(client: FlaskClient, bearer: Bearer) -> None:
    assert client.get("/api//probes/who/", headers=bearer()).status_code == 404
