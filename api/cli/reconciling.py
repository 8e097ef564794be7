"""Importing a statement from the command line: the parts it needs, and no more."""

from api.local.databases import server_major
from api.settings import Settings
from api.wiring import shortcodes_of
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore
from payments.prompts.phone_locks import PhoneLocks
from payments.reconciliation.import_log import Reconciliation, Reconciliations
from payments.reconciliation.matcher import Matcher
from payments.reconciliation.missing_payments import MissingPayments
from payments.reconciliation.movements import Movements
from payments.reconciliation.pull_progress import PullProgressStore
from payments.reconciliation.statements import Reconciler


def reconcile(settings: Settings, content: bytes) -> Reconciliation:
    """Import a statement; raise StatementRefused, DatabaseProblem, and Unavailable where it has to be repeated."""
    server_major(settings.database_url)
    database = Database(settings.database_url, max_connections=settings.daftari_database_connections)
    try:
        vault = Vault(database, settings.daftari_master_key)
        settings = settings.with_stored_credentials(CredentialStore(database, vault).read())
        ledger, phone_locks = Ledger(database), PhoneLocks(database)
        reconciler = Reconciler(
            shortcodes_of(settings),
            database,
            Matcher(ledger, phone_locks, Movements(database, vault)),
            PullProgressStore(database),
            Reconciliations(database),
            MissingPayments(ledger, phone_locks),
        )
        return reconciler.reconcile(content)
    finally:
        database.close()
