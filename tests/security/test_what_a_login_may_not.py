"""A login with the application's rights tries everything that it should not be able to do, table by table."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import Connection
from psycopg.errors import InsufficientPrivilege
from psycopg.rows import TupleRow

from api.local.database_logins import url_of_login
from ledger.application import Ledger
from ledger.store.block_signer import BlockSigner
from ledger.store.database import APP_ROLE, Database
from tests.ledger.store.test_blocks import KEY, sign
from tests.security.test_database_login import NAMES, SQL
from tests.support.checkouts import Checkout
from tests.support.database import APP_PASSWORD, new_database

MAY_DELETE = {
    "live_prompts": "locks of phones",
    "prompt_counts": "counts for limits",
    "request_leases": "counts for limits",
    "idempotency_keys": "answers of a day",
    "attempt_checks": "when to ask M-Pesa next",
    "refund_checks": "when to ask M-Pesa next",
    "order_failures": "what to try again",
    "follower_failures": "what to try again",
    "statement_uploads": "files that are not imported yet",
    "statement_pieces": "files that are not imported yet",
    "payment_figures": "folded from the log",
    "payment_figures_rebuilt": "folded from the log",
    "payment_metrics": "folded from the log",
    "payment_metrics_rebuilt": "folded from the log",
    "payment_refunds": "folded from the log",
    "payment_cases": "folded from the log",
    "payment_search": "copied from payment_sessions",
    "projection_rebuilds_under_way": "how far a rebuild is",
    "journal_entries": "folded from the log and the movement log",
    "journal_entries_rebuilt": "folded from the log and the movement log",
    "shop_cart_items": "carts",
    "webhook_endpoints": "who is told of events; what was told stays in the log",
}
"""What a process may delete: no fact about money, no key, no message, no decision. All else is for functions."""

READ_ONLY = {
    *(
        "payment_events",
        "payment_sessions",
        "payment_refs",
        "ledger_node",
        "schema_migrations",
        "signed_blocks",
    ),
    *(
        "token_revocations",
        "customer_erasures",
        "reencrypted_tables",
        "event_topics",
        "event_mac_starts",
        "audit_log",
        "sealed_settings",
        "shop_counties",
        "shop_subcounties",
        "payment_phones",
        "checkouts",
    ),
}
FINAL_COLUMNS = {
    "daraja_inbox": (
        "sealed_body",
        "body_sha256",
        "is_proven",
        "session_id",
        "received_at",
        "channel",
        "key_owner",
    ),
    "mpesa_movements": ("receipt", "kind", "money_in", "movement_key", "linked_receipt", "first_seen_at"),
    "customer_keys": ("user_id", "created_at"),
    "api_keys": ("name", "role", "digest", "allowed_addresses", "expires_at", "revoked_at", "mac"),
    "verification_runs": ("violations", "events", "finished_at"),
    "reconciliations": ("found", "file_sha256"),
    "shop_orders": ("total_cents", "session_id", "user_id", "order_status"),
    "shop_order_items": ("price_cents", "quantity_thousandths"),
    "shop_stock_changes": ("change_thousandths", "reason"),
    "follower_positions": ("name", "origin"),
    "payment_search": ("session_id", "created_at", "total_cents"),
}
COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attidentity = ''
"""
BEYOND_OUR_TABLES = (
    "CREATE TABLE mine (a integer)",
    "CREATE TEMPORARY TABLE mine (a integer)",
    "CREATE VIEW mine AS SELECT 1",
    "CREATE FUNCTION mine() RETURNS integer LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "CREATE ROLE mine",
    "CREATE EXTENSION dblink",
    "SET ROLE daftari_owner",
    "SET SESSION AUTHORIZATION daftari_owner",
    "SET session_replication_role = replica",
    "ALTER SYSTEM SET fsync = off",
    "ALTER ROLE daftari_app SUPERUSER",
    "GRANT daftari_owner TO daftari_app",
    "ALTER FUNCTION reserve_reference OWNER TO daftari_app",
    "ALTER FUNCTION reserve_reference SET search_path = pg_temp",
    "CREATE OR REPLACE FUNCTION refuse_to_rewrite() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
    "DROP FUNCTION refuse_to_rewrite CASCADE",
    "SELECT pg_read_file('/etc/passwd')",
    "SELECT lo_import('/etc/passwd')",
    "SELECT lo_export(1, '/tmp/stolen')",
    "COPY payment_events TO PROGRAM 'cat'",
    "COPY payment_events TO '/tmp/stolen'",
    "COPY payment_cases FROM '/etc/passwd'",
    "SELECT * FROM pg_authid",
    "SELECT pg_reload_conf()",
)


