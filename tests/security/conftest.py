"""Logins of a test's database."""

from collections.abc import Iterator
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.roles import DEFAULT_ROLES


def url_of(database_url: str, login: str) -> str:
    """Return a database's URL for another login."""
    parts = urlsplit(database_url)
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


@pytest.fixture
def superuser(database_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection that may do everything."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def login_url(database_url: str, superuser: Connection[TupleRow]) -> str:
    """The URL by which a process logs in, with the application's rights and no others."""
    known = "SELECT FROM pg_roles WHERE rolname = %s AND rolcanlogin"
    if superuser.execute(known, (DEFAULT_ROLES.app,)).fetchone() is None:
        superuser.execute(f"ALTER ROLE {DEFAULT_ROLES.app} LOGIN".encode())
    return url_of(database_url, DEFAULT_ROLES.app)


@pytest.fixture
def login(login_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection of the application's login."""
    with psycopg.connect(login_url, autocommit=True) as connection:
        yield connection
