"""The roles of a database: one that owns the schema, one that migrates it, and one that the processes log in as.

Roles belong to a whole cluster, so their names can be set. The owner cannot log in: only the migrator may become it.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import resources
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import DuplicateObject, InsufficientPrivilege, UniqueViolation

from ledger.store.role_names import Roles

_EXISTS = "SELECT FROM pg_roles WHERE rolname = %s"
_MAY_CREATE_ROLES = "SELECT FROM pg_roles WHERE rolname = session_user AND (rolsuper OR rolcreaterole)"
_IS_MEMBER = "SELECT FROM pg_roles WHERE rolname = %s AND pg_has_role(session_user, oid, 'MEMBER')"
_MAY_CREATE_TABLES = "SELECT has_schema_privilege(oid, 'public', 'CREATE') FROM pg_roles WHERE rolname = %s"
_LACKS_SCHEMA = """
SELECT to_regnamespace('analytics') IS NULL AND NOT has_database_privilege(oid, current_database(), 'CREATE')
FROM pg_roles WHERE rolname = %s
"""
_CANNOT_LOG_IN = "SELECT NOT rolcanlogin FROM pg_roles WHERE rolname = %s"
_MAY_BECOME = """
SELECT pg_has_role(login.oid, other.oid, 'MEMBER') FROM pg_roles AS login, pg_roles AS other
WHERE login.rolname = %s AND other.rolname = %s
"""
_OF_OTHERS = """
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
       format('public.%%I', relname) AS name
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%(names)s) AND relkind IN ('r', 'p', 'S', 'v')
  AND pg_get_userbyid(relowner) <> %(owner)s
