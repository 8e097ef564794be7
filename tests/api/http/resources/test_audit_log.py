"""Auditors read who decided what, and who read personal data."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance, running_instance

PATH = "/api/audit/log/"
SESSION = "550e8400-e29b-41d4-a716-446655440000"


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


def test_an_auditor_reads_entries_the_latest_first_and_filters_them(instance: Instance) -> None:
    log = instance.services.audit_log
    for kind, actor in (("switch", "user:42"), ("personal_data_read", "user:43")):
        log.record(
            None, kind, actor=actor, subject="user:7", reason="A buyer asked.", details={"fields": ["phone"]}
        )
    auditor = instance.client(9, "auditor")

    listed = auditor.get(PATH).json()

    assert (listed["count"], [entry["kind"] for entry in listed["results"]]) == (
        2,
        ["personal_data_read", "switch"],
    )
    assert listed["results"][0]["details"] == {"fields": ["phone"]}
    assert auditor.get(f"{PATH}?actor=user:42").json()["count"] == 1
    assert auditor.get(f"{PATH}?kind=switch&subject=user:8").json()["count"] == 0


def test_other_roles_read_no_entries(instance: Instance) -> None:
    assert instance.anonymous().get(PATH).status_code == 401
    for role in ("customer", "analyst", "operator"):
        assert instance.client(9, role).get(PATH).status_code == 403


def test_an_attempt_at_what_a_role_may_not_leaves_an_entry(instance: Instance) -> None:
    log = instance.services.audit_log
    instance.client(21, "analyst").get(f"/api/audit/events/?actor={SESSION}")
    instance.client(22, "operator").get(f"/api/audit/payments/{SESSION}/")
    for _ in range(3):
        instance.client(23).get("/api/audit/payments/")

    _, [customer, operator, analyst] = log.entries(kind="access_refused")

    assert (analyst.actor, analyst.details) == (
        "user:21",
        {"what": "GET /api/audit/events/", "roles": ["analyst"]},
    )
    assert (operator.actor, operator.subject) == ("user:22", f"session:{SESSION}")
    assert (customer.actor, customer.details["roles"]) == ("user:23", ["customer"])
