"""The work list from the command line: the parts it needs, and no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.local.databases import server_major
from api.settings import Settings
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.exceptions.resolutions import CaseService
from payments.inbox.inbox import Inbox
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull_progress import PullProgressStore


@dataclass(frozen=True, slots=True)
class Casework:
    """A database with its cases, and the service that closes them."""

    database: Database
    service: CaseService


@contextmanager
def casework(settings: Settings) -> Iterator[Casework]:
    """Lend the work list of a database; raise DatabaseProblem."""
    server_major(settings.database_url)
    database = Database(settings.database_url, max_connections=2)
    try:
        vault = Vault(database, settings.daftari_master_key)
        ledger, movements = Ledger(database), Movements(database, vault)
        matcher = Matcher(ledger, PhoneLocks(database), movements)
        service = CaseService(ledger, Inbox(database, vault), movements, PullProgressStore(database), matcher)
        yield Casework(database, service)
    finally:
        database.close()
