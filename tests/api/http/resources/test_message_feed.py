"""Servers read the feed: what their keys hear of, page by page, and nobody else."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ledger import clock
from ledger.store import metadata
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.instance import Instance, running_instance

PATH = "/api/events/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


def paid(instance: Instance, receipt: str, actor: str = "user:7", at: datetime | None = None) -> Checkout:
    with metadata.caused_by(actor=actor):
        made = Checkout(instance.services.ledger, at=at or clock.now()).prompt().pay(receipt).order()
    until_readable(instance.services.database)
    return made


def test_a_server_follows_the_feed_by_its_links(instance: Instance) -> None:
    client, made = instance.server("web-shop"), paid(instance, "RCPTFEED01", "key:web-shop")
    paid(instance, "RCPTFEED02", "key:another")
    first = client.get(PATH, params={"limit": "1"}).json()
    assert first["has_more"]
    [message] = first["results"]
    assert (message["type"], message["id"]) == ("payment.paid", f"msg_{made.session_id.hex}_4")
    assert message["data"]["session_id"] == str(made.session_id)
    assert message["data"]["receipt"] == "RCPTFEED01"
    page, seen = first, [message["type"]]
    while page["has_more"]:
        page = client.get(page["next"].removeprefix(instance.base_url)).json()
        seen += [each["type"] for each in page["results"]]
    assert seen == ["payment.paid", "order.created"]
    later = paid(instance, "RCPTFEED03")
    page = client.get(page["next"].removeprefix(instance.base_url), params={"limit": "50"}).json()
    assert {each["data"]["session_id"] for each in page["results"]} == {str(later.session_id)}


def test_types_and_a_moment_narrow_the_feed_and_stay_in_its_links(instance: Instance) -> None:
    client = instance.server()
    paid(instance, "RCPTFEED01")
    since = clock.now() + timedelta(hours=1)
    only = client.get(PATH, params={"types": "order.created,refund.due"}).json()
    assert [each["type"] for each in only["results"]] == ["order.created"]
    assert "types=order.created%2Crefund.due" in only["next"]
    assert client.get(PATH, params={"from": since.isoformat()}).json()["results"] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("types", "payment.paid,nothing"),
        ("types", ""),
        ("after", "1"),
        ("after", f"1:{2**62}"),
        ("limit", "0"),
        ("limit", "-1"),
        ("from", "yesterday"),
        ("wait", "5"),
    ],
)
def test_what_is_not_understood_is_refused_by_its_name(instance: Instance, name: str, value: str) -> None:
    answer = instance.server().get(PATH, params={name: value})
    assert answer.status_code == 400
    assert name in answer.json()["errors"]


def test_no_person_and_no_other_key_reads_the_feed(instance: Instance) -> None:
    assert instance.anonymous().get(PATH).status_code == 401
    for role in ("customer", "auditor", "analyst", "operator"):
        assert instance.client(9, role).get(PATH).status_code == 403
    assert instance.server("reports", "auditor").get(PATH).status_code == 403
