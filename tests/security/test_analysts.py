"""What the login of an analyst reads, and what it cannot do."""

from collections.abc import Iterator
from contextlib import nullcontext

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction
from psycopg.rows import TupleRow

from api.local.database_logins import url_of_login
from ledger.application import Ledger
from ledger.errors import InvalidValue
from ledger.store import analysts
from ledger.store.migrate import migrate
from ledger.store.role_names import DEFAULT_ROLES
from tests.security.test_what_a_login_may_not import BEYOND_OUR_TABLES, TABLES, refuses
from tests.support.analysts import PASSWORD, new_analyst
from tests.support.checkouts import Checkout
from tests.support.database import new_database

VIEWS = "SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace"
KINDS = """
SELECT DISTINCT relkind::text FROM pg_class WHERE relnamespace = 'analytics'::regnamespace
"""
MAY_READ = """
SELECT oid::regclass::text FROM pg_class
WHERE relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace = 'public'::regnamespace
  AND (has_any_column_privilege(oid, 'SELECT') OR (relkind = 'S' AND has_sequence_privilege(oid, 'USAGE')))
"""
MAY_CALL = """
SELECT oid::regprocedure::text FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND has_function_privilege(oid, 'EXECUTE')
"""
OF_OTHERS = "usename <> current_user AND datname = current_database()"
HOLDS_OTHERS_BACK = (
    "SELECT pg_advisory_lock(1)",
    "SELECT pg_try_advisory_xact_lock(1, 2)",
    "SELECT pg_current_xact_id()",
    "SELECT txid_current()",
    "SELECT lo_create(0)",
    "SELECT pg_logical_emit_message(true, 'a', 'b')",
    f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {OF_OTHERS}",
    "LOCK TABLE analytics.payment_sessions IN SHARE MODE",
    "LOCK TABLE public.payment_sessions IN ACCESS SHARE MODE",
    "SELECT FROM payment_sessions FOR UPDATE",
    "UPDATE payment_sessions SET version = 1",
    "DELETE FROM counties",
    "CREATE TABLE analytics.mine (a integer)",
    "CREATE OR REPLACE VIEW analytics.counties AS SELECT 1",
    "SET temp_file_limit = -1",
    "ALTER ROLE daftari_app CONNECTION LIMIT 0",
)


@pytest.fixture
def analyst_url(database_url: str) -> Iterator[str]:
    with new_analyst(database_url) as url:
        yield url


@pytest.fixture
def analyst(analyst_url: str) -> Iterator[Connection[TupleRow]]:
    with psycopg.connect(analyst_url, autocommit=True) as connection:
        yield connection


def test_an_analyst_reads_every_view_by_its_bare_name(analyst: Connection[TupleRow]) -> None:
    views = [name for (name,) in analyst.execute(VIEWS)]
    assert {"payment_sessions", "by_county", "projection_status", "counties"} <= set(views)
    for view in views:
        assert analyst.execute(f"SELECT * FROM {view}".encode()).description, view
    assert [kind for (kind,) in analyst.execute(KINDS)] == ["v"]


def test_an_analyst_reads_nothing_else(analyst: Connection[TupleRow]) -> None:
    assert analyst.execute(MAY_READ).fetchall() == []
    assert analyst.execute(MAY_CALL).fetchall() == []
    for table in TABLES:
        assert refuses(analyst, f"SELECT FROM public.{table}"), table


@pytest.mark.parametrize("is_read_only", [True, False])
def test_an_analyst_changes_nothing_and_holds_nobody_back(
    analyst: Connection[TupleRow], superuser: Connection[TupleRow], *, is_read_only: bool
) -> None:
    superuser.execute("SELECT 1")
    analyst.execute("SET search_path = analytics, public")
    if not is_read_only:
        analyst.execute("SET default_transaction_read_only = off")
    for statement in (*HOLDS_OTHERS_BACK, *BEYOND_OUR_TABLES):
        refused: type[Exception] | None = None
        try:
            with analyst.transaction(force_rollback=True) if "SYSTEM" not in statement else nullcontext():
                analyst.execute(statement.encode())
        except psycopg.Error as error:
            refused = type(error)
        expected = (
            {InsufficientPrivilege, ReadOnlySqlTransaction} if is_read_only else {InsufficientPrivilege}
        )
        assert refused in expected, (statement, refused)


