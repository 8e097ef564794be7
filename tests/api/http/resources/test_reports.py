"""Reports for analysts, auditors and operators, each for its role."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from tests.scenarios.steps import (
    PAYS_AT_ONCE,
    TOMATOES,
    put_in_cart,
    put_on_shelf,
)
from tests.support.instance import DELIVERY, Instance, running_instance

METRICS = "/api/payments/metrics/"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


def buy(instance: Instance, **body: str) -> str:
    """Let user 1 pay for a cart, and the worker do the rest; return the session."""
    buyer = instance.client(1)
    put_in_cart(buyer, TOMATOES, "2")
    session_id = instance.pay(buyer, **body)
    instance.work()
    return session_id


@pytest.mark.parametrize(
    ("path", "role"),
    [
        (METRICS, "analyst"),
        ("/api/audit/sessions/550e8400-e29b-41d4-a716-446655440000/events/", "auditor"),
        ("/api/audit/invariants/", "auditor"),
        ("/metrics", "operator"),
    ],
)
def test_each_report_is_for_one_role(instance: Instance, path: str, role: str) -> None:
    assert instance.anonymous().get(path).status_code == 401
    for other in {"customer", "analyst", "auditor", "operator"} - {role}:
        assert instance.client(9, other).get(path).status_code == 403
    assert instance.client(9, role).get(path).status_code in (200, 404)


def test_an_auditor_sees_all_but_encrypted_values(instance: Instance) -> None:
    session_id = buy(instance, phone_number=PAYS_AT_ONCE)
    answer = instance.client(9, "auditor").get(f"/api/audit/sessions/{session_id}/events/")
    events = answer.json()["events"]
    assert [event["event"] for event in events][-2:] == ["Paid", "OrderCreated"]
    assert [event["caused_by"]["cause"] for event in events][-2:] == ["callback", "event"]
    for earlier, event in pairwise(events):
        assert event["previous_hash"] == earlier["hash"]
    assert all(len(event["hash"]) == 64 and event["position"] for event in events)
    for hidden in (DELIVERY["full_name"], DELIVERY["detailed_address"], "254712345678", "ws_CO_", "sealed"):
        assert str(hidden) not in answer.text


def test_an_auditor_sees_the_last_verification_run(instance: Instance) -> None:
    auditor = instance.client(9, "auditor")
    answer = auditor.get("/api/audit/invariants/")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "NOT_VERIFIED_YET")
    session_id = buy(instance, phone_number=PAYS_AT_ONCE)
    verification = instance.services.worker.verification
    assert (verification.run(), verification.wait(), verification.run()) == (0, 1, 0)
    shown = auditor.get("/api/audit/invariants/").json()
    assert shown["all_hold"] is True
    assert shown["summary"] == f"All invariants held over {shown['events']} events."
    assert 0 <= shown["age_seconds"] < 60
    assert [invariant["number"] for invariant in shown["invariants"]] == list(range(1, 15))
    assert {invariant["holds"] for invariant in shown["invariants"]} == {True, None}

    with psycopg.connect(instance.settings.database_url) as connection:
        connection.execute("UPDATE payment_sessions SET received_cents = 1")
    instance.services.verifier.run()
    shown = auditor.get("/api/audit/invariants/").json()
    assert (shown["all_hold"], shown["events"]) == (False, 5)
    broken = {
        invariant["number"]: invariant for invariant in shown["invariants"] if invariant["holds"] is False
    }
    assert set(broken) == {4, 8}
    assert broken[8]["violations"][0]["session_id"] == session_id


def test_a_run_over_no_event_says_that_nothing_was_checked(instance: Instance) -> None:
    instance.services.verifier.run()
    shown = instance.client(9, "auditor").get("/api/audit/invariants/").json()
    assert (shown["all_hold"], shown["events"]) == (None, 0)
    assert {invariant["holds"] for invariant in shown["invariants"]} == {None}
    assert shown["summary"] == "Nothing was checked: the log had no event yet."
