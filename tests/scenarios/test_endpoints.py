"""Access rights of every endpoint, lists, histories and credentials."""

import base64
import hashlib
import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
from click.testing import CliRunner

from api.cli import main
from api.issued_tokens import make_token
from api.local.databases import stored_credentials
from api.local.local_settings import local_settings
from tests.scenarios.steps import PAYS_AT_ONCE, TOMATOES, at_once, event_names, observe, put_in_cart
from tests.support.instance import DELIVERY, Client, Instance
from tests.support.suites import others_in_system

OWNER_ENDPOINTS = (
    ("GET", ""),
    ("GET", "status/"),
    ("GET", "events/"),
    ("POST", "initiate_payment/"),
    ("POST", "extend_session/"),
)
CUSTOMER_ENDPOINTS = (
    ("GET", "/api/payments/sessions/"),
    ("POST", "/api/payments/sessions/"),
    ("GET", "/api/cart/"),
    ("PUT", f"/api/cart/items/{TOMATOES}/"),
    ("DELETE", f"/api/cart/items/{TOMATOES}/"),
    ("GET", "/api/orders/1/"),
)


def _endpoints_of(session_id: str) -> list[tuple[str, str]]:
    own = [(method, f"/api/payments/sessions/{session_id}/{rest}") for method, rest in OWNER_ENDPOINTS]
    return [*CUSTOMER_ENDPOINTS, *own]


def _bad_tokens(instance: Instance) -> dict[str, str]:
    now = datetime.now(UTC)
    good = {
        "sub": "1",
        "roles": ["customer"],
        "exp": now + timedelta(minutes=5),
        "iss": "daftari",
        "aud": "daftari",
    }
    secret = instance.settings.daftari_jwt_secret
    sign = partial(jwt.encode, key=secret, algorithm="HS256")
    header, claims, _ = sign(good).split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').rstrip(b"=").decode()
    return {
        "expired": sign(good | {"exp": now - timedelta(minutes=5)}),
        "not yet valid": sign(good | {"nbf": now + timedelta(minutes=5)}),
        "without an end": sign({name: value for name, value in good.items() if name != "exp"}),
        "without a subject": sign({name: value for name, value in good.items() if name != "sub"}),
        "of alg none": f"{none}.{claims}.",
        "of alg none, signed": jwt.encode(good, "", algorithm="none"),
        "of another key": jwt.encode(good, "x" * 64, algorithm="HS256"),
        "of another algorithm": jwt.encode(good, secret, algorithm="HS512"),
        "of another issuer": sign(good | {"iss": "somebody"}),
        "for somebody else": sign(good | {"aud": "somebody"}),
        "without a signature": f"{header}.{claims}.",
        "of an empty subject": sign(good | {"sub": ""}),
        "of a subject that is too long": sign(good | {"sub": "9" * 129}),
        "of a number that is given out to users by text": sign(good | {"sub": str(2**52 + 7)}),
        "of no form": "x",
        "too long": "x" * 100_000,
    }


def test_no_endpoint_answers_without_a_valid_token(instance: Instance, buyer: Client) -> None:
    blueprint = _endpoints_of(buyer.create().json()["session_id"])
    for method, path in blueprint:
        answer = instance.anonymous().request(method, path)
        assert (answer.status_code, answer.json()["error_code"]) == (401, "TOKEN_MISSING"), path
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    for name, token in _bad_tokens(instance).items():
        client = Client(instance.base_url, token if len(token) < 10_000 else None)
        for method, path in blueprint if name in ("expired", "of alg none") else blueprint[:1]:
            answer = client.request(method, path)
            expected = "TOKEN_INVALID" if len(token) < 10_000 else "TOKEN_MISSING"
            assert (answer.status_code, answer.json()["error_code"]) == (401, expected), (name, path)


