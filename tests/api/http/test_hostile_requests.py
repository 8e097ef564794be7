"""Hostile requests by someone who knows the code: each is refused for what it is, and none is a fault."""

from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient

Bearer = Callable[..., dict[str, str]]
LIST, ORDERS = "/api/probes/list/", "/api/probes/orders/"
SESSION = "550e8400-e29b-41d4-a716-446655440000"
ORDER = {"name": "a", "delivery": {"phone_number": "0712345678", "county_id": 1}}


@pytest.mark.parametrize(
    "path",
    [
        "/api/probes/%00/",
        "/api/probes/who/%00",
        "/api/probes//who/",
        "//api/probes/who/",
        "/api/probes/things/../who/",
        "/api/probes/things/%2e%2e/who/",
        "/api/probes/things/..%2fwho/",
        "/api/probes/who;/",
        "/api/probes/who/.json",
        "/api/probes/WHO/",
        "/API/probes/who/",
        "/api/probes/things/%F0%9F%92%A9/",
        "/api/probes/things/%ff%fe/",
        f"/api/probes/things/{SESSION}%0a/",
        f"/api/probes/things/{{{SESSION}}}/",
        "/docs/static/%2e%2e/%2e%2e/auth.py",
        "/docs/static/../../auth.py",
        "/static/app.py",
        "/" + "a" * 4_000,
    ],
)
def test_a_path_that_only_resembles_one_of_ours_leads_nowhere(
    client: FlaskClient, bearer: Bearer, path: str
) -> None:
    answer = client.get(path, headers=bearer())
    assert answer.status_code == 404, answer.text
    assert answer.mimetype == "application/json"


@pytest.mark.parametrize(
    "query",
    [
        "page=1e9",
        "page=%D9%A1",
        "page=1_000",
        "page=+-1",
        "page=1%00",
        "page=" + "9" * 5_000,
        "page[]=0&page=0",
        "page_size=-1",
        "page_size=NaN",
        "as_of=2024-01-15T10:30:00Z",
        "as_of=0000-00-00T00:00:00.000000Z",
        "as_of=%D9%A2%D9%A0%D9%A2%D9%A4-01-15T10:30:00.000000Z",
        "as_of=",
        "cursor=",
        "cursor=after",
        "cursor=after~2024-01-15T10:30:00.000000Z~x",
        "cursor=after~2024-02-31T10:30:00.000000Z~0190a6f0-0000-7000-8000-000000000000",
        "cursor=about~2024-01-15T10:30:00.000000Z~0190a6f0-0000-7000-8000-000000000000",
    ],
)
def test_a_query_that_cannot_be_read_is_400(client: FlaskClient, bearer: Bearer, query: str) -> None:
    answer = client.get(f"{LIST}?{query}", headers=bearer())
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "query",
    [
        "page=1&page=2",
        "x=" + "a" * 3_000,
        "%00=%00",
        "%ff=%fe",
        "&&&==",
        "page=1;page=2",
        "=".join("a" * 999),
    ],
)
def test_a_query_that_is_merely_odd_does_no_harm(client: FlaskClient, bearer: Bearer, query: str) -> None:
    answer = client.get(f"{LIST}?{query}", headers=bearer())
    assert answer.status_code in (200, 400)
    assert "\x00" not in answer.text


def test_a_list_repeats_no_odd_parameter(client: FlaskClient, bearer: Bearer) -> None:
    answer = client.get(f"{LIST}?x=%0d%0aSet-Cookie:%20a=b%22%3Cscript%3E", headers=bearer())
    assert answer.status_code == 400
    assert "script" not in answer.text


@pytest.mark.parametrize("name", ["token", "access_token", "Authorization", "bearer"])
def test_a_token_counts_in_its_header_only(client: FlaskClient, bearer: Bearer, name: str) -> None:
    token = bearer()["Authorization"]
    client.set_cookie(name, token)
    client.set_cookie(name.lower(), token.removeprefix("Bearer "))
    answer = client.get("/api/probes/who/", query_string={name: token.removeprefix("Bearer ")})
    assert answer.status_code == 401
    form = client.post("/api/probes/counted/", data={name: token})
    assert form.status_code == 401


