"""An entry of the audit log that was written past Daftari is shown as forged, and decides nothing."""

from datetime import timedelta

import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.erasure.erasures import HELD, RELEASED, Erasures
from tests.support.erasures import let_a_week_pass
from tests.support.instance import Instance
from tests.support.keys import MASTER_KEY

FORGE = """
SELECT record_audit_entry(gen_random_uuid(), now(), %s, 'cli:user:41', 'user:7', 'Forged.', '{}', 1, sha256('x'))
FROM generate_series(1, %s)
"""


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def audit_log(database: Database, vault: Vault) -> AuditLog:
    return AuditLog(database, vault.keys)


@pytest.fixture
def erasures(database: Database, vault: Vault, audit_log: AuditLog) -> Erasures:
    return Erasures(database, vault, audit_log, timedelta())


def test_the_audit_log_says_which_entries_are_genuine(
    instance: Instance, login: Connection[TupleRow]
) -> None:
    instance.services.audit_log.record(None, "customer_erased", actor="user:9", subject="user:5")
    login.execute(FORGE, ("customer_erased", 1))
    auditor = instance.client(10, "auditor")
    shown = auditor.get("/api/audit/log/?kind=customer_erased").json()["results"]
    assert {entry["subject"]: entry["is_genuine"] for entry in shown} == {"user:5": True, "user:7": False}
    page = auditor.get(
        "/console/access-log/", cookies={"daftari_operator": instance.token(10, "auditor")}
    ).text
    assert page.count("forged: not written by Daftari") == 1


def test_no_number_of_forged_entries_hides_the_genuine_one(
    audit_log: AuditLog, database: Database, login: Connection[TupleRow]
) -> None:
    audit_log.record(None, HELD, actor="user:41", subject="user:7", reason="Case 12.")
    login.execute(FORGE, (RELEASED, 250))
    with database.connection() as connection:
        found = audit_log.latest(connection, "user:7", (HELD, RELEASED))
        assert found is not None
        assert (found.kind, found.reason) == (HELD, "Case 12.")
        assert audit_log.latest(connection, "user:7", ("another",)) is None


def test_a_forged_hold_is_told_from_a_lifted_one_and_can_be_ended(
    erasures: Erasures, database: Database, login: Connection[TupleRow]
) -> None:
    login.execute(FORGE, (HELD, 1))
    [told] = erasures.plan(7).obstacles
    assert "that Daftari did not write" in told
    assert "daftari legal-hold 7 --by USER --reason TEXT --lift" in told
    erasures.hold(7, by="user:41", reason="There is no case.", lift=True)
    assert "lifted less than 7 days ago" in erasures.plan(7).obstacles[0]
    let_a_week_pass(database)
    assert erasures.plan(7).obstacles == ()