def test_the_wrong_role_is_refused(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    for role in ("auditor", "analyst", "operator"):
        for method, path in _endpoints_of(session_id):
            answer = instance.client(1, role).request(method, path)
            assert (answer.status_code, answer.json()["error_code"]) == (403, "ROLE_REQUIRED"), (role, path)
    answer = buyer.put(f"/api/catalogue/{TOMATOES}/", json={})
    assert (answer.status_code, answer.json()["error_code"]) == (403, "ROLE_REQUIRED")


def test_another_buyers_session_looks_like_a_missing_one(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    before = event_names(instance, session_id)
    thief = instance.client(2)
    for method, rest in OWNER_ENDPOINTS:
        answers = [
            thief.request(method, f"/api/payments/sessions/{wanted}/{rest}")
            for wanted in (session_id, uuid4())
        ]
        assert [answer.status_code for answer in answers] == [404, 404]
        assert answers[0].json() == answers[1].json()
        assert answers[0].json()["error_code"] == "SESSION_NOT_FOUND"
        for wanted in ("1", "not-a-uuid", session_id[:-1], f"{session_id}0", "%00", "..%2f.."):
            assert thief.request(method, f"/api/payments/sessions/{wanted}/{rest}").status_code == 404
    assert thief.get("/api/payments/sessions/").json()["count"] == 0
    assert event_names(instance, session_id) == before
    assert instance.simulator.submissions() == 0


def test_a_session_takes_no_other_methods(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    own = f"/api/payments/sessions/{session_id}/"
    for method in ("PATCH", "PUT", "DELETE"):
        for path in (
            "/api/payments/sessions/",
            own,
            f"{own}status/",
            f"{own}initiate_payment/",
            f"{own}events/",
        ):
            answer = buyer.request(method, path, json={"session_status": "paid"})
            assert (answer.status_code, answer.json()["error_code"]) == (405, "METHOD_NOT_ALLOWED"), path
            assert answer.headers["Allow"]
    assert buyer.post(own).status_code == 405
    assert buyer.status(session_id)["session_status"] == "pending"


def test_no_endpoint_fakes_a_payment(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    rules = {rule.rule for rule in instance.app.url_map.iter_rules()}
    assert not [rule for rule in rules if "simulat" in rule]
    of_sessions = {rule for rule in rules if "/sessions/" in rule}
    assert not [rule for rule in of_sessions if "confirm" in rule or "approve" in rule or "complete" in rule]
    for rest in ("simulate_payment/", "confirm/", "pay/", "complete/"):
        assert buyer.post(f"/api/payments/sessions/{session_id}/{rest}").status_code == 404


def test_a_list_is_newest_first_and_stands_still_while_sessions_are_created(buyer: Client) -> None:
    path = "/api/payments/sessions/"
    made = [buyer.create().json()["session_id"] for _ in range(7)]
    first = buyer.get(f"{path}?page_size=3").json()
    assert (first["count"], first["previous"]) == (7, None)
    seen = [row["session_id"] for row in first["results"]]
    page = first
    for _ in range(2):
        buyer.create()
        answer = buyer.get(page["next"].removeprefix(buyer.get(path).url.rpartition(path)[0]))
        page = answer.json()
        assert page["count"] == 7
        seen += [row["session_id"] for row in page["results"]]
    assert seen == made[::-1]
    assert page["next"] is None
    assert page["previous"] is not None
    assert buyer.get(path).json()["count"] == 9


def test_a_list_refuses_invalid_pages(buyer: Client) -> None:
    buyer.create()
    path = "/api/payments/sessions/"
    assert len(buyer.get(f"{path}?page_size=1000000").json()["results"]) == 1
    beyond = buyer.get(f"{path}?page=999")
    assert (beyond.status_code, beyond.json()["results"]) in ((200, []), (404, None))
    for query in (
        "page=0", "page=-1", "page=x", "page=1.5", "page=99999999999999999999", "page_size=0", "page_size=-5",
        "page_size=x", "status=lost", "status=", "as_of=now", "as_of=2026-13-01", "page=%00",
    ):  # fmt: skip
        answer = buyer.get(f"{path}?{query}")
        assert answer.status_code == 400, query


@pytest.mark.parametrize("polls", others_in_system([120, 1_008], 120))
def test_reading_changes_no_row(instance: Instance, buyer: Client, polls: int) -> None:
    session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    before = _all_rows(instance)

    def poll() -> set[int]:
        client = instance.client(1)
        path = f"/api/payments/sessions/{session_id}/"
        return {
            client.get(f"{path}{rest}").status_code
            for rest in ("status/", "", "events/")
            for _ in range(polls // 12)
        }

    assert at_once([poll] * 4) == [{200}] * 4
    assert _all_rows(instance) == before


def test_the_owner_sees_every_event_of_the_history_without_internal_values(
    instance: Instance, buyer: Client
) -> None:
    session_id = instance.pay(buyer, phone_number=PAYS_AT_ONCE)
    instance.work()
    answer = buyer.get(f"/api/payments/sessions/{session_id}/events/")
    assert buyer.events(session_id) == event_names(instance, session_id)
    for inside in ("sealed", "digest", "hash", "position", "token", "254700", "ws_CO_"):
        assert inside not in answer.text


def _all_rows(instance: Instance) -> dict[str, list[tuple[Any, ...]]]:
    tables = observe(instance, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    return {
        name: observe(instance, f"SELECT t::text, xmin::text FROM {name} t ORDER BY 1") for [name] in tables
    }


@pytest.fixture
def shell(database_url: str, data_folder: Path) -> dict[str, str]:
    """The environment of an operator with a database and a data folder."""
    kept = {"DATABASE_URL": database_url, "DAFTARI_DATA_DIR": str(data_folder)}
    return {**{name: "" for name in os.environ if name.startswith("MPESA_")}, **kept}


def _set(shell: dict[str, str], *arguments: str, **variables: str) -> str:
    result = CliRunner().invoke(main, ["set-mpesa-credentials", *arguments], env={**shell, **variables})
    assert result.exit_code == 0, result.output
    return result.output


def test_credentials_can_be_stored_one_by_one_and_are_never_shown(shell: dict[str, str]) -> None:
    output = _set(
        shell, "--consumer-key", "key-one", "--consumer-secret", "a-secret", "--passkey", "a-passkey"
    )
    output += _set(shell)
    settings = local_settings(shell)
    first = {
        "MPESA_CONSUMER_KEY": "key-one",
        "MPESA_CONSUMER_SECRET": "a-secret",
        "MPESA_PASSKEY": "a-passkey",
    }
    assert stored_credentials(settings) == first
    output += _set(shell, "--business-shortcode", "174379", MPESA_PASSKEY="another-passkey")
    assert stored_credentials(settings) == first | {
        "MPESA_BUSINESS_SHORTCODE": "174379",
        "MPESA_PASSKEY": "another-passkey",
    }
    for secret in ("key-one", "a-secret", "passkey\n", "a-passkey", "another-passkey"):
        assert secret not in output
    assert "Nothing was given" in output


def test_invalid_credentials_change_nothing(shell: dict[str, str]) -> None:
    _set(shell, "--business-shortcode", "174379")
    arguments = ["set-mpesa-credentials", "--business-shortcode", "17x", "--passkey", "hush-hush"]
    result = CliRunner().invoke(main, arguments, env=shell)
    assert result.exit_code != 0
    assert "hush-hush" not in result.output
    assert "MPESA_BUSINESS_SHORTCODE" in result.output
    assert stored_credentials(local_settings(shell)) == {"MPESA_BUSINESS_SHORTCODE": "174379"}


def test_stored_credentials_are_used_and_variables_win(shell: dict[str, str], instance: Instance) -> None:
    _set(shell, "--consumer-key", "stored-key", "--passkey", "stored-passkey")
    settings = local_settings(shell | {"MPESA_CONSUMER_KEY": "given-key"})
    mixed = settings.with_stored_credentials(stored_credentials(settings))
    assert (mixed.mpesa_consumer_key, mixed.mpesa_passkey) == ("given-key", "stored-passkey")
    rows = json.dumps(_all_rows(instance)["sealed_settings"])
    assert "stored-key" not in rows
    assert hashlib.sha256(b"stored-key").hexdigest() not in rows


def test_no_answer_holds_a_secret(instance: Instance, buyer: Client) -> None:
    session_id = instance.pay(buyer)
    secrets = (
        instance.settings.daftari_jwt_secret,
        instance.settings.mpesa_consumer_key,
        instance.settings.mpesa_consumer_secret,
        instance.settings.mpesa_passkey,
        base64.b64encode(instance.settings.daftari_master_key).decode(),
        instance.settings.database_url,
    )
    operator = Client(instance.base_url, make_token(instance.settings, 9, ["operator", "customer"], 5))
    for client in (buyer, operator, instance.anonymous()):
        for path in (
            "/openapi.json", "/docs/", "/healthz", "/readyz", "/metrics", "/api/nothing", "/api/payments/sessions/",
            f"/api/payments/sessions/{session_id}/", f"/api/payments/sessions/{session_id}/events/",
        ):  # fmt: skip
            answer = client.get(path)
            assert not [secret for secret in secrets if secret in answer.text], path


def test_a_buyer_can_make_many_requests_at_once(instance: Instance, buyer: Client) -> None:
    put_in_cart(buyer, TOMATOES, "2")
    clients = [instance.client(1) for _ in range(8)]
    body = {"delivery_details": DELIVERY}
    answers = at_once([partial(client.post, "/api/payments/sessions/", json=body) for client in clients])
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["session_id"] for answer in answers}) == 8