UNION ALL
SELECT 'FUNCTION', format('public.%%I(%%s)', proname, pg_get_function_identity_arguments(oid))
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proname = ANY(%(names)s) AND pg_get_userbyid(proowner) <> %(owner)s
UNION ALL
SELECT 'SCHEMA', nspname FROM pg_namespace
WHERE nspname = 'analytics' AND pg_get_userbyid(nspowner) <> %(owner)s
UNION ALL
SELECT 'VIEW', format('analytics.%%I', relname) FROM pg_class
WHERE relnamespace = to_regnamespace('analytics') AND relkind = 'v' AND pg_get_userbyid(relowner) <> %(owner)s
UNION ALL
SELECT 'FUNCTION', oid::regprocedure::text FROM pg_proc
WHERE pronamespace = to_regnamespace('analytics') AND pg_get_userbyid(proowner) <> %(owner)s
"""


def exists(connection: Connection[Any], role: str) -> bool:
    """Say whether the cluster has a role of this name."""
    return connection.execute(_EXISTS, (role,)).fetchone() is not None


def become_owner(connection: Connection[Any], roles: Roles, names: Sequence[str]) -> list[str]:
    """Act as the owner from here on, if this login may, with the tables and functions `names` owned by it.

    Missing roles are made where this login may make roles. Where it may not become the owner, it goes on as itself.
    Return the SQL of what the owner should own and this login cannot give it, for a person who can.
    """
    _make_missing(connection, roles)
    _close_to_public(connection)
    if not _may_become_owner(connection, roles):
        return []
    left = _take_over(connection, roles.owner, names)
    connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(roles.owner)))
    return left


def make_logins(
    connection: Connection[Any], roles: Roles, names: Sequence[str], passwords: Mapping[str, str]
) -> None:
    """As a superuser: let the owner own this database and its tables and functions `names`, make the roles that are
    missing, and give those of `passwords` their password.
    """
    _make_missing(connection, roles)
    for role, password in passwords.items():
        if not exists(connection, role):
            connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
        encrypted = connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256")
        change = sql.SQL("ALTER ROLE {} NOSUPERUSER NOCREATEROLE LOGIN PASSWORD {}")
        connection.execute(change.format(sql.Identifier(role), sql.Literal(encrypted.decode())))
    owner, database = sql.Identifier(roles.owner), sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("GRANT {} TO {}").format(owner, sql.Identifier(roles.migrator)))
    connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(database, owner))
    connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(owner))
    logins = sql.SQL(", ").join(sql.Identifier(role) for role in passwords)
    connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, logins))
    connection.execute(sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(database))
    _take_over(connection, roles.owner, names)


def setup_statements(connection: Connection[Any], roles: Roles, names: Sequence[str]) -> list[str]:
    """Return the SQL that a database still lacks to have the three roles, for a person who may execute it.

    The person need not be a superuser: who owns the database and may create roles can type it.
    """
    owner, migrator, app = (
        sql.Identifier(role).as_string() for role in (roles.owner, roles.migrator, roles.app)
    )
    database = sql.Identifier(connection.info.dbname).as_string()
    lacking = {
        f"CREATE ROLE {owner} NOLOGIN;": not exists(connection, roles.owner),
        f"CREATE ROLE {migrator} LOGIN PASSWORD '...';": not exists(connection, roles.migrator),
        f"CREATE ROLE {app} LOGIN PASSWORD '...';": not exists(connection, roles.app),
        f"ALTER ROLE {app} LOGIN PASSWORD '...';": _is_true(connection, _CANNOT_LOG_IN, roles.app),
        f"GRANT {owner} TO {migrator};": not _is_true(connection, _MAY_BECOME, roles.migrator, roles.owner),
    }
    found = [statement for statement, is_lacking in lacking.items() if is_lacking]
    others = _statements_of_others(connection, roles.owner, names)
    if others or not _is_true(connection, _MAY_CREATE_TABLES, roles.owner):
        found += [
            f"GRANT {owner} TO CURRENT_USER;",
            f"ALTER DATABASE {database} OWNER TO {owner};",
            f"GRANT USAGE, CREATE ON SCHEMA public TO {owner};",
            *others,
        ]
    elif _is_true(connection, _LACKS_SCHEMA, roles.owner):
        found.append(f"GRANT CREATE ON DATABASE {database} TO {owner};")
    return found


def apply_grants(connection: Connection[Any], roles: Roles) -> None:
    """Give each role its rights anew, in one commit, as grants.sql lists them."""
    text = (resources.files("ledger.store") / "grants.sql").read_text("utf-8")
    named = re.sub(r"\bdaftari_app\b", sql.Identifier(roles.app).as_string(), text)
    with connection.transaction():
        connection.execute(named.encode())
        if exists(connection, roles.analysts):
            for statement in view_grants(roles):
                connection.execute(statement.encode())


def view_grants(roles: Roles) -> list[str]:
    """Return the SQL that lets the group of analysts read the schema `analytics`, and nothing else."""
    group = sql.Identifier(roles.analysts).as_string()
    return [
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public, analytics FROM {group};",
        f"GRANT USAGE ON SCHEMA analytics TO {group};",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO {group};",
        f"GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA analytics TO {group};",
    ]


def _make_missing(connection: Connection[Any], roles: Roles) -> None:
    if connection.execute(_MAY_CREATE_ROLES).fetchone() is None:
        return
    for role, login in ((roles.owner, "NOLOGIN"), (roles.app, "LOGIN")):
        if not exists(connection, role):
            with suppress(
                DuplicateObject, UniqueViolation
            ):  # Another database of the cluster is migrated too.
                connection.execute(sql.SQL("CREATE ROLE {} {}").format(sql.Identifier(role), sql.SQL(login)))
        if connection.execute(_IS_MEMBER, (role,)).fetchone() is None:
            with suppress(InsufficientPrivilege):  # Somebody else made it.
                connection.execute(sql.SQL("GRANT {} TO session_user").format(sql.Identifier(role)))


def _close_to_public(connection: Connection[Any]) -> None:
    """Take from PUBLIC what lets any login put tables or functions of its own before ours."""
    database = sql.Identifier(connection.info.dbname)
    for statement in (
        sql.SQL("REVOKE CREATE, TEMPORARY ON DATABASE {} FROM PUBLIC").format(database),
        sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC"),
    ):
        with suppress(InsufficientPrivilege):
            connection.execute(statement)


def _may_become_owner(connection: Connection[Any], roles: Roles) -> bool:
    if connection.execute(_IS_MEMBER, (roles.owner,)).fetchone() is None:
        return False
    owner = sql.Identifier(roles.owner)
    if not _is_true(connection, _MAY_CREATE_TABLES, roles.owner):
        with suppress(InsufficientPrivilege):
            connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(owner))
    if _is_true(connection, _LACKS_SCHEMA, roles.owner):
        database = sql.Identifier(connection.info.dbname)
        with suppress(InsufficientPrivilege):
            connection.execute(sql.SQL("GRANT CREATE ON DATABASE {} TO {}").format(database, owner))
    return _is_true(connection, _MAY_CREATE_TABLES, roles.owner)


def _take_over(connection: Connection[Any], owner: str, names: Sequence[str]) -> list[str]:
    """Give the owner what belongs to others; return the statements that this login may not execute."""
    rows = connection.execute(_OF_OTHERS, {"names": list(names), "owner": owner}).fetchall()
    statements = [f"ALTER {kind} {name} OWNER TO {sql.Identifier(owner).as_string()};" for kind, name in rows]
    try:
        with connection.transaction():
            for statement in statements:
                connection.execute(statement.encode())
    except InsufficientPrivilege:
        return statements
    return []


def _statements_of_others(connection: Connection[Any], owner: str, names: Sequence[str]) -> list[str]:
    rows = connection.execute(_OF_OTHERS, {"names": list(names), "owner": owner}).fetchall()
    return [f"ALTER {kind} {name} OWNER TO {sql.Identifier(owner).as_string()};" for kind, name in rows]


def _is_true(connection: Connection[Any], question: str, *values: str) -> bool:
    """Return the answer to a question about roles, False if there is no such role."""
    return connection.execute(question.encode(), values).fetchone() == (True,)