def test_the_processes_keep_what_is_closed_to_others(
    ledger: Ledger, analyst: Connection[TupleRow], login: Connection[TupleRow]
) -> None:
    assert refuses(analyst, "SELECT pg_advisory_lock(1)")
    Checkout(ledger).prompt().pay().order()
    assert login.execute("SELECT pg_try_advisory_lock(1)").fetchone() == (True,)
    assert refuses(login, "SELECT lo_import('/etc/passwd')")


def test_a_session_begins_with_its_limits(analyst: Connection[TupleRow]) -> None:
    for setting, value in (analysts.LIMITS | {"temp_file_limit": analysts.MAX_TEMPORARY}).items():
        shown = analyst.execute("SELECT current_setting(%s)", (setting,)).fetchone()
        assert shown == ({"60s": "1min"}.get(value, value),), setting


def test_only_so_many_sessions_are_open_at_once(analyst_url: str) -> None:
    opened = [psycopg.connect(analyst_url) for _ in range(analysts.MAX_CONNECTIONS)]
    with pytest.raises(psycopg.OperationalError, match="too many connections"):
        psycopg.connect(analyst_url)
    for connection in opened:
        connection.close()


def test_an_analyst_sees_no_text_of_others(
    analyst: Connection[TupleRow], superuser: Connection[TupleRow]
) -> None:
    superuser.execute("SELECT 'a secret'")
    texts = analyst.execute(
        f"SELECT DISTINCT query FROM pg_stat_activity WHERE {OF_OTHERS}".encode()
    ).fetchall()
    assert texts == [("<insufficient privilege>",)]


def test_an_analyst_is_let_into_one_database(
    analyst_url: str, server_url: str, template_database: str
) -> None:
    with (
        new_database(server_url, template_database) as other,
        psycopg.connect(other, autocommit=True) as owner,
    ):
        owner.execute(f"REVOKE CONNECT ON DATABASE {owner.info.dbname} FROM PUBLIC".encode())
        name = psycopg.conninfo.conninfo_to_dict(analyst_url)["user"]
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url_of_login(other, str(name), PASSWORD))


def test_each_migration_run_gives_the_views_anew(
    database_url: str, analyst: Connection[TupleRow], superuser: Connection[TupleRow]
) -> None:
    superuser.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA analytics FROM {DEFAULT_ROLES.analysts}".encode())
    superuser.execute(f"GRANT SELECT ON payment_events TO {DEFAULT_ROLES.analysts}".encode())
    assert refuses(analyst, "SELECT FROM payment_sessions")
    assert migrate(database_url) == []
    assert not refuses(analyst, "SELECT FROM payment_sessions")
    assert refuses(analyst, "SELECT FROM public.payment_events")


def test_what_the_views_are_made_of_belongs_to_the_owner(superuser: Connection[TupleRow]) -> None:
    owners = superuser.execute(
        "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relnamespace = 'analytics'::regnamespace "
        "UNION SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'analytics' "
        "UNION SELECT pg_get_userbyid(proowner) FROM pg_proc WHERE pronamespace = 'analytics'::regnamespace"
    ).fetchall()
    assert owners == [("daftari_owner",)]
    functions = superuser.execute(
        "SELECT proconfig, has_function_privilege('public', oid, 'EXECUTE') FROM pg_proc "
        "WHERE pronamespace = 'analytics'::regnamespace"
    ).fetchall()
    assert functions == [(["search_path=pg_catalog, public, pg_temp"], False)] * 3


@pytest.mark.parametrize(
    "name", ["Wanjiru", "1a", "pg_a", "daftari_app", "a b", 'a"b', "", "a" * 41, "public", "none"]
)
def test_a_name_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(InvalidValue, match="small letters"):
        analysts.parse_name(name)
