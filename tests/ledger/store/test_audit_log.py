from uuid import UUID

import psycopg
import pytest

from ledger import clock
from ledger.errors import InvalidValue
from ledger.store.audit_log import AuditLog, faults
from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from ledger.store.listing import Place

MASTER_KEY = bytes(range(32))


@pytest.fixture
def keys(database: Database) -> KeyRing:
    return KeyRing(database, MASTER_KEY)


@pytest.fixture
def log(database: Database, keys: KeyRing) -> AuditLog:
    return AuditLog(database, keys)


def found(database: Database, keys: KeyRing) -> list[str]:
    with database.transaction() as connection:
        return list(faults(connection, keys))


def as_owner(database: Database, statement: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute(statement)


def test_an_entry_is_read_as_it_was_recorded(log: AuditLog) -> None:
    details = {"z": [1, None, True], "a": {"name": "Ng'ang'a 🍅"}}
    entry_id = log.record(
        None,
        "refund_approved",
        actor="user:42",
        subject="session:7",
        reason="Goods were bad.",
        details=details,
    )
    count, [entry] = log.entries()
    assert (count, entry.entry_id, entry.kind, entry.actor) == (1, entry_id, "refund_approved", "user:42")
    assert (entry.subject, entry.reason, entry.details) == ("session:7", "Goods were bad.", details)


def test_entries_are_found_by_kind_actor_and_subject_the_latest_first(log: AuditLog) -> None:
    for number in range(3):
        log.record(None, f"kind {number % 2}", actor=f"user:{number}", subject="session:7")
    assert [entry.actor for entry in log.entries(kind="kind 0")[1]] == ["user:2", "user:0"]
    assert [entry.actor for entry in log.entries(actor="user:1")[1]] == ["user:1"]
    assert log.entries(subject="session:8") == (0, [])
    assert [entry.actor for entry in log.entries(Place(clock.now(), 1, 1))[1]] == ["user:1"]
    assert log.entries(Place(clock.now(), 1))[0] == 3


def test_an_entry_shares_the_fate_of_the_transaction_it_is_written_in(
    database: Database, log: AuditLog
) -> None:
    with database.transaction(commit=False) as connection:
        log.record(connection, "order_refunded", actor="user:42")
    assert log.entries()[0] == 0


def test_too_much_text_is_refused(log: AuditLog) -> None:
    with pytest.raises(InvalidValue):
        log.record(None, "switch", actor="user:42", reason="x" * 1_001)
    with pytest.raises(InvalidValue):
        log.record(None, "switch", actor="user:42", details={"x": "x" * 20_000})


def test_the_application_can_append_and_do_nothing_else(database: Database, log: AuditLog) -> None:
    log.record(None, "switch", actor="user:42")
    for statement in (
        "UPDATE audit_log SET actor = 'user:43'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "INSERT INTO audit_log SELECT * FROM audit_log",
    ):
        with (
            database.connection() as connection,
            pytest.raises(psycopg.errors.InsufficientPrivilege),
        ):
            connection.execute(statement)


def test_even_the_owner_cannot_rewrite_an_entry(database: Database, log: AuditLog) -> None:
    log.record(None, "switch", actor="user:42")
    for statement in (
        "UPDATE audit_log SET actor = 'user:43'",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
    ):
        with (
            psycopg.connect(database.url) as connection,
            pytest.raises(psycopg.Error, match="audit_log is append-only"),
        ):
            connection.execute(statement)


@pytest.mark.parametrize(
    "tampering",
    [
        "UPDATE audit_log SET actor = 'user:43'",
        "UPDATE audit_log SET reason = 'another'",
        "UPDATE audit_log SET subject = 'session:8'",
        """UPDATE audit_log SET details = '{"to": "another"}'""",
        "UPDATE audit_log SET recorded_at = recorded_at + interval '1 day'",
        f"UPDATE audit_log SET entry_id = '{UUID(int=1)}'",
        f"INSERT INTO audit_log SELECT '{UUID(int=1)}', recorded_at, kind, actor, subject, reason, details, key_id, mac"
        " FROM audit_log",
        "UPDATE audit_log SET key_id = 9",
    ],
)
def test_an_entry_that_was_altered_or_forged_is_found(
    database: Database, keys: KeyRing, log: AuditLog, tampering: str
) -> None:
    log.record(None, "switch", actor="user:42", subject="session:7", reason="why", details={"to": "on"})
    assert found(database, keys) == []
    as_owner(database, tampering)
    assert len(found(database, keys)) == 1
