import psycopg
import pytest

from api.local.databases import migrate_database
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
