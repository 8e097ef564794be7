"""A role or a database with settings of its own: what we read, write and wait for does not depend on them."""

import psycopg
import pytest

from ledger.store.migrate import migrate
from tests.database_faults.conftest import Administer, buyer_with_prompt, name_of
from tests.scenarios.steps import approve
from tests.support.database import new_database
from tests.support.instance import Instance
from tests.support.waiting import wait_until

SETTINGS = {
    "DateStyle": "'SQL, DMY'",
    "TimeZone": "'Pacific/Auckland'",
    "IntervalStyle": "iso_8601",
    "extra_float_digits": "-15",
    "standard_conforming_strings": "off",
    "bytea_output": "escape",
    "array_nulls": "off",
    "default_transaction_isolation": "serializable",
    "default_transaction_deferrable": "on",
    "search_path": "nowhere",
    "statement_timeout": "100",
    "lock_timeout": "100",
    "idle_in_transaction_session_timeout": "100",
    "client_encoding": "LATIN1",
}


@pytest.mark.parametrize("scope", ["role", "database"])
def test_a_payment_goes_through_whatever_is_set(
    instance: Instance, administer: Administer, database_url: str, scope: str
) -> None:
    name = name_of(database_url)
    whom = f"ROLE CURRENT_USER IN DATABASE {name}" if scope == "role" else f"DATABASE {name}"
    for setting, value in SETTINGS.items():
        administer(f"ALTER {whom} SET {setting} = {value}")
    instance.services.database.drain()
    buyer, session_id, phone = buyer_with_prompt(instance, 1)
    approve(instance, phone)
    instance.start_worker()
    wait_until(lambda: buyer.status(session_id)["session_status"] == "order_created", "the order is made")
    shown = buyer.get(f"/api/payments/sessions/{session_id}/").json()
    assert shown["created_at"].endswith(("Z", "+00:00"))
    administer(f"ALTER {whom} RESET ALL")


def test_a_database_is_migrated_whatever_is_set(server_url: str) -> None:
    with new_database(server_url) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            for setting, value in SETTINGS.items():
                connection.execute(f"ALTER DATABASE {name_of(url)} SET {setting} = {value}".encode())
        assert migrate(url)
        assert migrate(url) == []
