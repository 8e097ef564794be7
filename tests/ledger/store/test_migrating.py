import subprocess
import sys

import psycopg
import pytest

from ledger.store.migrate import PACKAGES, MigrationError, migrate, migrations, pending

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
