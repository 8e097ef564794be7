"""A running instance with the shop of the checkout contract, and the invariants after every test."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from tests.scenarios.steps import TOMATOES, put_in_cart, put_on_shelf
from tests.support.instance import DELIVERY, Client, Instance, running_instance
from tests.support.invariants import assert_invariants_hold

Administer = Callable[..., list[tuple[Any, ...]]]
"""Executes a statement as the server's owner, on a connection of its own; returns the rows."""


@pytest.fixture
def instance(database_url: str, data_folder: Path) -> Iterator[Instance]:
    """A running instance that sells 1,000 kg of tomatoes at 150.00; its invariants hold in the end."""
    with running_instance(database_url, data_folder) as running:
        put_on_shelf(running, TOMATOES, stock="1000")
        yield running
        running.stop_worker()
        assert_invariants_hold(
            running.services.database,
            running.services.vault,
            known_texts=(str(DELIVERY["full_name"]),),
            with_messages=True,
            prompt_seconds=running.settings.daftari_prompt_seconds,
        )


@pytest.fixture
def administer(database_url: str) -> Administer:
    """Return what executes a statement as the database's owner."""

    def execute(statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(database_url, autocommit=True) as connection:
            connection.execute("SET default_transaction_read_only = off")
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    return execute


@pytest.fixture
def end_connections(administer: Administer) -> Callable[[], int]:
    """Return what ends every other connection of the database, and returns how many there were."""
    statement = (
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    return lambda: len(administer(statement))


def buyer_with_prompt(instance: Instance, user: int) -> tuple[Client, str, str]:
    """Return a buyer, their session, and the phone that shows its prompt."""
    buyer, phone = instance.client(user), f"2547000200{user:02d}"
    put_in_cart(buyer, TOMATOES, "2")
    return buyer, instance.pay(buyer, phone_number=phone), phone


def name_of(database_url: str) -> str:
    """Return the name of the database that a URL leads to."""
    return str(conninfo_to_dict(database_url)["dbname"])
