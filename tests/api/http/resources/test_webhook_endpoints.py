"""A shop's server says where it is told of events, looks at deliveries, and has them repeated, by its key."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from standardwebhooks import Webhook

from shop.demo import make_buyers
from tests.scenarios.steps import approve
from tests.support.instance import Client, Instance, running_instance
from tests.support.webhook_receiver import WebhookReceiver, answering, webhook_receiver

ALL = "/api/webhook-endpoints/"
PUBLIC = {"url": "https://shop.example/hook"}


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder, DAFTARI_WEBHOOK_ALLOW_PRIVATE="1") as running:
        assert list(make_buyers(running.services.database, 1, 1))
        yield running


@pytest.fixture
def server(instance: Instance) -> Client:
    return instance.server("web-shop")


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with webhook_receiver() as running:
        yield running


def buy(instance: Instance) -> str:
    """Have the buyer's cart paid and ordered; return its session."""
    session_id = instance.pay(instance.client())
    approve(instance)
    instance.work()
    return session_id


def test_a_server_adds_an_endpoint_and_gets_what_verifies_by_its_secret(
    instance: Instance, server: Client, receiver: WebhookReceiver
) -> None:
    answer = server.post(ALL, json={"url": receiver.url, "events": ["payment.paid", "order.created"]})
    assert answer.status_code == 201
    added = answer.json()
    session_id = buy(instance)
    assert receiver.sessions() == [(session_id, "payment.paid"), (session_id, "order.created")]
    for each in receiver.received:
        Webhook(added["secret"]).verify(each.body, each.headers)
    shown = server.get(f"{ALL}{added['id']}/").json()
    assert added == shown | {"secret": added["secret"]}
    assert (shown["key"], shown["enabled"], shown["failing_since"]) == ("web-shop", True, None)
    assert server.get(ALL).json() == {"results": [shown]}
    assert added["secret"] not in server.get(ALL).text


def test_deliveries_are_listed_in_pages_and_one_is_sent_again(
    instance: Instance, server: Client, receiver: WebhookReceiver
) -> None:
    endpoint = f"{ALL}{server.post(ALL, json={'url': receiver.url}).json()['id']}/"
    buy(instance)
    first = server.get(f"{endpoint}deliveries/?page_size=1").json()
    assert [each["type"] for each in first["results"]] == ["order.created"]
    second = server.get(first["next"].removeprefix(instance.base_url)).json()
    assert second["next"] is None
    [paid] = second["results"]
    assert (paid["type"], paid["state"], paid["attempts"], paid["last_status"]) == (
        "payment.paid",
        "delivered",
        1,
        204,
    )
    assert server.post(f"{endpoint}redeliver/", json={"delivery": paid["id"]}).status_code == 200
    instance.work()
    assert [kind for _, kind in receiver.sessions()] == ["payment.paid", "order.created", "payment.paid"]
    since = {"since": paid["queued_at"][:11] + "00:00:00Z"}
    assert server.post(f"{endpoint}redeliver/", json=since).status_code == 200
    instance.work()
    assert [kind for _, kind in receiver.sessions()][3:] == ["payment.paid", "order.created"]
    for wrong in ({}, {"delivery": paid["id"], **since}):
        assert server.post(f"{endpoint}redeliver/", json=wrong).status_code == 400
    unknown = server.post(f"{endpoint}redeliver/", json={"delivery": 2**53 - 1})
    assert unknown.json()["error_code"] == "WEBHOOK_DELIVERY_NOT_FOUND"


def test_an_endpoint_is_changed_disabled_rotated_and_deleted(
    instance: Instance, server: Client, receiver: WebhookReceiver
) -> None:
    added = server.post(ALL, json=PUBLIC).json()
    one = f"{ALL}{added['id']}/"
    changed = server.patch(one, json={"url": receiver.url, "events": ["order.created"]}).json()
    assert (changed["url"], changed["events"]) == (receiver.url, ["order.created"])
    assert server.patch(one, json={"enabled": False}).json()["disabled_reason"] == "by_hand"
    session_id = buy(instance)
    assert receiver.received == []
    assert server.patch(one, json={"enabled": True}).json()["enabled"] is True
    instance.work()
    assert receiver.sessions() == [(session_id, "order.created")]
    rotated = server.post(f"{one}rotate-secret/").json()
    assert rotated["secret"] != added["secret"]
    assert server.delete(one).json()["id"] == added["id"]
    assert server.get(one).json()["error_code"] == "WEBHOOK_ENDPOINT_NOT_FOUND"


def test_another_key_finds_nothing_of_it_and_an_operator_everything(
    instance: Instance, server: Client
) -> None:
    one = f"{ALL}{server.post(ALL, json=PUBLIC).json()['id']}/"
    other = instance.server("other-shop")
    assert other.get(ALL).json() == {"results": []}
    for answer in (
        other.get(one),
        other.get(f"{one}deliveries/"),
        other.patch(one, json={"enabled": False}),
        other.post(f"{one}rotate-secret/"),
        other.post(f"{one}redeliver/", json={"delivery": 1}),
        other.delete(one),
    ):
        assert (answer.status_code, answer.json()["error_code"]) == (404, "WEBHOOK_ENDPOINT_NOT_FOUND")
    operator = instance.client(9, "operator")
    assert len(operator.get(ALL).json()["results"]) == 1
    assert operator.post(ALL, json=PUBLIC).json()["key"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "url"),
        ({"url": "ftp://shop.example/"}, "url"),
        ({"url": "https://user:secret@shop.example/"}, "url"),
        (PUBLIC | {"events": []}, "events"),
        (PUBLIC | {"events": ["payment.made"]}, "events.0"),
    ],
)
def test_what_is_wrong_is_told_by_field(server: Client, body: dict[str, object], field: str) -> None:
    answer = server.post(ALL, json=body)
    assert answer.status_code == 400
    assert list(answer.json()["errors"]) == [field]


def test_an_endpoint_that_is_gone_is_a_case_until_it_is_enabled_again(
    instance: Instance, server: Client, receiver: WebhookReceiver
) -> None:
    receiver.answer = answering(410)
    one = f"{ALL}{server.post(ALL, json={'url': receiver.url}).json()['id']}/"
    session_id = buy(instance)
    operator = instance.client(9, "operator")
    [case] = operator.get("/api/work-list/?kind=webhook_disabled").json()["results"]
    assert case["detail"] == "it answered that it is gone"
    receiver.answer = answering(200)
    receiver.received.clear()
    assert server.patch(one, json={"enabled": True}).status_code == 200
    instance.work()
    assert receiver.sessions() == [(session_id, "payment.paid"), (session_id, "order.created")]
    assert operator.get("/api/work-list/?kind=webhook_disabled").json()["results"] == []
