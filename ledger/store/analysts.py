"""The logins of analysts, which read the views of the schema `analytics` and nothing else.

Rights hold whatever a login does. Limits of time are the login's defaults, for PostgreSQL lets any session change them.
"""

import re
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection, sql

from ledger.errors import InvalidValue
from ledger.store.role_names import Roles
from ledger.store.roles import exists, view_grants

# Rights on the same views and functions cannot be given twice at once.
ALONE = f"SELECT pg_advisory_lock({0x0DAF7A23})"
"""Lets a connection change logins alone, until it is closed."""

MAX_CONNECTIONS = 3
LIMITS = {
    "search_path": "analytics",
    "timezone": "Africa/Nairobi",
    "default_transaction_read_only": "on",
    "statement_timeout": "60s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "idle_session_timeout": "30min",
}
"""What a session of an analyst begins with."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_RESERVED = ("pg_", "daftari")
_WORDS = ("public", "none")
"""What PostgreSQL takes for no name of a role."""
_IS_ANALYST = """
SELECT FROM pg_auth_members WHERE member = (SELECT oid FROM pg_roles WHERE rolname = %s)
    AND roleid = (SELECT oid FROM pg_roles WHERE rolname = %s)
"""
_IS_SUPERUSER = "SELECT FROM pg_roles WHERE rolname = current_user AND rolsuper"
# Advisory locks are what our jobs run alone by, a transaction's id holds followers back, and large objects fill the
# disk. PostgreSQL lets every login have them, until a superuser says otherwise; our own roles keep them.
_CLOSE_FUNCTIONS = """
DO $$
DECLARE
    v_function regprocedure;
    v_role name;
BEGIN
    FOR v_function IN
        SELECT oid FROM pg_proc WHERE pronamespace = 'pg_catalog'::regnamespace
        AND proname ~ '^(pg_(try_)?advisory_|pg_current_xact_id$|txid_current$|pg_logical_emit_message$|lo_|lowrite$)'
        AND has_function_privilege('public', oid, 'EXECUTE')
    LOOP
        EXECUTE format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', v_function);
        FOR v_role IN
            SELECT rolname FROM pg_roles WHERE rolname IN ({roles})
            OR oid = (SELECT datdba FROM pg_database WHERE datname = current_database())
        LOOP
            EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO %I', v_function, v_role);
        END LOOP;
    END LOOP;
END
$$;
"""
MAX_TEMPORARY = "1GB"
"""What the queries of a session may put on the disk."""


def parse_name(name: str) -> str:
    """Return the name of a login. Raises InvalidValue."""
    if not _NAME.fullmatch(name) or name.startswith(_RESERVED) or name in _WORDS:
        raise InvalidValue(
            "Choose a name of small letters, digits and underscores, such as wanjiru: at most 40, the first a letter, "
            "and not public, none, or one that begins with pg_ or daftari."
        )
    return name


def is_analyst(connection: Connection[Any], roles: Roles, name: str) -> bool:
    """Say whether there is a login of this name that is an analyst's."""
    return connection.execute(_IS_ANALYST, (name, roles.analysts)).fetchone() is not None


def create_statements(connection: Connection[Any], roles: Roles, name: str, password: str) -> list[str]:
    """Return the SQL that makes a login, in which the password stands as PostgreSQL keeps it.

    Raises InvalidValue if there is a role of this name.
    """
    if exists(connection, name):
        known = (
            "an analyst: --rotate gives a new password" if is_analyst(connection, roles, name) else "a role"
        )
        raise InvalidValue(f"{name} is {known}. Choose another name for another person.")
    login, group, database = (
        sql.Identifier(part).as_string() for part in (name, roles.analysts, connection.info.dbname)
    )
    verifier = _verifier(connection, name, password)
    return [
        *([] if exists(connection, roles.analysts) else [f"CREATE ROLE {group} NOLOGIN;"]),
        *view_grants(roles),
        f"CREATE ROLE {login} LOGIN PASSWORD {verifier} CONNECTION LIMIT {MAX_CONNECTIONS} IN ROLE {group};",
        *(f"ALTER ROLE {login} SET {setting} = '{value}';" for setting, value in LIMITS.items()),
        f"GRANT CONNECT ON DATABASE {database} TO {login};",
    ]


def superuser_statements(roles: Roles, name: str) -> list[str]:
    """Return the SQL that closes to a new login what only a superuser can close."""
    ours = ", ".join(sql.Literal(role).as_string() for role in (roles.owner, roles.migrator, roles.app))
    login = sql.Identifier(name).as_string()
    return [
        f"ALTER ROLE {login} SET temp_file_limit = '{MAX_TEMPORARY}';",
        _CLOSE_FUNCTIONS.format(roles=ours).strip(),
    ]


def rotate_statements(connection: Connection[Any], roles: Roles, name: str, password: str) -> list[str]:
    """Return the SQL that gives an analyst another password. Raises InvalidValue if there is no such analyst."""
    _require_analyst(connection, roles, name)
    login = sql.Identifier(name).as_string()
    return [f"ALTER ROLE {login} PASSWORD {_verifier(connection, name, password)};", _end_sessions(name)]


def drop_statements(connection: Connection[Any], roles: Roles, name: str) -> list[str]:
    """Return the SQL that ends an analyst's sessions and removes the login. Raises InvalidValue if there is none."""
    _require_analyst(connection, roles, name)
    login = sql.Identifier(name).as_string()
    return [
        f"ALTER ROLE {login} NOLOGIN;",
        # Who is no superuser ends a session, and drops what a login has set about itself, as its member.
        f"GRANT {login} TO CURRENT_USER;",
        _end_sessions(name),
        f"DROP OWNED BY {login};",
        f"DROP ROLE {login};",
    ]


def is_superuser(connection: Connection[Any]) -> bool:
    """Say whether the connection is a superuser's."""
    return connection.execute(_IS_SUPERUSER).fetchone() is not None


def execute(
    connection: Connection[Any], statements: list[str], record: Callable[[Connection[Any]], object]
) -> bool:
    """Execute statements and `record` them in one commit; return False, with nothing done, if this login may not."""
    is_done = False
    with connection.transaction():
        record(connection)
        try:
            for statement in statements:
                connection.execute(statement.encode())
            is_done = True
        except psycopg.errors.InsufficientPrivilege:
            raise psycopg.Rollback from None
    return is_done


def _require_analyst(connection: Connection[Any], roles: Roles, name: str) -> None:
    if not is_analyst(connection, roles, name):
        raise InvalidValue(f"There is no analyst {name}.")


def _verifier(connection: Connection[Any], name: str, password: str) -> str:
    encrypted = connection.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
    return sql.Literal(encrypted.decode()).as_string()


def _end_sessions(name: str) -> str:
    end = sql.SQL("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = {};")
    return end.format(sql.Literal(name)).as_string()
