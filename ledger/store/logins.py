"""Whether the login of a connection is one that a process may use: it has the application's rights, and no more."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ipaddress import ip_address
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.errors import Unavailable
from ledger.store.role_names import Roles
from ledger.store.roles import setup_statements

_CONNECT_WITHIN_SECONDS = 5

_TOO_STRONG = """
SELECT fault FROM pg_roles AS login, LATERAL (VALUES
    (1, login.rolsuper, 'is a superuser'),
    (2, login.rolcreaterole, 'may create roles, and so become another'),
    (3, EXISTS (SELECT FROM pg_class WHERE relnamespace = 'public'::regnamespace
                AND relname IN ('payment_events', 'payment_sessions', 'payment_refs', 'audit_log')
                AND pg_has_role(login.oid, relowner, 'MEMBER')), 'owns the log, or may become its owner'),
    (4, EXISTS (SELECT FROM pg_roles AS owner WHERE owner.rolname = %(owner)s
                AND pg_has_role(login.oid, owner.oid, 'MEMBER')), 'may become the role ' || %(owner)s),
    (5, EXISTS (SELECT FROM pg_database WHERE datname = current_database()
                AND pg_has_role(login.oid, datdba, 'MEMBER')), 'owns the database'),
    (6, EXISTS (SELECT FROM pg_roles AS strong WHERE strong.rolname IN ('pg_write_all_data',
                'pg_execute_server_program', 'pg_write_server_files', 'pg_read_server_files')
                AND pg_has_role(login.oid, strong.oid, 'MEMBER')), 'has a role that reaches beyond our tables'),
    (7, coalesce(has_table_privilege(login.oid, to_regclass('public.payment_events'),
                                     'INSERT, UPDATE, DELETE, TRUNCATE, TRIGGER'), false), 'may write the log itself')
) AS found (number, is_so, fault)
WHERE login.rolname = session_user AND found.is_so ORDER BY number
"""
_AHEAD_OF_TIME = """
SELECT (SELECT max(position) FROM public.payment_events WHERE origin = node.origin) >> 20
       >= node.epoch + pg_snapshot_xmax(pg_current_snapshot())::text::bigint
FROM public.ledger_node AS node
"""
_OPEN_TO_ALL = """
SELECT statement FROM (VALUES
    (has_database_privilege('public', current_database(), 'TEMPORARY'),
     format('REVOKE TEMPORARY ON DATABASE %%I FROM PUBLIC;', current_database())),
    (has_database_privilege('public', current_database(), 'CONNECT'),
     format('GRANT CONNECT ON DATABASE %%I TO %%I, %%I;', current_database(), %(app)s::text, %(migrator)s::text)),
    (has_database_privilege('public', current_database(), 'CONNECT'),
     format('REVOKE CONNECT ON DATABASE %%I FROM PUBLIC;', current_database())),
    (has_schema_privilege('public', 'public', 'CREATE'), 'REVOKE CREATE ON SCHEMA public FROM PUBLIC;')
) AS found (is_open, statement) WHERE is_open
"""


def why_too_strong(database_url: str, roles: Roles) -> str:
    """Say in one sentence what the login may do that no process should, "" if nothing. Raises Unavailable."""
    with _connect(database_url) as connection:
        faults = [fault for (fault,) in connection.execute(_TOO_STRONG, {"owner": roles.owner}).fetchall()]
        login = connection.info.user
    return f"The login {login} {', '.join(faults)}." if faults else ""


def statements_lacking(database_url: str, roles: Roles, names: Sequence[str]) -> list[str]:
    """Return the SQL that makes the roles which lack, gives the owner the tables and functions `names`, and takes from
    every login what none needs. Raises Unavailable.
    """
    with _connect(database_url) as connection:
        values = {"app": roles.app, "migrator": roles.migrator}
        to_close = [statement for (statement,) in connection.execute(_OPEN_TO_ALL, values).fetchall()]
        return setup_statements(connection, roles, names) + to_close


def is_restored_without_migrating(database_url: str) -> bool:
    """Say whether new events would sort below old ones, in a dump that was not migrated since. Raises Unavailable."""
    with _connect(database_url) as connection:
        there = connection.execute("SELECT to_regclass('public.payment_events') IS NOT NULL").fetchone()
        return there == (True,) and connection.execute(_AHEAD_OF_TIME).fetchone() == (True,)


def is_private(database_url: str) -> bool:
    """Say whether the way to PostgreSQL is safe from others: on this machine, or encrypted to a verified server.

    Raises Unavailable.
    """
    with _connect(database_url) as connection:
        options = {option.keyword: option.val for option in connection.pgconn.info}
        mode = (options.get(b"sslmode") or b"").decode()
        return is_private_way(connection.info.host, connection.info.hostaddr, mode)


def is_private_way(host: str, address: str, sslmode: str) -> bool:
    """Say the same of a socket's folder or a host name, the address that it stands for, and libpq's sslmode."""
    if sslmode == "verify-full" or host.startswith(("/", "@")):
        return True
    try:
        return ip_address(address).is_loopback
    except ValueError:
        return False


@contextmanager
def _connect(database_url: str) -> Iterator[Connection[tuple[Any, ...]]]:
    try:
        with psycopg.connect(
            database_url, autocommit=True, connect_timeout=_CONNECT_WITHIN_SECONDS, row_factory=tuple_row
        ) as connection:
            yield connection
    except psycopg.OperationalError as error:
        raise Unavailable from error
