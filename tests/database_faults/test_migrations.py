"""A migration under running processes: prepared statements and cached plans go out of date."""

from collections.abc import Callable
from contextlib import closing

import pytest

from ledger.errors import Unavailable
from ledger.store.database import Database
from tests.database_faults.conftest import Administer, buyer_with_prompt
from tests.scenarios.steps import approve
from tests.support.instance import Instance
from tests.support.waiting import wait_until

CHANGES = (
    "DROP SCHEMA analytics CASCADE",  # PostgreSQL retypes no column that a view reads.
    "ALTER TABLE payment_sessions ALTER COLUMN attempts TYPE bigint, ALTER COLUMN session_status TYPE varchar(64)",
    "ALTER TABLE payment_sessions ADD COLUMN added text",
    "CREATE INDEX payment_sessions_added ON payment_sessions (added)",
    "ALTER TABLE daraja_inbox ALTER COLUMN tries TYPE bigint, ADD COLUMN added text",
    "ALTER TABLE payment_refunds ALTER COLUMN failures TYPE bigint",
    "ALTER TABLE payment_sessions DROP COLUMN added",
)


def test_no_request_and_no_job_fails_when_a_table_changes(instance: Instance, administer: Administer) -> None:
    instance.start_worker()
    for user, change in enumerate(CHANGES, 1):
        buyer, session_id, phone = buyer_with_prompt(instance, user)
        for _ in range(3):
            assert buyer.status(session_id)["session_status"] == "payment_initiated"
        administer(change)
        for _ in range(3):
            assert buyer.status(session_id)["session_status"] == "payment_initiated", change
            assert buyer.get("/api/payments/sessions/").status_code == 200
        approve(instance, phone)
        wait_until(lambda: buyer.status(session_id)["session_status"] == "order_created", change)  # noqa: B023 - called in this round


def test_a_statement_that_another_made_the_server_forget_is_prepared_again(database: Database) -> None:
    with database.connection() as connection:
        for _ in range(3):
            assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}
        connection.pgconn.exec_(b"DEALLOCATE ALL")
        assert connection.execute("SELECT 1 AS one").fetchone() == {"one": 1}


def test_in_a_transaction_the_connection_goes_and_the_next_is_well(
    database_url: str, administer: Administer
) -> None:
    database = Database(
        database_url, max_connections=1
    )  # So the one that is lent has prepared the statement.

    def read(before: Callable[[], object] = lambda: None) -> int:
        with database.transaction() as connection:
            before()
            row = connection.execute("SELECT * FROM ledger_node").fetchone()
        return len(row)

    with closing(database):
        for _ in range(3):
            assert read() == 3
        with pytest.raises(Unavailable):
            read(lambda: administer("ALTER TABLE ledger_node ADD COLUMN added text"))
        assert read() == 4