TABLES = [name for name in NAMES if name == "schema_migrations" or f"CREATE TABLE {name} " in SQL]


def refuses(login: Connection[TupleRow], statement: str, *values: Any) -> bool:
    """Say whether the right is lacking; any other error means that it is there."""
    whole = nullcontext() if statement.startswith("ALTER SYSTEM") else login.transaction(force_rollback=True)
    try:
        with whole:
            login.execute(statement.encode(), values)
    except InsufficientPrivilege:
        return True
    except psycopg.Error:
        return False
    return False


def columns_of(login: Connection[TupleRow], table: str) -> list[str]:
    return [name for (name,) in login.execute(COLUMNS, (table,))]


@pytest.fixture(scope="module")
def idle(server_url: str, template_database: str) -> Iterator[Connection[TupleRow]]:
    """A login for all tests in which it can do nothing: what is refused, or rolled back, leaves no trace."""
    with new_database(server_url, template_database) as url:
        login = url_of_login(url, APP_ROLE, APP_PASSWORD)
        with psycopg.connect(login, autocommit=True) as connection:
            yield connection


@pytest.mark.parametrize("table", TABLES)
def test_no_table_can_be_emptied_altered_or_given_away(idle: Connection[TupleRow], table: str) -> None:
    for statement in (
        f"TRUNCATE {table}",
        f"DROP TABLE {table} CASCADE",
        f"ALTER TABLE {table} DISABLE TRIGGER ALL",
        f"ALTER TABLE {table} ADD COLUMN mine integer",
        f"ALTER TABLE {table} OWNER TO daftari_app",
        f"CREATE INDEX ON {table} ((1))",
        f"CREATE TRIGGER mine BEFORE INSERT ON {table} EXECUTE FUNCTION refuse_to_rewrite()",
        f"CREATE RULE mine AS ON INSERT TO {table} DO INSTEAD NOTHING",
        f"CREATE POLICY mine ON {table}",
        f"COMMENT ON TABLE {table} IS 'mine'",
    ):
        assert refuses(idle, statement), statement


@pytest.mark.parametrize("table", TABLES)
def test_rows_can_be_deleted_only_where_they_are_no_facts(idle: Connection[TupleRow], table: str) -> None:
    assert refuses(idle, f"DELETE FROM {table} WHERE false") is (table not in MAY_DELETE)


@pytest.mark.parametrize("table", TABLES)
def test_a_key_of_a_row_is_never_rewritten_but_in_working_tables(
    idle: Connection[TupleRow], table: str
) -> None:
    writable = [
        column
        for column in columns_of(idle, table)
        if not refuses(idle, f"UPDATE {table} SET {column} = {column} WHERE false")
    ]
    assert table in MAY_DELETE or writable != columns_of(idle, table)
    if table in READ_ONLY:
        assert writable == []
    assert not set(writable) & set(FINAL_COLUMNS.get(table, ()))


@pytest.mark.parametrize("table", sorted(READ_ONLY))
def test_what_is_written_by_functions_takes_no_row_of_a_logins_own(
    idle: Connection[TupleRow], table: str
) -> None:
    assert refuses(idle, f"INSERT INTO {table} DEFAULT VALUES")
    assert refuses(idle, f"COPY {table} FROM STDIN")
    assert refuses(idle, f"SELECT FROM {table} FOR UPDATE")
    assert refuses(idle, f"LOCK TABLE {table} IN EXCLUSIVE MODE")
    assert refuses(
        idle,
        f"MERGE INTO {table} USING (SELECT 1) AS one ON false WHEN NOT MATCHED THEN INSERT DEFAULT VALUES",
    )


