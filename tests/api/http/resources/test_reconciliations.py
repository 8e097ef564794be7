"""Operators and auditors read what imports of statements found."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from tests.support.instance import Instance, running_instance
from tests.support.statements import Booking, statement

PATH = "/api/payments/reconciliations/"
AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        yield running


def test_imports_are_listed_with_their_counts_and_shown_with_their_differences(instance: Instance) -> None:
    imports = [
        instance.services.reconciler.reconcile(
            statement([Booking("OAF7Q2X9LM", paid_in=350_00, at=AT, account=account)])
        )
        for account in ("rent", "=cmd|' /C calc'!A0")
    ]
    for role in ("operator", "auditor"):
        reader = instance.client(9, role)
        listed = reader.get(PATH).json()
        assert listed["count"] == 2
        newest = listed["results"][0]
        assert newest["reconciliation_id"] == str(imports[1].reconciliation_id)
        assert newest["counts"]["unknown"] == 1
        assert newest["wants_a_person"] is True
        assert "differences" not in newest
        shown = reader.get(f"{PATH}{newest['reconciliation_id']}/").json()
        assert shown["file_sha256"] == imports[1].file_sha256
        [difference] = shown["differences"]
        assert (difference["kind"], difference["receipt"], difference["amount_cents"]) == (
            "unknown",
            "OAF7Q2X9LM",
            350_00,
        )


def test_pages_of_imports_are_linked(instance: Instance) -> None:
    for receipt in ("OAF7Q2X9LA", "OAF7Q2X9LB", "OAF7Q2X9LC"):
        instance.services.reconciler.reconcile(statement([Booking(receipt, paid_in=1_00, at=AT)]))
    reader = instance.client(9, "auditor")
    first = reader.get(PATH, params={"page_size": "2"}).json()
    second = reader.get(first["next"].removeprefix(instance.base_url)).json()
    seen = [each["reconciliation_id"] for each in first["results"] + second["results"]]
    assert (len(seen), len(set(seen)), second["next"]) == (3, 3, None)


def test_other_roles_read_no_imports_and_an_unknown_one_is_not_found(instance: Instance) -> None:
    for path in (PATH, f"{PATH}{uuid4()}/"):
        assert instance.anonymous().get(path).status_code == 401
        for role in ("customer", "analyst"):
            assert instance.client(9, role).get(path).status_code == 403
    answer = instance.client(9, "auditor").get(f"{PATH}{uuid4()}/")
    assert (answer.status_code, answer.json()["error_code"]) == (404, "RECONCILIATION_NOT_FOUND")
