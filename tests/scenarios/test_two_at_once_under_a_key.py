"""Two requests at once under one key, by the API: the second begins after the first has read, and ends before it."""

from collections.abc import Callable
from typing import Any

import pytest

from ledger.store.parts import read_parts
from tests.support.instance import Client, Instance

KEY = "8e2a"
BUYER = 1


@pytest.fixture
def path(buyer: Client) -> str:
    return f"/api/payments/sessions/{buyer.create().json()['session_id']}/initiate_payment/"


def _after_the_first_read(monkeypatch: pytest.MonkeyPatch, work: Callable[[], None]) -> None:
    left = [work]

    def read_and_work(*arguments: Any) -> Any:
        found = read_parts(*arguments)
        if left:
            left.pop()()
        return found

    monkeypatch.setattr("payments.checkout.checkout.read_parts", read_and_work)


def _initiate(client: Client, path: str) -> Any:
    return client.post(path, json={}, headers={"Idempotency-Key": KEY})


def test_who_comes_second_gets_the_answer_of_the_first(
    instance: Instance, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[Any] = []
    _after_the_first_read(monkeypatch, lambda: answers.append(_initiate(instance.client(BUYER), path)))
    late = _initiate(instance.client(BUYER), path)
    [first] = answers
    assert (first.status_code, late.status_code, late.content) == (200, 200, first.content)
    assert late.headers["Idempotency-Replayed"] == "true"


def test_that_a_key_is_another_requests_is_never_kept_as_an_answer(
    instance: Instance, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = instance.services.idempotency
    other = store.request(BUYER, KEY, "another body")
    store.claim(other)
    _after_the_first_read(monkeypatch, lambda: store.release(other))
    refused = _initiate(instance.client(BUYER), path)
    assert (refused.status_code, refused.json()["error_code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    store.claim(store.request(BUYER, KEY, "another body"))
