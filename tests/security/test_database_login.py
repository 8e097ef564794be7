"""What a login with the application's rights can do to the database, if its password is stolen."""

import re
from importlib import resources
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.application import Ledger
from ledger.store.migrate import created_names, migrate, migrations
from tests.support.checkouts import Checkout

GRANTS = (resources.files("ledger.store") / "grants.sql").read_text("utf-8")
DROPPED = frozenset({"payment_refunds_rebuilt", "payment_cases_rebuilt"})
"""Tables that a later migration drops."""

NAMES = sorted(
    {"schema_migrations", *(name for step in migrations() for name in created_names(step))} - DROPPED
)
SQL = "".join(step.sql for step in migrations())
OF_TRIGGERS = set(re.findall(r"FUNCTION (\w+)\(\) RETURNS trigger", SQL))
"""Nobody calls them."""

DEFINERS = """
SELECT proname, pg_get_userbyid(proowner), proconfig FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND prosecdef
"""
OWNERS = """
SELECT relname, pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'public'::regnamespace
UNION ALL SELECT proname, pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""
CALLABLE_BY_PUBLIC = """
SELECT proname FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND has_function_privilege('public', oid, 'EXECUTE')
"""


@pytest.mark.parametrize("name", NAMES)
def test_each_table_and_function_has_a_line_of_rights(name: str) -> None:
    assert name in OF_TRIGGERS or re.search(rf"\b{name}\b", GRANTS), f"grants.sql has no line for {name}."


def test_all_belongs_to_a_role_that_cannot_log_in(superuser: Connection[TupleRow]) -> None:
    assert {owner for _, owner in superuser.execute(OWNERS)} == {"daftari_owner"}
    role = "SELECT rolcanlogin OR rolsuper OR rolcreaterole FROM pg_roles WHERE rolname = 'daftari_owner'"
    assert superuser.execute(role).fetchone() == (False,)


def test_a_function_with_its_owners_rights_looks_into_our_schema_first(
    superuser: Connection[TupleRow],
) -> None:
    definers = superuser.execute(DEFINERS).fetchall()
    assert definers
    assert {owner for _, owner, _ in definers} == {"daftari_owner"}
    assert all("search_path=pg_catalog, public, pg_temp" in config for _, _, config in definers)


def test_no_function_of_ours_is_open_to_every_login(superuser: Connection[TupleRow]) -> None:
    assert superuser.execute(CALLABLE_BY_PUBLIC).fetchall() == []


@pytest.mark.parametrize("table", ["payment_refs", "ledger_node"])
def test_a_temporary_table_cannot_take_the_place_of_ours(
    ledger: Ledger, superuser: Connection[TupleRow], login: Connection[TupleRow], table: str
) -> None:
    Checkout(ledger)
    shadow = f"CREATE TEMPORARY TABLE {table} (LIKE public.{table})"
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        login.execute(shadow.encode())
    superuser.execute(f"GRANT TEMPORARY ON DATABASE {login.info.dbname} TO daftari_app".encode())
    login.execute(shadow.encode())
    login.execute("SELECT reserve_reference('UKG1', 'mpesa_receipt', %s)", (uuid4(),))
    assert login.execute(f"SELECT count(*) FROM pg_temp.{table}".encode()).fetchone() == (0,)
    assert superuser.execute("SELECT count(*) FROM payment_refs").fetchone() == (1,)


def test_each_migration_run_gives_the_rights_anew(
    database_url: str, superuser: Connection[TupleRow], login: Connection[TupleRow]
) -> None:
    superuser.execute("REVOKE ALL ON ALL TABLES IN SCHEMA public FROM daftari_app")
    superuser.execute("GRANT DELETE ON payment_events TO daftari_app")
    superuser.execute("ALTER FUNCTION reserve_reference SET search_path = pg_temp")
    assert migrate(database_url) == []
    assert login.execute("SELECT count(*) FROM payment_events").fetchone() == (0,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        login.execute("DELETE FROM payment_events")
    test_a_function_with_its_owners_rights_looks_into_our_schema_first(superuser)