@pytest.mark.parametrize("statement", BEYOND_OUR_TABLES)
def test_nothing_beyond_the_tables_is_open(idle: Connection[TupleRow], statement: str) -> None:
    assert refuses(idle, statement)


def test_a_login_cannot_become_more_than_it_is(idle: Connection[TupleRow]) -> None:
    idle.execute("RESET ROLE")
    idle.execute("RESET SESSION AUTHORIZATION")
    assert idle.execute("SELECT session_user, current_user").fetchone() == ("daftari_app", "daftari_app")


def test_triggers_that_keep_the_log_run_for_everyone(
    ledger: Ledger, superuser: Connection[TupleRow], login: Connection[TupleRow]
) -> None:
    Checkout(ledger)
    superuser.execute("GRANT UPDATE, DELETE ON payment_events TO daftari_app")
    with suppress(InsufficientPrivilege):
        login.execute("SET session_replication_role = replica")
    for statement in ("UPDATE payment_events SET version = 1", "DELETE FROM payment_events"):
        with pytest.raises(psycopg.Error, match="append-only"):
            login.execute(statement.encode())


BOGUS: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "of another origin": lambda block: block | {"origin": block["origin"] + 1},
    "that leaves a number out": lambda block: block | {"number": block["number"] + 1},
    "that leaves events out": lambda block: block | {"after_position": block["after_position"] + 1},
    "of other content": lambda block: block | {"digest": bytes(32)},
    "of another count": lambda block: block | {"events": block["events"] + 1},
    "without the hash before": lambda block: block | {"previous_hash": bytes(32)},
    "over what is to come": lambda block: block | {"until_position": block["until_position"] + (1 << 40)},
    "that ends at no event": lambda block: block | {"until_position": block["until_position"] + 1},
}


@pytest.mark.parametrize("bogus", sorted(BOGUS))
def test_a_bogus_block_is_refused(
    ledger: Ledger,
    database: Database,
    superuser: Connection[TupleRow],
    login: Connection[TupleRow],
    bogus: str,
) -> None:
    block = _next_block(ledger, database, superuser)
    _add(login, block)
    assert superuser.execute("SELECT count(*) FROM signed_blocks").fetchone() == (2,)
    following = _next_block(ledger, database, superuser)
    for add in (_add, _add_as_before):
        with pytest.raises(psycopg.Error) as refusal:
            add(login, BOGUS[bogus](following))
        assert refusal.value.sqlstate == "DF004"


def _next_block(ledger: Ledger, database: Database, superuser: Connection[TupleRow]) -> dict[str, Any]:
    """Sign a block, take it out again, and return what was in it."""
    Checkout(ledger)
    sign(database, BlockSigner(database, lambda: KEY))
    Checkout(ledger)
    sign(database, BlockSigner(database, lambda: KEY))
    superuser.execute("SET session_replication_role = replica")
    cursor = superuser.execute(
        "DELETE FROM signed_blocks WHERE number = (SELECT max(number) FROM signed_blocks) RETURNING *"
    )
    superuser.execute("RESET session_replication_role")
    row = cursor.fetchone()
    assert row is not None
    assert cursor.description is not None
    return dict(zip((column.name for column in cursor.description), row, strict=True))


MARKS = "%s::smallint, %s, %s, %s, %s::integer, %s, %s, %s, %s, %s, %s"


def _add(login: Connection[TupleRow], block: dict[str, Any]) -> None:
    call = f"SELECT add_signed_head({MARKS}, %s, %s, %s)"
    login.execute(call.encode(), list(block.values())[:14])


def _add_as_before(login: Connection[TupleRow], block: dict[str, Any]) -> None:
    """As processes from before the tree do."""
    login.execute(f"SELECT add_signed_block({MARKS})".encode(), list(block.values())[:11])


