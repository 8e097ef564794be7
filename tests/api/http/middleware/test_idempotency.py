import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from api.http.middleware.idempotency import fingerprint
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.idempotency.idempotency_store import IdempotencyStore
from tests.api.http import probes
from tests.api.http.conftest import ProbeServices

Bearer = Callable[..., dict[str, str]]
COUNTED = "/api/probes/counted/"


@pytest.fixture(autouse=True)
def store(database_url: str, services: ProbeServices) -> Iterator[None]:
    database = Database(database_url)
    services.idempotency = IdempotencyStore(database, Vault(database, os.urandom(32)))
    probes.ran.clear()
    yield
    database.close()


@pytest.fixture
def post(client: FlaskClient, bearer: Bearer) -> Callable[..., TestResponse]:
    def send(
        body: object, *, key: str = "first", user: int = 7, path: str = COUNTED, accept: str = "*/*"
    ) -> TestResponse:
        headers = bearer(user) | {"Idempotency-Key": key, "Accept": accept}
        return client.post(path, json=body, headers=headers)

    return send


Post = Callable[..., TestResponse]


def test_the_same_request_runs_once_and_is_answered_the_same_twice(post: Post) -> None:
    first, second = post({"say": "hello", "status": 201}), post({"status": 201, "say": "hello"})
    assert (first.status_code, first.data) == (second.status_code, second.data) == (201, b'{"ran":1}')
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.mimetype == "application/json"
    assert probes.ran == ["hello"]


def test_the_same_key_with_another_body_is_422(post: Post) -> None:
    post({"say": "hello"})
    answer = post({"say": "goodbye"})
    assert answer.status_code == 422
    assert answer.json is not None
    assert answer.json["error_code"] == "IDEMPOTENCY_KEY_REUSED"
    assert probes.ran == ["hello"]


def test_the_same_key_at_another_address_is_422(post: Post) -> None:
    post({})
    assert post({}, path="/api/probes/orders/").status_code == 422


def test_a_slash_at_the_end_does_not_make_another_request(post: Post) -> None:
    post({})
    assert post({}, path=COUNTED.rstrip("/")).headers["Idempotency-Replayed"] == "true"


def test_two_callers_may_use_the_same_key(post: Post) -> None:
    post({"say": "one"}, user=7)
    assert "Idempotency-Replayed" not in post({"say": "two"}, user=8).headers
    assert probes.ran == ["one", "two"]


def test_without_a_key_each_request_runs(client: FlaskClient, bearer: Bearer) -> None:
    for _ in range(2):
        client.post(COUNTED, json={}, headers=bearer())
    assert len(probes.ran) == 2


def test_a_final_refusal_is_replayed_in_its_first_form(post: Post) -> None:
    problem = "application/problem+json"
    first = post({"refuse": "rejected"}, accept=problem)
    second = post({"refuse": "rejected"})
    assert (first.status_code, first.data) == (second.status_code, second.data)
    assert first.mimetype == second.mimetype == problem
    assert first.status_code == 400
    assert len(probes.ran) == 1


@pytest.mark.parametrize("refusal", ["conflict", "down", "fault"])
def test_a_temporary_refusal_releases_the_key(post: Post, refusal: str) -> None:
    first, second = post({"refuse": refusal}), post({"refuse": refusal})
    assert first.status_code == second.status_code
    assert first.status_code >= 409
    assert len(probes.ran) == 2


def test_wrong_fields_are_answered_with_a_key_as_without(post: Post) -> None:
    answer = post({"name": "Asha"}, path="/api/probes/orders/")
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["errors"] == {"delivery": ["Missing data for required field."]}


def test_two_at_once_have_one_effect(app: Flask, bearer: Bearer) -> None:
    both = Barrier(2)

    def send(_: int) -> TestResponse:
        both.wait(timeout=10)
        headers = bearer() | {"Idempotency-Key": "double-click"}
        return app.test_client().post(COUNTED, json={"say": "hello"}, headers=headers)

    with ThreadPoolExecutor(2) as threads:
        answers = list(threads.map(send, range(2)))
    assert probes.ran == ["hello"]
    for answer in answers:
        assert answer.status_code == 200 or answer.headers["Retry-After"]
    assert {answer.status_code for answer in answers} <= {200, 409}


def test_a_claimed_key_is_409_with_retry_after(app: Flask, services: ProbeServices, post: Post) -> None:
    with app.test_request_context(COUNTED, method="POST", json={"say": "hello"}):
        assert services.idempotency is not None
        services.idempotency.claim(services.idempotency.request(7, "busy", fingerprint()))
    answer = post({"say": "hello"}, key="busy")
    assert answer.status_code == 409
    assert answer.headers["Retry-After"] == "1"
    assert answer.json is not None
    assert answer.json["error_code"] == "IDEMPOTENCY_KEY_IN_USE"
    assert probes.ran == []


@pytest.mark.parametrize("key", ["", " ", "a b", "x" * 256, "kitu\u00e9"])
def test_a_key_that_is_not_short_visible_ascii_is_400(post: Post, key: str) -> None:
    answer = post({}, key=key)
    assert answer.status_code == 400
    assert answer.json is not None
    assert answer.json["error_code"] == "INVALID_IDEMPOTENCY_KEY"
