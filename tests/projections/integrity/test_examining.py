"""A check runs beside whatever else runs, for as long as it takes."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import Connection

from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.locks import SCHEMA_LOCK
from projections.integrity.invariants import check
from projections.integrity.violations import Violation


def test_no_limit_of_time_holds_for_a_check(database: Database) -> None:
    seen: list[str] = []

    def also(connection: Connection[Any]) -> Iterator[Violation]:
        for name in ("statement_timeout", "idle_in_transaction_session_timeout", "transaction_read_only"):
            row = connection.execute("SELECT current_setting(%s) AS setting", (name,)).fetchone()
            seen.append(row["setting"] if row else "")
        return iter(())

    assert check(database, also=also) == []
    assert seen == ["0", "0", "on"]


def test_nothing_is_checked_while_a_migration_runs(database: Database) -> None:
    with psycopg.connect(database.url, autocommit=True) as migration:
        migration.execute("SELECT pg_advisory_lock(%s)", (SCHEMA_LOCK,))
        with pytest.raises(Unavailable, match="is being migrated"):
            check(database)
    assert check(database) == []
