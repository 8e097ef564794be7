"""A row that no client can read, stored by who has the application's login, hides nothing from `daftari verify`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import CheckViolation
from structlog.testing import capture_logs

from api.http.middleware.logging import show_where
from ledger.application import Ledger
from ledger.errors import DatabaseUnavailable
from ledger.store.audit_log import AuditLog
from ledger.store.database import Database
from ledger.store.listing import Place
from ledger.store.migrate import migrations
from ledger.store.readable import EARLIEST, LATEST
from ledger.store.vault import Vault
from payments.reconciliation.import_log import Reconciliations
from payments.verification.verifier import Verifier, violations
from projections.integrity.guards import guarded
from projections.integrity.invariants import check
from projections.integrity.verification_runs import Form
from projections.integrity.violations import Violation
from tests.support.checkouts import Checkout
from tests.support.keys import MASTER_KEY

FORGED_ENTRY = """
SELECT record_audit_entry(
    gen_random_uuid(), now(), 'access', 'user:9', 'user:5', 'Wanjiku asked.', %s::jsonb, 1, sha256('x'))
"""
STORED_ENTRY = """
INSERT INTO audit_log (entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac)
VALUES (gen_random_uuid(), %s, 'access', 'user:9', 'user:5', '', %s::jsonb, 0, sha256('x'))
"""
MOVEMENT = """
INSERT INTO mpesa_movements (movement_key, kind, receipt, money_in, amount_cents, happened_at, evidence, verdict,
                             first_seen_at)
VALUES ('t1', 'other', 'UKINF', true, 100, %s, 'statement', 'unknown', now())
"""
REPORT = """
INSERT INTO reconciliations (reconciliation_id, started_at, finished_at, file_sha256, found)
VALUES (gen_random_uuid(), %s, now(), 'x', '{}')
"""
RUN = """
INSERT INTO verification_runs (run_id, started_at, finished_at, events, version, violations, form, key_id, mac)
VALUES (gen_random_uuid(), now(), %s, 1, 'x', '[]', 'whole', 0, sha256('x'))
"""
APPEND = """
SELECT append_events(
    %(session)s, last.version + 1, ARRAY['payment_session.expired.v1'], ARRAY['{}'], ARRAY['{}'],
    ARRAY[sha256(last.hash || sha256(convert_to(format('["%%s",%%s,"payment_session.expired.v1",{},{}]',
        last.session_id, last.version + 1), 'UTF8')))], 1, ARRAY[sha256('x')],
    to_jsonb(status) || jsonb_build_object('version', last.version + 1, 'expires_at', %(moment)s::text,
                                           'updated_at', %(moment)s::text))
