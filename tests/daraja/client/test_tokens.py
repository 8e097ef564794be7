"""One token for all: fetched once, shared, replaced when refused, never fetched in a storm."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from daraja import AccessToken, DarajaClient, MemoryTokenStore, Refused, Retryable, SubmissionError
from tests.daraja.client import scripted
from tests.daraja.client.conftest import (
    ACCEPTANCE,
    CHECKOUT_ID,
    NOW,
    MakeClient,
    make_store,
    push,
    token_reply,
)
from tests.daraja.client.scripted import (
    OAUTH,
    PUSH,
    QUERY,
    Script,
    error_reply,
    html_reply,
    json_reply,
    reply,
)

INVALID_TOKEN = error_reply(404, "404.001.03", "Invalid Access Token")


def test_a_token_is_requested_with_key_and_secret(client: DarajaClient, script: Script) -> None:
    push(client)
    [request] = script.seen(OAUTH)
    assert (request.method, request.path, request.body) == (
        "GET",
        f"{OAUTH}?grant_type=client_credentials",
        b"",
    )
    assert request.headers["Authorization"] == "Basic dGVzdC1rZXk6dGVzdC1zZWNyZXQ="


def test_a_fresh_token_is_used_again(client: DarajaClient, script: Script) -> None:
    push(client)
    push(client)
    assert len(script.seen(OAUTH)) == 1


@pytest.mark.parametrize(("seconds_left", "requests"), [(61, 0), (60, 1), (-5, 1)])
def test_a_token_is_replaced_a_minute_before_it_ends(
    make_client: MakeClient, script: Script, seconds_left: int, requests: int
) -> None:
    push(make_client(make_store("token-0", lifetime_seconds=seconds_left)))
    assert len(script.seen(OAUTH)) == requests


@pytest.mark.parametrize(
    ("expires_in", "seconds"),
    [
        ("3599", 3599),
        (3599, 3599),
        (1800.0, 1800),
        ("soon", 3599),
        (None, 3599),
        (-1, 3599),
        (True, 3599),
        (1e30, 3599),
        ("9" * 400, 3599),
        ("5", 120),
    ],
)
def test_a_lifetime_is_read_as_number_or_text(
    make_client: MakeClient, script: Script, expires_in: object, seconds: int
) -> None:
    store = make_store()
    script.at(OAUTH, token_reply("token-1", expires_in))
    push(make_client(store))
    assert store.read() == AccessToken("token-1", NOW + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("status", "code"),
    [(404, "404.001.03"), (400, "400.003.01"), (401, "401.002.01"), (401, "401.003.01"), (401, "401.001")],
)
def test_a_refused_token_is_replaced_and_the_push_sent_once_more(
    client: DarajaClient, script: Script, status: int, code: str
) -> None:
    script.at(OAUTH, token_reply("token-1"), token_reply("token-2"))
    script.at(PUSH, error_reply(status, code, "Invalid Access Token"), json_reply(200, ACCEPTANCE))
    assert push(client).checkout_request_id == CHECKOUT_ID
    assert [request.headers["Authorization"] for request in script.seen(PUSH)] == [
        "Bearer token-1",
        "Bearer token-2",
    ]


def test_a_token_that_somebody_else_has_replaced_is_not_fetched_again(
    make_client: MakeClient, script: Script
) -> None:
    class ReplacedMeanwhile(MemoryTokenStore):
        """A store in which another process puts a new token while we hold the old one."""

        def read(self) -> AccessToken | None:
            old = super().read()
            self._token = AccessToken("token-9", NOW + timedelta(hours=1))
            return old

    store = ReplacedMeanwhile(clock=lambda: NOW)
    store.refresh(None, lambda: AccessToken("token-0", NOW + timedelta(hours=1)))
    script.at(PUSH, INVALID_TOKEN, json_reply(200, ACCEPTANCE))
    push(make_client(store))
    assert [request.headers["Authorization"] for request in script.seen(PUSH)] == [
        "Bearer token-0",
        "Bearer token-9",
    ]
    assert script.seen(OAUTH) == []


def test_a_token_that_somebody_else_has_replaced_may_be_voided_too(
    make_client: MakeClient, script: Script
) -> None:
    class KeepsItsOwn(MemoryTokenStore):
        """A process's store: it uses the token that it remembers until a refusal shows that it is an old one."""

        def refresh(self, refused: str | None, fetch: Callable[[], AccessToken]) -> AccessToken:
            if refused == "token-0":
                self._token = AccessToken("token-9", NOW + timedelta(hours=1))
            return super().refresh(refused, fetch)

    store = KeepsItsOwn(clock=lambda: NOW)
    store.refresh(None, lambda: AccessToken("token-0", NOW + timedelta(hours=1)))
    script.at(OAUTH, token_reply("token-10"))
    script.at(PUSH, _accept_only("token-10"))
    assert push(make_client(store)).checkout_request_id == CHECKOUT_ID
    assert [request.headers["Authorization"] for request in script.seen(PUSH)] == [
        "Bearer token-0",
        "Bearer token-9",
        "Bearer token-10",
    ]
    assert len(script.seen(OAUTH)) == 1


def test_a_refusal_that_a_new_token_does_not_cure_ends_after_one_retry(
    client: DarajaClient, script: Script
) -> None:
    script.at(PUSH, INVALID_TOKEN)
    with pytest.raises(Refused) as refusal:
        push(client)
    assert refusal.value.code == "DARAJA_NOT_AUTHORISED"
    assert len(script.seen(PUSH)) == 2


