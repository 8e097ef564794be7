"""The report of an import that was written past the application is said to be forged, and shown as nothing else."""

from itertools import product
from uuid import UUID

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from tests.api.pages.test_work import signed_in
from tests.support.instance import Instance
from tests.support.statements import Booking, statement

API, CONSOLE = "/api/payments/reconciliations/", "/console/statements/"
FORGE = """
INSERT INTO reconciliations (reconciliation_id, started_at, finished_at, file_sha256, found, mac)
SELECT gen_random_uuid(), now(), now(), file_sha256,
       CASE WHEN %(agrees)s THEN jsonb_set(found, '{wants_a_person}', 'false') ELSE %(found)s::jsonb END, %(mac)s
FROM reconciliations LIMIT 1 RETURNING reconciliation_id
"""
MAC = "SELECT mac FROM reconciliations WHERE mac IS NOT NULL LIMIT 1"
DEEP = "[" * 900 + "]" * 900
FOUND = (
    None,
    "{}",
    "[]",
    '"x"',
    '{"counts": 5, "rows": "x", "period_from": []}',
    DEEP,
    '{"is_genuine": true}',
)
MACS = (None, "of another", "0." + 64 * "0", "0.ü", "9999999999.0", "x")


@pytest.fixture
def genuine(instance: Instance) -> UUID:
    return instance.services.reconciler.reconcile(
        statement([Booking("OAF7Q2X9LM", paid_in=1_00)])
    ).reconciliation_id


def test_a_forged_report_is_marked_and_hides_no_other(
    instance: Instance, login: Connection[TupleRow], genuine: UUID
) -> None:
    [[others]] = login.execute(MAC).fetchall()
    for found, mac in product(FOUND, MACS):
        values = {"agrees": found is None, "found": found, "mac": others if mac == "of another" else mac}
        login.execute(FORGE, values)
    auditor = instance.client(9, "auditor")
    listed = auditor.get(API, params={"page_size": "100"}).json()["results"]
    assert len(listed) == 1 + len(FOUND) * len(MACS)
    for each in listed:
        shown = auditor.get(f"{API}{each['reconciliation_id']}/").json()
        is_genuine = each["reconciliation_id"] == str(genuine)
        assert each["is_genuine"] is shown["is_genuine"] is is_genuine
        for claimed in ("counts", "wants_a_person", "rows"):
            assert (claimed in each) is (claimed in shown) is is_genuine


def test_the_console_says_that_a_report_is_forged(
    instance: Instance, login: Connection[TupleRow], genuine: UUID
) -> None:
    [[forged]] = login.execute(FORGE, {"agrees": True, "found": None, "mac": None}).fetchall()
    session, _ = signed_in(instance, token=instance.token(10, "auditor"))
    pages = [
        session.get(f"{instance.base_url}{CONSOLE}{part}", timeout=10).text for part in ("", f"{forged}/")
    ]
    assert pages[0].count("Forged: not written by Daftari, or altered") == 1
    assert pages[0].count("Differences for a person") == 1
    assert "This report is forged" in pages[1]
    assert "The statement agrees" not in pages[0] + pages[1]
    page = session.get(f"{instance.base_url}{CONSOLE}{genuine}/", timeout=10).text
    assert "Differences for a person" in page
    assert "forged" not in page


def test_a_report_that_its_owner_altered_is_forged_and_one_from_before_is_believed(
    instance: Instance, superuser: Connection[TupleRow], genuine: UUID
) -> None:
    reports = instance.services.reconciliations
    for column, value in (("file_sha256", "'0'"), ("started_at", "now()"), ("found", "'{}'")):
        superuser.execute(f"CREATE TEMPORARY TABLE kept AS SELECT {column} FROM reconciliations")
        superuser.execute(f"UPDATE reconciliations SET {column} = {value}")
        altered = reports.find(genuine)
        assert altered is not None
        assert not altered.is_genuine
        superuser.execute(f"UPDATE reconciliations SET {column} = (SELECT {column} FROM kept)")
        superuser.execute("DROP TABLE kept")
    whole = reports.find(genuine)
    assert whole is not None
    assert whole.is_genuine
    superuser.execute("UPDATE reconciliations SET mac = NULL, is_from_before = true")
    assert reports.find(genuine) == whole
