import hashlib
import re
import subprocess
import sys

import psycopg
import pytest

from ledger.store.locks import SHARE_SCHEMA
from ledger.store.migrate import (
    OUTSIDE_A_TRANSACTION,
    PACKAGES,
    Migration,
    MigrationError,
    migrate,
    migrations,
    pending,
)

ALL = [f"{step.package}/{step.name}" for step in migrations()]
RUN = "import sys; from ledger.store.migrate import migrate; print(*migrate(sys.argv[1]), sep='\\n')"


def test_a_fresh_database_gets_every_file_in_order_and_then_none(empty_database_url: str) -> None:
    assert pending(empty_database_url) == ALL
    assert migrate(empty_database_url) == ALL
    assert migrate(empty_database_url) == []
    assert pending(empty_database_url) == []


def test_files_are_numbered_and_the_ledgers_come_first() -> None:
    packages = [step.package for step in migrations()]
    assert packages == sorted(packages, key=PACKAGES.index)
    for package in PACKAGES:
        numbers = [int(step.name[:4]) for step in migrations() if step.package == package]
        assert numbers == sorted(set(numbers))


def test_processes_that_start_together_apply_each_file_once(empty_database_url: str) -> None:
    command = [sys.executable, "-c", RUN, empty_database_url]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    applied = [process.communicate(timeout=60)[0].split() for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert sorted(name for names in applied for name in names) == sorted(ALL)


def test_an_applied_file_that_was_changed_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("UPDATE schema_migrations SET checksum = 'other' WHERE name LIKE '0001%'")
    with pytest.raises(MigrationError, match="was changed after it had been applied"):
        migrate(database_url)


def test_numbers_are_executed_as_postgresql_15_reads_them_under_the_checksum_of_the_file() -> None:
    written = (
        "SELECT pg_advisory_xact_lock(1_000, 229_345_057), 'a_100_200', a_100_200, 0x0DAF FROM at_15_000"
    )
    step = Migration("shop", "0001_a.sql", written)
    assert step.readable_sql == written.replace("1_000", "1000").replace("229_345_057", "229345057")
    assert step.checksum == hashlib.sha256(written.encode()).hexdigest()
    for each in migrations():
        assert not re.search(r"(?<![\w'])\d+_\d", each.readable_sql), f"{each.package}/{each.name}"


def test_a_file_that_fails_leaves_nothing_behind_and_those_before_it_stand(
    empty_database_url: str,
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE payment_metrics (in_the_way integer)")
    with pytest.raises(psycopg.errors.DuplicateTable):
        migrate(empty_database_url)
    left = pending(empty_database_url)
    assert left == [name for name in ALL if not name.startswith("ledger.store")]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("DROP TABLE payment_metrics")
    assert migrate(empty_database_url) == left


def test_a_postgresql_that_is_too_old_is_named_and_left_as_it_was(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with psycopg.connect(empty_database_url) as connection:
        major = connection.info.server_version // 10_000
    monkeypatch.setattr("ledger.store.migrate.OLDEST_POSTGRESQL", major + 1)
    with pytest.raises(MigrationError) as refusal:
        migrate(empty_database_url)
    assert str(refusal.value) == (
        f"MIGRATION_FAILED: This PostgreSQL is version {major}; Daftari needs {major + 1} or newer. "
        "Point DATABASE_URL at a newer server, or unset it to use the embedded one."
    )
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)
    monkeypatch.setattr("ledger.store.migrate.OLDEST_POSTGRESQL", major)
    assert migrate(empty_database_url) == ALL


def test_pending_migrations_are_listed_and_so_are_applied_ones(
    empty_database_url: str, database_url: str
) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("DELETE FROM schema_migrations WHERE package = 'shop'")
    assert pending(database_url) == [name for name in ALL if name.startswith("shop/")]
    assert pending(empty_database_url) == ALL
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("SELECT to_regclass('schema_migrations')").fetchone() == (None,)


def outside(sql: str) -> Migration:
    return Migration("shop", "9999_outside.sql", f"{OUTSIDE_A_TRANSACTION}\n{sql}")


def test_an_index_that_was_left_invalid_is_built_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = outside(
        "-- Why.\nCREATE UNIQUE INDEX CONCURRENTLY twice_a_number ON numbers (number);\n"
        "CREATE INDEX CONCURRENTLY numbers_again ON numbers (number);\n"
    )
    monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [*migrations(), step])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE numbers AS SELECT 1 AS number FROM generate_series(1, 2)")
        connection.execute("GRANT ALL ON numbers TO daftari_owner")
        connection.execute("ALTER TABLE numbers OWNER TO daftari_owner")
        with pytest.raises(psycopg.errors.UniqueViolation):
            migrate(database_url)
        indexes = (
            "SELECT indexrelid::regclass::text, indisvalid FROM pg_index WHERE indrelid = 'numbers'::regclass"
        )
        assert connection.execute(indexes).fetchall() == [("twice_a_number", False)]
        assert pending(database_url) == ["shop/9999_outside.sql"]

        connection.execute("DELETE FROM numbers WHERE ctid = '(0,2)'")
        assert migrate(database_url) == ["shop/9999_outside.sql"]
        assert sorted(connection.execute(indexes).fetchall()) == [
            ("numbers_again", True),
            ("twice_a_number", True),
        ]


def test_a_file_outside_a_transaction_goes_on_where_it_stopped(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = outside("CREATE INDEX CONCURRENTLY once_more ON event_topics (topic);\n")
    monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [*migrations(), step])
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("CREATE INDEX once_more ON event_topics (topic)")
    assert migrate(database_url) == ["shop/9999_outside.sql"]


def test_a_lock_that_is_held_is_asked_for_again(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The lock's holder lets it go in the first pause: by then the migration has given up waiting once."""
    pauses = []
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE event_topics IN ACCESS SHARE MODE")

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            holder.rollback()

        step = Migration("shop", "9999_column.sql", "ALTER TABLE event_topics ADD COLUMN note text")
        monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [*migrations(), step])
        monkeypatch.setattr("ledger.store.migrate._LOCK_TIMEOUT", "10ms")
        monkeypatch.setattr("ledger.store.migrate.sleep", pause)
        assert migrate(database_url) == ["shop/9999_column.sql"]
    assert len(pauses) == 1


def test_a_lock_that_is_not_to_be_had_is_named_and_changes_nothing(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Migration("shop", "9999_column.sql", "ALTER TABLE event_topics ADD COLUMN note text")
    monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [*migrations(), step])
    monkeypatch.setattr("ledger.store.migrate._LOCK_TIMEOUT", "10ms")
    monkeypatch.setattr("ledger.store.migrate.sleep", lambda _: None)
    with psycopg.connect(database_url) as holder:
        holder.execute("LOCK TABLE event_topics IN ACCESS SHARE MODE")
        with pytest.raises(MigrationError, match="keeps the lock that a migration needs"):
            migrate(database_url)
    assert pending(database_url) == ["shop/9999_column.sql"]


def test_a_pending_migration_waits_for_a_long_scan_and_none_pending_does_not(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses = []
    with psycopg.connect(database_url) as scan:
        assert scan.execute(SHARE_SCHEMA).fetchone() == (True,)
        assert migrate(database_url) == []

        def pause(seconds: float) -> None:
            pauses.append(seconds)
            scan.rollback()

        step = Migration("shop", "9999_column.sql", "ALTER TABLE event_topics ADD COLUMN note text")
        monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [*migrations(), step])
        monkeypatch.setattr("ledger.store.migrate.sleep", pause)
        assert migrate(database_url) == ["shop/9999_column.sql"]
    assert len(pauses) == 1


def test_an_index_that_an_old_snapshot_holds_up_is_given_up_and_built_by_the_next_run(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = outside("CREATE INDEX CONCURRENTLY once_more ON event_topics (topic);\n")
    monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [*migrations(), step])
    with psycopg.connect(database_url) as reader:
        reader.execute("LOCK TABLE event_topics IN ROW EXCLUSIVE MODE")
        monkeypatch.setattr("ledger.store.migrate._CONCURRENT_LOCK_TIMEOUT", "10ms")
        with pytest.raises(MigrationError, match="or an old snapshot"):
            migrate(database_url)
    monkeypatch.setattr("ledger.store.migrate._CONCURRENT_LOCK_TIMEOUT", "1min")
    assert migrate(database_url) == ["shop/9999_outside.sql"]
