"""Waiting for changes on a server that cannot suspend requests: the responses are the same."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import jwt
import pytest
import requests
from freezegun import freeze_time

from api.http.middleware.auth import LEEWAY_SECONDS
from ledger import clock
from tests.scenarios.steps import TOMATOES, put_in_cart, put_on_shelf
from tests.support.instance import Client, Instance, running_instance
from tests.support.waiting import wait_until

SESSIONS = "/api/payments/sessions/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


@pytest.fixture
def buyer(instance: Instance) -> Client:
    client = instance.client(1)
    put_in_cart(client, TOMATOES, "2")
    return client


def status_path(session_id: str, **query: object) -> str:
    return f"{SESSIONS}{session_id}/status/?" + "&".join(f"{name}={value}" for name, value in query.items())


def events_of(answer: requests.Response) -> Iterator[dict[str, Any]]:
    """Return the statuses of a stream as they come."""
    for line in answer.iter_lines(chunk_size=1):
        if line.startswith(b"data: "):
            yield json.loads(line.removeprefix(b"data: "))


def open_stream(client: Client, session_id: str, **headers: str) -> requests.Response:
    return client.get(f"{SESSIONS}{session_id}/stream/", headers=headers, stream=True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"wait": "31"}, "wait"),
        ({"wait": "-1"}, "wait"),
        ({"wait": "1.5"}, "wait"),
        ({"wait": ""}, "wait"),
        ({"wait": "soon"}, "wait"),
        ({"wait": "nan"}, "wait"),
        ({"wait": "1e9"}, "wait"),
        ({"wait": "1", "after": "-1"}, "after"),
        ({"wait": "1", "after": "two"}, "after"),
    ],
)
def test_a_wait_that_cannot_be_is_named(buyer: Client, query: dict[str, str], field: str) -> None:
    session_id = buyer.create().json()["session_id"]
    answer = buyer.get(status_path(session_id, **query))
    assert (answer.status_code, answer.json()["error_code"]) == (400, "INVALID_INPUT")
    assert list(answer.json()["errors"]) == [field]


def test_a_last_event_that_is_no_version_is_named(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    answer = open_stream(buyer, session_id, **{"Last-Event-ID": "seven"})
    assert (answer.status_code, list(answer.json()["errors"])) == (400, ["Last-Event-ID"])


def test_a_change_is_sent_at_once_and_no_change_when_the_wait_is_over(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    plain = buyer.status(session_id)
    assert buyer.get(status_path(session_id, wait=30, after=0)).json() == plain
    assert buyer.get(status_path(session_id, wait=0, after=1)).json() == plain
    assert buyer.get(status_path(session_id, wait=1, after=1)).json() == plain
    assert buyer.get(status_path(session_id, wait=1)).json() == plain


def test_a_poll_is_answered_when_the_session_changes(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(buyer.get, status_path(session_id, wait=30, after=1))
        assert buyer.initiate(session_id).status_code == 200
        assert waiting.result().json()["version"] >= 2


def session_about_to_expire(instance: Instance) -> tuple[str, Iterator[dict[str, Any]]]:
    """Return a session that has little time left, and the rest of a stream of it that began before its end."""
    for seconds_left in (1.5, 8, 25):  # On a busy machine the first is over before its stream begins.
        with freeze_time(clock.now() - timedelta(minutes=15) + timedelta(seconds=seconds_left)):
            session_id = instance.client(1).create().json()["session_id"]
        stream = events_of(open_stream(instance.client(1), session_id))
        if next(stream)["session_status"] == "pending":
            return session_id, stream
    raise AssertionError("A session of 25 seconds is over before its stream begins.")


def test_an_expiry_is_a_change(instance: Instance, buyer: Client) -> None:
    session_id, stream = session_about_to_expire(instance)
    known = status_path(session_id, wait=30, after=1)
    shown = buyer.get(known).json()
    assert (shown["session_status"], shown["version"]) == ("expired", 1)
    assert [shown["session_status"] for shown in stream] == ["expired"]
    assert buyer.get(known).json()["session_status"] == "expired"


def test_a_stream_shows_what_the_status_shows(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    answer = open_stream(buyer, session_id)
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    stream = events_of(answer)
    assert next(stream) == buyer.status(session_id)
    assert buyer.initiate(session_id).status_code == 200
    last: dict[str, Any] = {}
    while last.get("version") != 3:
        last = next(stream)
    assert last | {"retry_after": 0} == buyer.status(session_id) | {"retry_after": 0}


def test_a_stream_of_a_settled_session_ends_and_an_eventsource_does_not_come_back(
    instance: Instance, buyer: Client
) -> None:
    with freeze_time(clock.now() - timedelta(hours=1)):
        session_id = instance.client(1).create().json()["session_id"]
    assert [shown["session_status"] for shown in events_of(open_stream(buyer, session_id))] == ["expired"]
    assert open_stream(buyer, session_id, **{"Last-Event-ID": "1"}).status_code == 204


def test_a_user_with_too_many_waiting_requests_gets_retry_after(database_url: str, data_folder: Path) -> None:
    bounds = {"DAFTARI_WEB_WAITERS": "2", "DAFTARI_STREAM_SECONDS": "1"}
    with running_instance(database_url, data_folder, **bounds) as instance:
        put_on_shelf(instance, TOMATOES, stock="40")
        buyer = instance.client(1)
        put_in_cart(buyer, TOMATOES, "2")
        session_id = buyer.create().json()["session_id"]
        poll = status_path(session_id, wait=1)
        stream = open_stream(instance.client(1), session_id)
        next(events_of(stream))
        refused = buyer.get(poll)
        assert (refused.status_code, refused.json()["error_code"]) == (429, "TOO_MANY_WAITING")
        assert int(refused.headers["Retry-After"]) > 0
        assert buyer.status(session_id)["session_status"] == "pending"
        wait_until(lambda: buyer.get(poll).status_code == 200, "the stream has ended")


def test_a_stream_ends_with_the_token_that_opened_it(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    at_its_end = int(clock.now().timestamp()) - LEEWAY_SECONDS + 3  # A few seconds from now.
    claims = {"sub": "1", "roles": ["customer"], "exp": at_its_end}
    token = jwt.encode(claims, instance.settings.daftari_jwt_secret, algorithm="HS256")
    stream = events_of(open_stream(Client(instance.base_url, token), session_id))
    assert [shown["session_status"] for shown in stream] == ["pending"]


def test_anothers_session_cannot_be_waited_for(instance: Instance, buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    for owned in (session_id, str(uuid4())):
        for path in (status_path(owned, wait=30), f"{SESSIONS}{owned}/stream/"):
            answer = instance.client(2).get(path)
            assert (answer.status_code, answer.json()["error_code"]) == (404, "SESSION_NOT_FOUND")
    assert instance.client(1, "operator").get(f"{SESSIONS}{session_id}/stream/").status_code == 403
    assert instance.anonymous().get(f"{SESSIONS}{session_id}/stream/").status_code == 401


def test_a_head_request_waits_for_nothing(buyer: Client) -> None:
    session_id = buyer.create().json()["session_id"]
    assert buyer.head(status_path(session_id, wait=30)).status_code == 200
    assert buyer.head(f"{SESSIONS}{session_id}/stream/").status_code == 200