FROM (SELECT * FROM payment_events WHERE session_id = %(session)s ORDER BY version DESC LIMIT 1) AS last
JOIN payment_sessions AS status USING (session_id)
"""
UNREADABLE = ('{"a":' + 5_000 * "1" + "}", '{"a":' + 3_000 * "[" + 3_000 * "]" + "}")
TOO_BIG = '{"a":' + 400 * "1" + "}"
UNREADABLE_MOMENTS = ("infinity", "-infinity", "4000-01-01 BC", "20000-01-01Z")


@pytest.fixture
def checkout(ledger: Ledger) -> Checkout:
    return Checkout(ledger).prompt()


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def attacker(login_url: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(login_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def release_before(superuser: Connection[Any]) -> None:
    """The tables as they were when they took any time."""
    tables = ("payment_sessions", "mpesa_movements", "reconciliations", "verification_runs", "audit_log")
    for table in tables:
        name = f"{table}_{'recorded_at' if table == 'audit_log' else 'times'}_check"
        superuser.execute(f"ALTER TABLE {table} DROP CONSTRAINT {name}")


@pytest.mark.parametrize("details", [*UNREADABLE, TOO_BIG, '{"a": 1.5}', f'{{"a": "{33_000 * "x"}"}}', "[]"])
def test_no_login_stores_details_that_cannot_be_read(attacker: Connection[Any], details: str) -> None:
    with pytest.raises(psycopg.Error, match="details"):
        attacker.execute(FORGED_ENTRY, (details,))


@pytest.mark.parametrize("moment", UNREADABLE_MOMENTS)
@pytest.mark.parametrize("statement", [MOVEMENT, REPORT, RUN])
def test_no_login_stores_a_time_that_cannot_be_read(
    attacker: Connection[Any], statement: str, moment: str
) -> None:
    with pytest.raises(CheckViolation, match="times_check"):
        attacker.execute(statement.encode(), (moment,))


@pytest.mark.parametrize("moment", UNREADABLE_MOMENTS)
def test_no_login_appends_a_row_with_a_time_that_cannot_be_read(
    attacker: Connection[Any], checkout: Checkout, moment: str
) -> None:
    with pytest.raises(CheckViolation, match="payment_sessions_times_check"):
        attacker.execute(APPEND, {"session": checkout.session_id, "moment": moment})


@pytest.mark.usefixtures("release_before")
@pytest.mark.parametrize("moment", UNREADABLE_MOMENTS)
def test_rows_from_before_that_cannot_be_read_hide_nothing(
    attacker: Connection[Any],
    checkout: Checkout,
    superuser: Connection[Any],
    database: Database,
    vault: Vault,
    moment: str,
) -> None:
    verifier = Verifier(database, vault, prompt_seconds=60, every=timedelta(days=1))
    for statement in (MOVEMENT, REPORT, RUN):
        attacker.execute(statement.encode(), (moment,))
    attacker.execute(APPEND, {"session": checkout.session_id, "moment": moment})
    for details in (*UNREADABLE, TOO_BIG):
        superuser.execute(STORED_ENTRY, (moment, details))
    assert verifier.due() is Form.WHOLE
    run = verifier.run()
    told = [(each["rule"], each["session_id"]) for each in run.violations]
    assert not [each for each in run.violations if each["told"].startswith("could not")]
    assert told.count(("audit log", None)) == len(UNREADABLE) + 1
    assert {("movements", None), ("event macs", str(checkout.session_id))} <= set(told)
    assert verifier.last() == run
    place, is_listed = Place(LATEST, 10), moment in ("-infinity", "4000-01-01 BC")
    assert AuditLog(database, vault.keys).entries(place)[0] == is_listed * (len(UNREADABLE) + 1)
    assert Reconciliations(database, vault.keys).page(place)[0] == 1
    with database.connection() as connection:
        for binary in (False, True):
            row = connection.execute("SELECT expires_at FROM payment_sessions", binary=binary).fetchone()
            assert row is not None
            assert row["expires_at"] == (EARLIEST if is_listed else LATEST)


@pytest.mark.usefixtures("release_before")
@pytest.mark.parametrize("moment", UNREADABLE_MOMENTS)
def test_the_upgrade_leaves_no_movement_that_could_not_be_changed_any_more(
    attacker: Connection[Any], superuser: Connection[Any], moment: str
) -> None:
    attacker.execute(MOVEMENT.encode(), (moment,))
    for step in migrations():
        if step.name in ("0087_movements_within_bounds.sql", "0088_times_within_bounds.sql"):
            superuser.execute("ALTER TABLE movement_log DROP CONSTRAINT IF EXISTS movement_log_times_check")
            superuser.execute(step.sql)
    assert attacker.execute("UPDATE mpesa_movements SET journal_ordinal = 0").rowcount == 1


def test_the_one_session_that_cannot_be_checked_is_named(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    sessions = [Checkout(ledger).prompt() for _ in range(5)]
    unreadable, lost = sessions[2].session_id, sessions[4].session_id
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute(
            "UPDATE payment_events SET metadata = %s::jsonb WHERE session_id = %s",
            (UNREADABLE[1], unreadable),
        )
        owner.execute("DELETE FROM payment_events WHERE session_id = %s", (lost,))
    with capture_logs() as lines:
        found = violations(database, vault)
    [line] = [line for line in lines if line["event"] == "check_failed"]
    assert (line["rule"], line["session_id"]) == ("versions", str(unreadable))
    assert isinstance(line["exc_info"], RecursionError)
    assert show_where(None, "", line)["error_at"]
    assert [each for each in found if each.detail.startswith("could not")] == [
        Violation("versions", "could not be checked: RecursionError", unreadable)
    ]
    assert ("rows", lost) in {(each.rule, each.session_id) for each in found}


def test_a_check_that_raises_is_reported_and_recorded_beside_all_else(
    attacker: Connection[Any], database: Database, vault: Vault
) -> None:
    attacker.execute(MOVEMENT.encode(), ("now",))
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("ALTER TABLE audit_log ALTER COLUMN mac DROP NOT NULL")
        owner.execute(STORED_ENTRY.replace("sha256('x')", "NULL").encode(), ("now", "{}"))
    verifier = Verifier(database, vault, prompt_seconds=60, every=timedelta(days=1))
    run = verifier.run()
    told = {each["rule"]: each["told"] for each in run.violations}
    assert told["audit log"].startswith("could not be checked: ")
    assert "was not stored by Daftari" in told["movements"]
    assert verifier.last() == run


def test_what_fails_in_postgresql_is_reported_and_the_snapshot_goes_on(database: Database) -> None:
    def also(connection: Connection[Any]) -> Iterator[Violation]:
        yield from guarded(connection, "shop", failing(connection, "SELECT 1 / 0"))
        yield from guarded(connection, "sums", failing(connection, "SELECT 1"))

    with capture_logs() as lines:
        [violation] = check(database, also=also)
    [line] = [line for line in lines if line["event"] == "check_failed"]
    shown = show_where(None, "", line)
    assert (line["rule"], shown["error_type"]) == ("shop", "DivisionByZero")
    assert any("failing" in frame for frame in shown["error_at"])
    assert violation == Violation("shop", "could not be checked: DivisionByZero")


def test_an_outage_is_no_violation(database: Database) -> None:
    def also(connection: Connection[Any]) -> Iterator[Violation]:
        with psycopg.connect(database.url, autocommit=True) as owner:
            owner.execute("SELECT pg_terminate_backend(%s, 60000)", (connection.info.backend_pid,))
        yield from guarded(connection, "shop", failing(connection, "SELECT 1"))

    with pytest.raises(DatabaseUnavailable):
        check(database, also=also)


def test_tables_of_another_release_are_no_violation(database: Database) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        check(database, also=lambda each: guarded(each, "shop", failing(each, "SELECT FROM of_another")))


def failing(connection: Connection[Any], statement: str) -> Iterator[Violation]:
    connection.execute(statement.encode())
    yield from ()
