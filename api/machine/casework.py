"""The work list from the command line: the parts it needs, and no more."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from api.cases.desk import CaseDesk
from api.machine.databases import server_major
from api.reconciliation.matching import Matcher
from api.settings import Settings
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.inbox import Inbox
from ledger.store.movements import Movements
from ledger.store.prompts import LivePrompts
from ledger.store.pulling import Pulling
from ledger.store.vault import Vault


@dataclass(frozen=True, slots=True)
class Casework:
    """A database with its cases, and the desk that closes them."""

    database: Database
    desk: CaseDesk


@contextmanager
def casework(settings: Settings) -> Iterator[Casework]:
    """Lend the work list of a database; raise DatabaseProblem."""
    server_major(settings.database_url)
    database = Database(settings.database_url, most_connections=2)
    try:
        vault = Vault(database, settings.daftari_master_key)
        ledger, movements = Ledger(database), Movements(database, vault)
        matcher = Matcher(ledger, LivePrompts(database), movements)
        desk = CaseDesk(ledger, Inbox(database, vault), movements, Pulling(database), matcher)
        yield Casework(database, desk)
    finally:
        database.close()