@pytest.mark.parametrize("stored", [None, "token-0"])
def test_twenty_threads_without_a_good_token_make_one_token_request(
    make_client: MakeClient, script: Script, stored: str | None
) -> None:
    script.at(PUSH, _accept_only("token-1"))
    client = make_client(make_store(stored, lifetime_seconds=30))
    assert len(_push_from_twenty_threads(client)) == 20
    assert len(script.seen(OAUTH)) == 1


def test_twenty_threads_with_a_voided_token_make_one_token_request(
    make_client: MakeClient, script: Script
) -> None:
    script.at(PUSH, _accept_only("token-1"))
    assert len(_push_from_twenty_threads(make_client(make_store("token-0")))) == 20
    assert len(script.seen(OAUTH)) == 1


def _accept_only(token: str) -> scripted.Deed:
    def deed(line: scripted.Line) -> None:
        accepted = line.headers["Authorization"] == f"Bearer {token}"
        (json_reply(200, ACCEPTANCE) if accepted else INVALID_TOKEN)(line)

    return deed


def _push_from_twenty_threads(client: DarajaClient) -> list[Any]:
    together = threading.Barrier(20)

    def one(_: int) -> Any:
        together.wait(timeout=20)
        return push(client)

    with ThreadPoolExecutor(20) as threads:
        return list(threads.map(one, range(20)))


@pytest.mark.parametrize(
    ("answer", "kind", "code"),
    [
        (reply(400, b""), Refused, "DARAJA_CREDENTIALS"),
        (error_reply(400, "400.008.01", "Invalid Authentication passed"), Refused, "DARAJA_CREDENTIALS"),
        (error_reply(400, "400.008.02", "Invalid grant type passed"), Refused, "DARAJA_CREDENTIALS"),
        (error_reply(401, "401.001", "No"), Refused, "DARAJA_CREDENTIALS"),
        (reply(403, b"{}"), Refused, "DARAJA_CREDENTIALS"),
        (html_reply(403), Refused, "DARAJA_BLOCKED"),
        (reply(404, b""), Refused, "DARAJA_CONFIGURATION"),
        (html_reply(503), Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (reply(500, b""), Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (reply(429, b"", Retry_After="9"), Retryable, "DARAJA_RATE_LIMITED"),
        (reply(200, b"x"), Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (json_reply(200, {"access_token": ""}), Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (json_reply(200, {"access_token": "a\r\nX-Evil: 1"}), Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (json_reply(200, {"access_token": 7}), Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (scripted.reset, Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
        (scripted.hang_up, Retryable, "DARAJA_TOKEN_UNAVAILABLE"),
    ],
)
def test_without_a_token_no_push_is_sent(
    client: DarajaClient, script: Script, answer: scripted.Deed, kind: type[SubmissionError], code: str
) -> None:
    script.at(OAUTH, answer)
    with pytest.raises(kind) as refusal:
        push(client)
    assert refusal.value.code == code
    assert script.seen(PUSH) == []
    verdict = client.query(CHECKOUT_ID)
    assert (verdict.kind, verdict.reason) == ("no_answer", code)
    assert script.seen(QUERY) == []


def test_a_token_that_never_comes_is_given_up(make_client: MakeClient, script: Script) -> None:
    script.at(OAUTH, scripted.stall)
    with pytest.raises(Retryable):
        push(make_client(read_timeout_seconds=0.3))


def test_who_waits_while_a_fetch_fails_shares_the_failure() -> None:
    store, fetching, go_on = MemoryTokenStore(clock=lambda: NOW), threading.Event(), threading.Event()
    fetches = []

    def fetch() -> AccessToken:
        fetches.append(1)
        fetching.set()
        go_on.wait(timeout=20)
        raise Retryable("DARAJA_TOKEN_UNAVAILABLE", "No token.", retry_after_seconds=7)

    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(store.refresh, None, fetch)
        assert fetching.wait(timeout=20)
        second = threads.submit(_Waiting(store).refresh, fetch, go_on)
        failures = [first.exception(timeout=20), second.exception(timeout=20)]
    assert fetches == [1]
    assert [str(failure) for failure in failures] == ["DARAJA_TOKEN_UNAVAILABLE: No token."] * 2
    assert isinstance(failures[1], Retryable)
    assert failures[1].retry_after_seconds == 7
    assert failures[0] is not failures[1]


class _Waiting:
    """Lets the holder of a store's lock go on at the very moment when somebody else begins to wait for it."""

    def __init__(self, store: MemoryTokenStore) -> None:
        self._store = store
        self._lock = store._lock

    def refresh(self, fetch: Any, go_on: threading.Event) -> AccessToken:
        self._store._lock = self  # type: ignore[assignment]
        self._go_on = go_on
        return self._store.refresh(None, fetch)

    def acquire(self, timeout: float) -> bool:
        self._go_on.set()
        return self._lock.acquire(timeout=timeout)

    def release(self) -> None:
        self._lock.release()


def test_the_wait_for_a_token_has_a_bound() -> None:
    store = MemoryTokenStore(clock=lambda: NOW, wait_seconds=0.01)
    with store._lock, pytest.raises(Retryable) as refusal:
        store.refresh(None, lambda: AccessToken("token-1", NOW))
    assert refusal.value.code == "DARAJA_TOKEN_UNAVAILABLE"


def test_a_failure_is_not_remembered_for_the_next_who_asks() -> None:
    store = MemoryTokenStore(clock=lambda: NOW)

    def fail() -> AccessToken:
        raise Retryable("DARAJA_TOKEN_UNAVAILABLE", "No token.")

    with pytest.raises(Retryable):
        store.refresh(None, fail)
    assert store.refresh(None, lambda: AccessToken("token-2", NOW)).value == "token-2"


def test_a_token_is_not_shown() -> None:
    assert "s3cr3t" not in repr(AccessToken("s3cr3t", NOW))
