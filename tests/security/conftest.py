"""Logins of a test's database, and a running instance with something of everything in it."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from api.local.database_logins import url_of_login
from ledger.store.database import APP_ROLE
from tests.security.world import World, running_world
from tests.support.database import APP_PASSWORD

PASSWORD = "test"


@pytest.fixture
def superuser(database_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection that may do everything."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def login_url(database_url: str) -> str:
    """The URL by which a process logs in, with the application's rights and no others."""
    return url_of_login(database_url, APP_ROLE, APP_PASSWORD)


@pytest.fixture
def login(login_url: str) -> Iterator[Connection[TupleRow]]:
    """A connection of the application's login."""
    with psycopg.connect(login_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def world(server_url: str, template_database: str) -> Iterator[World]:
    """A running instance in which OWNER has something of everything."""
    with running_world(server_url, template_database) as running:
        yield running
