"""What scripts of other origins may do, as their browsers are told."""

import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from typing import Any
from uuid import UUID

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.http.framework import CALLBACK_PREFIXES
from api.http.middleware.cross_origin import METHODS, PREFLIGHT
from api.http.middleware.logging import configure_logging
from api.http.middleware.request_metrics import EXTENSION
from api.settings import Settings

Bearer = Callable[..., dict[str, str]]

SHOP = "https://shop.example"
OTHER_SHOP = "http://localhost:3000"
SENT = "authorization,content-type,idempotency-key,last-event-id,traceparent"
VARIABLES = {
    "int": "7",
    "uuid": "a38d0889-82a5-42db-b32b-2746a2a26d6f",
    "string": "word",
    "default": "word",
    "path": "a/b",
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return replace(settings, daftari_cors_origins=(SHOP, OTHER_SHOP))


def ask_leave(
    client: FlaskClient, path: str, method: str = "POST", origin: str = SHOP, **headers: str
) -> TestResponse:
    asked = {"Origin": origin, "Access-Control-Request-Method": method}
    return client.options(path, headers={**asked, "Access-Control-Request-Headers": SENT, **headers})


def listed(answer: TestResponse, name: str) -> set[str]:
    return set(answer.headers[name].split(", "))


def leave_in(answer: TestResponse) -> dict[str, str]:
    """Return the headers that tell a browser something, and see that none of them is about cookies."""
    assert "Set-Cookie" not in answer.headers
    told = {name: value for name, value in answer.headers if name.startswith("Access-Control")}
    assert "Access-Control-Allow-Credentials" not in told
    return told


def paths_of(app: Flask) -> dict[str, set[str]]:
    """Return the methods of every path under /api/, its variables filled in."""
    found: dict[str, set[str]] = {}
    for rule in app.url_map.iter_rules():
        if rule.rule.startswith("/api/"):
            path = re.sub(
                r"<(?:(\w+)(?:\([^)]*\))?:)?\w+>", lambda match: VARIABLES[match[1] or "default"], rule.rule
            )
            found.setdefault(path, set()).update(rule.methods or ())
    return found


def test_every_path_of_the_api_tells_its_methods_without_a_token(app: Flask, client: FlaskClient) -> None:
    paths = paths_of(app)
    shared = {path: methods for path, methods in paths.items() if not path.startswith(CALLBACK_PREFIXES)}
    assert len(shared) > 40
    assert len(shared) < len(paths)
    for path, methods in shared.items():
        for asked in (path, path.rstrip("/")):
            answer = ask_leave(client, asked)
            assert (answer.status_code, answer.data) == (204, b""), path
            assert listed(answer, "Access-Control-Allow-Methods") == methods - {"OPTIONS"}, path


def test_a_preflight_says_what_may_be_sent_and_for_how_long(client: FlaskClient) -> None:
    for origin in (SHOP, OTHER_SHOP):
        answer = ask_leave(client, "/api/payments/sessions/", origin=origin)
        assert leave_in(answer)["Access-Control-Allow-Origin"] == origin
        allowed = {name.lower() for name in listed(answer, "Access-Control-Allow-Headers")}
        assert set(SENT.split(",")) <= allowed
        assert answer.headers["Access-Control-Max-Age"] == "7200"
        assert answer.headers.getlist("Vary") == ["Origin"]


def test_a_path_that_does_not_exist_can_be_asked_and_is_read_as_missing(
    client: FlaskClient, bearer: Bearer
) -> None:
    for path in ("/api/nothing/", "/api/payments/sessions/no-id/status/"):
        assert listed(ask_leave(client, path), "Access-Control-Allow-Methods") == set(METHODS)
        answer = client.get(path, headers=bearer() | {"Origin": SHOP})
        assert answer.status_code == 404
        assert leave_in(answer)["Access-Control-Allow-Origin"] == SHOP


@pytest.mark.parametrize(
    ("method", "path", "status", "sent"),
    [
        ("GET", "/api/probes/who/", 200, {}),
        ("HEAD", "/api/probes/who/", 200, {}),
        ("POST", "/api/probes/refusals/rejected/", 400, {}),
        ("GET", "/api/probes/who/", 401, {"headers": {"Authorization": "Bearer wrong"}}),
        ("GET", "/api/audit/log/", 403, {}),
        ("POST", "/api/probes/refusals/missing/", 404, {}),
        ("DELETE", "/api/probes/who/", 405, {}),
        ("POST", "/api/probes/refusals/busy/", 409, {}),
        ("POST", "/api/probes/orders/", 413, {"json": {"name": "x" * 70_000}}),
        ("POST", "/api/probes/orders/", 415, {"data": "name"}),
        ("POST", "/api/probes/refusals/fault/", 500, {}),
        ("POST", "/api/probes/refusals/down/", 503, {}),
    ],
)
def test_every_answer_can_be_read_there(
    client: FlaskClient, bearer: Bearer, method: str, path: str, status: int, sent: dict[str, Any]
) -> None:
    headers = bearer() | {"Origin": SHOP} | sent.pop("headers", {})
    answer = client.open(path, method=method, headers=headers, **sent)
    assert answer.status_code == status
    told = leave_in(answer)
    assert told["Access-Control-Allow-Origin"] == SHOP
    assert answer.headers.getlist("Vary") == ["Origin"]
    assert {"Retry-After", "Idempotency-Replayed", "Daftari-Warnings", "X-Request-ID"} <= listed(
        answer, "Access-Control-Expose-Headers"
    )


def test_who_sends_too_much_can_read_for_how_long_to_wait(
    make_app: Callable[[Settings], Flask], settings: Settings, bearer: Bearer
) -> None:
    client = make_app(replace(settings, daftari_reads_per_minute=1)).test_client()
    answers = [client.get("/api/probes/who/", headers=bearer() | {"Origin": SHOP}) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 429]
    assert leave_in(answers[1])["Access-Control-Allow-Origin"] == SHOP
    assert answers[1].headers["Retry-After"] == "60"


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "https://shop.example.evil.example",
        "https://a.shop.example",
        "http://shop.example",
        "https://shop.example:8443",
        "https://shop.example/",
        "https://SHOP.example",
        "http://localhost:3001",
        "null",
        "*",
        "",
    ],
)
def test_another_origin_gets_no_leave_and_caches_are_told_that_it_matters(
    client: FlaskClient, bearer: Bearer, origin: str
) -> None:
    refused = ask_leave(client, "/api/payments/sessions/", origin=origin)
    read = client.get("/api/probes/who/", headers=bearer() | {"Origin": origin})
    without = client.get("/api/probes/who/", headers=bearer())
    assert [answer.status_code for answer in (refused, read, without)] == [401, 200, 200]
    for answer in (refused, read, without):
        assert leave_in(answer) == {}
        assert answer.headers.getlist("Vary") == ["Origin"]


