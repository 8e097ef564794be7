"""Importing a statement from the command line: the parts it needs, and no more."""

from api.machine.databases import server_major
from api.reconciliation.absences import Absences
from api.reconciliation.matching import Matcher
from api.reconciliation.statements import Reconciler, shortcodes_of
from api.settings import Settings
from ledger.application import Ledger
from ledger.store.credentials import CredentialStore
from ledger.store.database import Database
from ledger.store.movements import Movements
from ledger.store.prompts import LivePrompts
from ledger.store.pulling import Pulling
from ledger.store.reconciliations import Reconciliation, Reconciliations
from ledger.store.vault import Vault


def reconcile(settings: Settings, content: bytes) -> Reconciliation:
    """Import a statement; raise StatementRefused, DatabaseProblem, and Unavailable where it has to be repeated."""
    server_major(settings.database_url)
    database = Database(settings.database_url, most_connections=settings.daftari_database_connections)
    try:
        vault = Vault(database, settings.daftari_master_key)
        settings = settings.with_stored_credentials(CredentialStore(database, vault).read())
        ledger, prompts = Ledger(database), LivePrompts(database)
        reconciler = Reconciler(
            shortcodes_of(settings),
            database,
            Matcher(ledger, prompts, Movements(database, vault)),
            Pulling(database),
            Reconciliations(database),
            Absences(ledger, prompts),
        )
        return reconciler.reconcile(content)
    finally:
        database.close()
