"""A ledger on a database of its own, and the parts that bring M-Pesa's movements to it."""

import pytest

from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.import_log import Reconciliations
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import MissingPayments
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statements import Reconciler
from tests.support.keys import MASTER_KEY, key_ring
from tests.support.prompt_limits import AMPLE


@pytest.fixture
def movements(database: Database) -> Movements:
    return Movements(database, Vault(database, MASTER_KEY))


@pytest.fixture
def matcher(ledger: Ledger, movements: Movements, database: Database) -> Matcher:
    return Matcher(ledger, PhoneLocks(database, AMPLE), movements)


@pytest.fixture
def pull_progress(database: Database) -> PullProgressStore:
    return PullProgressStore(database)


@pytest.fixture
def missing_payments(ledger: Ledger, database: Database) -> MissingPayments:
    return MissingPayments(ledger, PhoneLocks(database, AMPLE))


@pytest.fixture
def reconciler(
    database: Database, matcher: Matcher, pull_progress: PullProgressStore, missing_payments: MissingPayments
) -> Reconciler:
    return Reconciler(
        {"174379"},
        database,
        matcher,
        pull_progress,
        Reconciliations(database, key_ring(database)),
        missing_payments,
    )