@pytest.mark.parametrize(
    "path",
    [
        "/api/payments/callbacks/token/",
        "/api/payments/transactions/mpesa_callback/",
        "/api/payments/c2b/confirmation/token/",
        "/api/payments/results/token/",
        "/console/",
        "/console/sign-in/",
        "/docs/",
        "/healthz",
        "/openapi.json",
    ],
)
def test_callbacks_and_pages_are_for_no_other_origin(client: FlaskClient, path: str) -> None:
    for answer in (ask_leave(client, path), client.get(path, headers={"Origin": SHOP})):
        assert not [name for name, _ in answer.headers if name.startswith("Access-Control")]


def test_preflights_of_an_address_are_limited(
    make_app: Callable[[Settings], Flask], settings: Settings
) -> None:
    app = make_app(replace(settings, daftari_reads_per_minute=2, daftari_trusted_proxies=1))
    client = app.test_client()

    def ask(address: str) -> TestResponse:
        return ask_leave(client, "/api/cart/", "GET", **{"X-Forwarded-For": address})

    assert [ask("203.0.113.1").status_code for _ in range(3)] == [204, 204, 429]
    assert ask("203.0.113.1").headers["Retry-After"] == "60"
    assert ask("203.0.113.1").headers["Access-Control-Allow-Origin"] == SHOP
    assert ask("203.0.113.2").status_code == 204


def test_a_preflight_is_logged_and_counted_without_its_path(app: Flask, client: FlaskClient) -> None:
    log = StringIO()
    configure_logging("json", log)
    answer = ask_leave(client, f"/api/payments/sessions/{UUID(int=1)}/status/", "GET")
    [line] = log.getvalue().splitlines()
    assert f'"route":"{PREFLIGHT}"' in line
    assert answer.headers["X-Request-ID"] in line
    assert str(UUID(int=1)) not in line
    counted = app.extensions[EXTENSION].registry.get_sample_value(
        "daftari_http_request_seconds_count", {"method": "OPTIONS", "route": PREFLIGHT, "status": "204"}
    )
    assert counted == 1


def test_without_origins_an_answer_says_nothing_of_them(
    make_app: Callable[[Settings], Flask], settings: Settings, bearer: Bearer
) -> None:
    client = make_app(replace(settings, daftari_cors_origins=())).test_client()
    named = {"X-Request-ID": "compared-1"}
    plain = client.get("/api/probes/who/", headers=bearer() | named)
    asked = client.get("/api/probes/who/", headers=bearer() | named | {"Origin": SHOP})
    assert (list(asked.headers), asked.data) == (list(plain.headers), plain.data)
    assert "Vary" not in asked.headers
    refused = ask_leave(client, "/api/payments/sessions/")
    assert (refused.status_code, leave_in(refused)) == (401, {})
