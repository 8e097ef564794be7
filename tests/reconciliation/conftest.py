"""A ledger on a database of its own, and the parts that bring M-Pesa's movements to it."""

from collections.abc import Iterator

import pytest

from api.reconciliation.absences import Absences
from api.reconciliation.matching import Matcher
from api.reconciliation.statements import Reconciler
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.movements import Movements
from ledger.store.prompts import LivePrompts
from ledger.store.pulling import Pulling
from ledger.store.reconciliations import Reconciliations
from ledger.store.vault import Vault

MASTER_KEY = b"k" * 32


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def ledger(database: Database) -> Ledger:
    return Ledger(database)


@pytest.fixture
def movements(database: Database) -> Movements:
    return Movements(database, Vault(database, MASTER_KEY))


@pytest.fixture
def matcher(ledger: Ledger, movements: Movements, database: Database) -> Matcher:
    return Matcher(ledger, LivePrompts(database), movements)


@pytest.fixture
def pulling(database: Database) -> Pulling:
    return Pulling(database)


@pytest.fixture
def absences(ledger: Ledger, database: Database) -> Absences:
    return Absences(ledger, LivePrompts(database))


@pytest.fixture
def reconciler(database: Database, matcher: Matcher, pulling: Pulling, absences: Absences) -> Reconciler:
    return Reconciler({"174379"}, database, matcher, pulling, Reconciliations(database), absences)
