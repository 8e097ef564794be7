"""The roles of a database: one that owns the schema, one that migrates it, and one that the processes log in as.

Roles belong to a whole cluster, so their names can be set. The owner cannot log in: only the migrator may become it.
"""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import resources
from typing import Any

from psycopg import Connection, sql
from psycopg.errors import DuplicateObject, InsufficientPrivilege, UniqueViolation


@dataclass(frozen=True, slots=True)
class Roles:
    """The names of the three roles."""

    owner: str = "daftari_owner"
    migrator: str = "daftari_migrator"
    app: str = "daftari_app"


DEFAULT_ROLES = Roles()

_EXISTS = "SELECT FROM pg_roles WHERE rolname = %s"
_MAY_CREATE_ROLES = "SELECT FROM pg_roles WHERE rolname = session_user AND (rolsuper OR rolcreaterole)"
_IS_MEMBER = "SELECT FROM pg_roles WHERE rolname = %s AND pg_has_role(session_user, oid, 'MEMBER')"
_MAY_CREATE_TABLES = "SELECT has_schema_privilege(%s, 'public', 'CREATE')"
_OF_OTHERS = """
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' WHEN 'v' THEN 'VIEW' ELSE 'TABLE' END AS kind,
       format('public.%%I', relname) AS name
FROM pg_class
WHERE relnamespace = 'public'::regnamespace AND relname = ANY(%(names)s) AND relkind IN ('r', 'p', 'S', 'v')
  AND relowner <> %(owner)s::regrole
UNION ALL
SELECT 'FUNCTION', format('public.%%I(%%s)', proname, pg_get_function_identity_arguments(oid))
FROM pg_proc
WHERE pronamespace = 'public'::regnamespace AND proname = ANY(%(names)s) AND proowner <> %(owner)s::regrole
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


def apply_grants(connection: Connection[Any], roles: Roles) -> None:
    """Give each role its rights anew, in one commit, as grants.sql lists them."""
    text = (resources.files("ledger.store") / "grants.sql").read_text("utf-8")
    named = re.sub(r"\bdaftari_app\b", sql.Identifier(roles.app).as_string(), text)
    with connection.transaction():
        connection.execute(named.encode())


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
    if connection.execute(_MAY_CREATE_TABLES, (roles.owner,)).fetchone() != (True,):
        with suppress(InsufficientPrivilege):
            connection.execute(sql.SQL("GRANT USAGE, CREATE ON SCHEMA public TO {}").format(owner))
    return connection.execute(_MAY_CREATE_TABLES, (roles.owner,)).fetchone() == (True,)


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
