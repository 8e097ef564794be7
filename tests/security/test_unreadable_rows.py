"""A row that no client can read, stored by who has the application's login, hides nothing from `daftari verify`."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from ledger.application import Ledger
from ledger.errors import DatabaseUnavailable
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.verification.verifier import Verifier, violations
from projections.integrity.guards import guarded
from projections.integrity.invariants import check
from projections.integrity.violations import Violation
from tests.security.test_forged_movements import FORGE
from tests.support.checkouts import TOTAL_CENTS, Checkout
from tests.support.keys import MASTER_KEY

FORGED_ENTRY = """
SELECT record_audit_entry(
    gen_random_uuid(), now(), 'access', 'user:9', 'user:5', 'Wanjiku asked.', %s::jsonb, 1, sha256('x'))
"""
UNREADABLE = ('{"a":' + 5_000 * "1" + "}", '{"a":' + 3_000 * "[" + 3_000 * "]" + "}")


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def attacker(login_url: str) -> Iterator[Connection[Any]]:
    with psycopg.connect(login_url, autocommit=True) as connection:
        yield connection


@pytest.mark.parametrize("details", UNREADABLE)
def test_an_entry_that_cannot_be_read_is_reported_beside_all_else(
    attacker: Connection[Any], database: Database, vault: Vault, details: str
) -> None:
    attacker.execute(FORGED_ENTRY, (details,))
    attacker.execute(FORGE, (TOTAL_CENTS, 1, "new", None))
    verifier = Verifier(database, vault, prompt_seconds=60, every=timedelta(days=1))
    told = {each["rule"]: each["told"] for each in verifier.run().violations}
    assert told["audit log"].startswith("could not be checked: ")
    assert "Wanjiku" not in str(told)
    assert "was not stored by Daftari" in told["movements"]
    last = verifier.last()
    assert last is not None
    assert {each["rule"] for each in last.violations} == set(told)


def test_the_one_session_that_cannot_be_checked_is_named(
    ledger: Ledger, database: Database, vault: Vault
) -> None:
    sessions = [Checkout(ledger).prompt() for _ in range(5)]
    unreadable, lost = sessions[2].session_id, sessions[4].session_id
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute(
            "UPDATE payment_sessions SET expires_at = '4000-01-01 BC' WHERE session_id = %s", (unreadable,)
        )
        owner.execute("DELETE FROM payment_events WHERE session_id = %s", (lost,))
    found = violations(database, vault)
    assert [each for each in found if each.detail.startswith("could not")] == [
        Violation("versions", "could not be checked: DataError", unreadable)
    ]
    assert ("rows", lost) in {(each.rule, each.session_id) for each in found}


def test_what_fails_in_postgresql_is_reported_and_the_snapshot_goes_on(database: Database) -> None:
    def also(connection: Connection[Any]) -> Iterator[Violation]:
        yield from guarded(connection, "shop", failing(connection, "SELECT 1 / 0"))
        yield from guarded(connection, "sums", failing(connection, "SELECT 1"))

    [violation] = check(database, also=also)
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
