"""A ledger on a database of its own."""

from collections.abc import Iterator

import pytest

from ledger.application import Ledger
from ledger.store.database import Database


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)