def test_what_a_person_closed_stays_closed(
    superuser: Connection[TupleRow], login: Connection[TupleRow]
) -> None:
    superuser.execute("INSERT INTO pull_gaps VALUES (%s, now(), now(), now(), now(), 'user:9')", (uuid4(),))
    for change in ("closed_at = NULL, closed_by = NULL", "closed_by = 'user:7'"):
        with pytest.raises(psycopg.Error, match="stays closed"):
            login.execute(f"UPDATE pull_gaps SET {change}".encode())


def test_a_follower_is_not_sent_back(login: Connection[TupleRow]) -> None:
    login.execute("INSERT INTO follower_positions VALUES ('orders', 1, 100)")
    with pytest.raises(psycopg.Error, match="only moves forward"):
        login.execute("UPDATE follower_positions SET position = 99")
    login.execute("SELECT forget_position_of_rebuild('orders')")
    assert login.execute("SELECT position FROM follower_positions").fetchone() == (100,)


def test_a_revocation_is_not_taken_back(superuser: Connection[TupleRow], login: Connection[TupleRow]) -> None:
    login.execute("SELECT revoke_token(7, '', '2026-11-01Z', NULL)")
    login.execute("SELECT revoke_token(7, repeat('a', 64), '2026-11-01Z', now() + interval '1 hour')")
    before = superuser.execute("SELECT * FROM token_revocations ORDER BY token_id").fetchall()
    for token in ("''", "repeat('a', 64)"):
        login.execute(f"SELECT revoke_token(7, {token}, '1970-01-01Z', '1970-01-01Z')".encode())
    login.execute("SELECT purge_revocations('2099-01-01Z')")
    assert superuser.execute("SELECT * FROM token_revocations ORDER BY token_id").fetchall() == before


def test_a_revoked_api_key_is_not_let_in_again(
    superuser: Connection[TupleRow], login: Connection[TupleRow]
) -> None:
    login.execute(
        "INSERT INTO api_keys (key_id, name, role, prefix, last_four, digest, allowed_addresses, created_at,"
        " created_by, mac) VALUES ('0123456789ab', 'a', 'server', 'dk_test_', 'abcd', '', '{}', now(), 'cli', '')"
    )
    login.execute("SELECT revoke_api_key('0123456789ab', '2026-11-01Z')")
    login.execute("SELECT revoke_api_key('0123456789ab', 'infinity')")
    login.execute("SELECT revoke_api_key('0123456789ab', NULL)")
    assert superuser.execute("SELECT revoked_at = '2026-11-01Z' FROM api_keys").fetchall() == [(True,)]


def test_a_purge_leaves_what_is_young(superuser: Connection[TupleRow], login: Connection[TupleRow]) -> None:
    superuser.execute(
        "INSERT INTO verification_runs SELECT gen_random_uuid(), now(), now(), 0, '0', '[]' FROM generate_series(1, 3)"
    )
    assert login.execute("SELECT purge_verification_runs(0)").fetchall() == []
    assert login.execute("SELECT purge_verification_runs(-5)").fetchall() == []


def test_a_login_that_only_reads_can_call_nothing_that_writes(
    database_url: str, superuser: Connection[TupleRow]
) -> None:
    name = f"analyst_{superuser.info.dbname}"
    superuser.execute(f"CREATE ROLE {name} LOGIN PASSWORD 'test'".encode())
    superuser.execute(f"GRANT SELECT ON payment_sessions, payment_metrics TO {name}".encode())
    try:
        with psycopg.connect(url_of_login(database_url, name, "test"), autocommit=True) as analyst:
            assert analyst.execute("SELECT count(*) FROM payment_sessions").fetchone() == (0,)
            for table in set(TABLES) - {"payment_sessions", "payment_metrics"}:
                assert refuses(analyst, f"SELECT FROM {table}"), table
            functions = analyst.execute(
                "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = 'public'::regnamespace "
                "AND has_function_privilege(oid, 'EXECUTE')"
            ).fetchall()
            assert functions == []
            assert refuses(analyst, "CREATE TEMPORARY TABLE payment_refs (a integer)")
            assert refuses(analyst, "CREATE TABLE mine (a integer)")
    finally:
        superuser.execute(f"DROP OWNED BY {name}".encode())
        superuser.execute(f"DROP ROLE {name}".encode())
