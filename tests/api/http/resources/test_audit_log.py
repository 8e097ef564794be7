"""Auditors read who decided what, and who read personal data."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.instance import Instance, running_instance

PATH = "/api/audit/log/"


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
