import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from api.local.databases import migrate_database, server_major
from api.local.problems import DatabaseProblem
from ledger.store.migrate import Migration
from ledger.store.role_names import DEFAULT_ROLES


def test_a_file_that_fails_is_told_in_the_words_of_postgresql_and_not_by_a_line_of_it(
    empty_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Migration("ledger.store", "0001_broken.sql", "SELECT 1 FROM nowhere")
    monkeypatch.setattr("ledger.store.migrate.migrations", lambda: [broken])
    with pytest.raises(DatabaseProblem, match=r'\(relation "nowhere" does not exist\)') as problem:
        migrate_database(empty_database_url, DEFAULT_ROLES)
    assert isinstance(problem.value.__cause__, psycopg.errors.UndefinedTable)


def test_a_database_that_cannot_keep_every_name_is_refused_with_what_to_type(
    empty_database_url: str,
) -> None:
    name = f"{conninfo_to_dict(empty_database_url)['dbname']}_ascii"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0"
        )
    try:
        with pytest.raises(
            DatabaseProblem, match=r"encoded in SQL_ASCII, .* CREATE DATABASE name ENCODING 'UTF8'"
        ):
            server_major(make_conninfo(empty_database_url, dbname=name))
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name}")
