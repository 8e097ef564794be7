"""Logins of analysts, made by who may make roles: the embedded PostgreSQL's superuser, or DAFTARI_MIGRATION_URL."""

import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.rows import tuple_row

from api.local.clients import find_client
from api.local.database_logins import url_of_login
from api.local.databases import require_url, server_major
from api.local.instances import running_instance
from api.local.postgres import OWNER
from api.local.problems import DatabaseProblem
from api.settings import Settings
from ledger.store import analysts
from ledger.store.database import which_server

Statements = Callable[[Connection[Any]], list[str]]
Record = Callable[[Connection[Any] | None], object]
"""What records a change in the audit log, in its transaction."""


@dataclass(frozen=True, slots=True)
class Change:
    """What came of a change of logins: whether it is done, and the SQL that is left to a person with more rights."""

    is_done: bool
    left: list[str]


def create(settings: Settings, name: str, password: str, record: Record) -> Change:
    """Make the login `name`, and record that in the same commit. Raises InvalidValue, DatabaseProblem."""
    roles, name = settings.roles, analysts.parse_name(name)
    with _administrator(settings) as connection:
        statements = analysts.create_statements(connection, roles, name, password)
        closing = analysts.superuser_statements(roles, name)
        if analysts.is_superuser(connection):
            analysts.execute(connection, [*statements, *closing], record)
            return Change(is_done=True, left=[])
        if analysts.execute(connection, statements, record):
            return Change(is_done=True, left=closing)
        return Change(is_done=False, left=[*statements, *closing])


def rotate(settings: Settings, name: str, password: str, record: Record) -> Change:
    """Give the analyst `name` another password, and end its sessions. Raises InvalidValue, DatabaseProblem."""
    statements_for = partial(analysts.rotate_statements, roles=settings.roles, name=name, password=password)
    return _change(settings, statements_for, record)


def drop(settings: Settings, name: str, record: Record) -> Change:
    """Remove the analyst `name`. Raises InvalidValue, DatabaseProblem."""
    return _change(settings, partial(analysts.drop_statements, roles=settings.roles, name=name), record)


def new_password() -> str:
    """Return a password that needs no quotes in a shell or a URL."""
    return secrets.token_hex(16)


def how_to_connect(settings: Settings, name: str) -> str:
    """Return the command that opens the database as this login, with the psql of this machine that suits the server."""
    url = url_of_login(require_url(settings.database_url), name)
    try:
        program = find_client("psql", server_major(settings.database_url), settings.daftari_postgres_bin)
    except DatabaseProblem:
        program = "psql"
    return f"{'psql' if shutil.which('psql') == program else program} '{url}'"


def is_embedded(settings: Settings) -> bool:
    """Say whether the database is the embedded one of an instance that runs now."""
    variables = running_instance(settings.daftari_data_dir)
    return bool(variables.get("DAFTARI_MIGRATION_URL")) and (
        variables["DAFTARI_MIGRATION_URL"] == settings.migration_url
    )


def _change(settings: Settings, statements_for: Statements, record: Record) -> Change:
    with _administrator(settings) as connection:
        statements = statements_for(connection)
        try:
            is_done = analysts.execute(connection, statements, record)
        except psycopg.errors.DependentObjectsStillExist:
            raise DatabaseProblem(
                "The login owns something, or has rights, in another database of this server: "
                "type DROP OWNED BY and its name there, as a superuser, then try again."
            ) from None
    return Change(is_done, [] if is_done else statements)


@contextmanager
def _administrator(settings: Settings) -> Iterator[Connection[Any]]:
    url = require_url(settings.migration_url)
    server_major(url)
    if is_embedded(settings):
        url = url_of_login(url, OWNER)
    with psycopg.connect(url, autocommit=True, row_factory=tuple_row, **which_server(url)) as connection:
        connection.execute(analysts.ALONE)
        yield connection