@pytest.mark.parametrize("header", ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"])
def test_a_method_is_what_the_request_line_says(client: FlaskClient, bearer: Bearer, header: str) -> None:
    answer = client.get(ORDERS, headers=bearer() | {header: "POST"}, query_string={"_method": "POST"})
    assert answer.status_code == 405


def test_headers_that_look_like_paths_and_users_mean_nothing(client: FlaskClient, bearer: Bearer) -> None:
    claimed = {
        "X-Original-URL": "/metrics",
        "X-Rewrite-URL": "/metrics",
        "X-User": "1",
        "X-Roles": "operator",
    }
    answer = client.get("/api/probes/who/", headers=bearer(7) | claimed)
    assert answer.json == {"user": 7, "roles": ["customer"]}


@pytest.mark.parametrize(
    "given",
    ["a" * 65, "short", "a\tb\tc\td\te", "<script>alert</script>", "\uff41" * 8, "'; DROP TABLE --"],
)
def test_a_request_id_that_could_forge_a_log_line_is_replaced(client: FlaskClient, given: str) -> None:
    answer = client.get("/healthz", environ_overrides={"HTTP_X_REQUEST_ID": given})
    assert answer.headers["X-Request-ID"] != given
    assert len(answer.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("method", ["HEAD", "OPTIONS"])
def test_asking_about_an_address_needs_a_token_as_well(
    client: FlaskClient, bearer: Bearer, method: str
) -> None:
    assert client.open("/api/probes/who/", method=method).status_code == 401
    answer = client.open("/api/probes/who/", method=method, headers=bearer())
    assert (answer.status_code, answer.data) == (200, b"")


def test_a_browser_of_another_origin_gets_no_leave(client: FlaskClient, bearer: Bearer) -> None:
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for answer in (
        client.options(ORDERS, headers=asked),
        client.get("/api/probes/who/", headers=bearer() | asked),
    ):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]
        assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 201),
        ("application/json; charset=utf-8", 201),
        ("APPLICATION/JSON", 201),
        ("application/vnd.shop+json", 201),
        ("text/plain", 415),
        ("text/plain; application/json", 415),
        ("application/x-www-form-urlencoded", 415),
        ("multipart/form-data; boundary=x", 415),
        ("application/jsonp", 415),
        ("", 415),
    ],
)
def test_only_json_is_read_so_that_no_form_of_a_browser_can_write(
    client: FlaskClient, bearer: Bearer, content_type: str, status: int
) -> None:
    body = b'{"name": "a", "delivery": {"phone_number": "0712345678", "county_id": 1}}'
    answer = client.post(ORDERS, data=body, content_type=content_type, headers=bearer())
    assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 30_000,
        b'{"a":' * 10_000,
        b'{"name": 1e999999999}',
        b'{"name": ' + b"9" * 60_000 + b"}",
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b'{"name": "\xff"}',
        b'{"name": "a\\u0000b"}',
        b'{"name\\u0000": "a"}',
        b'\xef\xbb\xbf{"name": "a"}',
        b'{"name": "a"} {"name": "b"}',
        b"{'name': 'a'}",
        b'{"name": "a",}',
        b'{"__proto__": {"name": "a"}, "constructor": 1}',
    ],
)
def test_a_body_made_to_hurt_is_400(client: FlaskClient, bearer: Bearer, body: bytes) -> None:
    answer = client.post(ORDERS, data=body, content_type="application/json", headers=bearer())
    assert answer.status_code == 400, answer.text


@pytest.mark.parametrize(
    "changed",
    [
        {"county_id": "\u0661"},
        {"county_id": 1.0},
        {"county_id": True},
        {"county_id": 2**63},
        {"county_id": -1},
        {"phone_number": "٠٧١٢٣٤٥٦٧٨"},
        {"phone_number": "0712345678\n"[:-1] + "\u202e"},
        {"phone_number": {"$gt": ""}},
    ],
)
def test_what_only_looks_like_a_number_is_none(
    client: FlaskClient, bearer: Bearer, changed: dict[str, Any]
) -> None:
    delivery = {"phone_number": "0712345678", "county_id": 1} | changed
    answer = client.post(ORDERS, json=ORDER | {"delivery": delivery}, headers=bearer())
    assert answer.status_code == 400
    assert answer.json is not None
    assert list(answer.json["errors"]) == [f"delivery.{next(iter(changed))}"]


@pytest.mark.parametrize(
    "given",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic dTpw",
        "Bearer a b",
        "Bearer " + "a" * 9_000,
        "bearer\t",
        "Bearer é",
        "Bearer ..",
        "Bearer null",
    ],
)
def test_a_header_that_is_no_token_is_401(client: FlaskClient, given: str) -> None:
    answer = client.get("/api/probes/who/", headers={"Authorization": given})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


@pytest.mark.parametrize("key", ["", " ", "a b", "é", "a" * 256, "a\tb"])
def test_a_key_that_is_none_is_400(client: FlaskClient, bearer: Bearer, key: str) -> None:
    answer = client.post(ORDERS, json=ORDER, headers=bearer() | {"Idempotency-Key": key})
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error_code"] == "INVALID_IDEMPOTENCY_KEY"
