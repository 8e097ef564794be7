"""Logins of a test's database, running instances for operators, and one with something of everything in it."""

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from api.local.database_logins import url_of_login
from ledger.store.database import APP_ROLE
from tests.scenarios.steps import TOMATOES, put_on_shelf
from tests.security.world import World, running_world
from tests.support.database import APP_PASSWORD
from tests.support.instance import Instance, running_instance

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


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running


@pytest.fixture
def careful(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """An instance where 350 shillings take two operators, and 349 one."""
    with running_instance(database_url, data_folder, DAFTARI_FOUR_EYES_FROM="350.00") as running:
        put_on_shelf(running, TOMATOES, stock="40")
        yield running
