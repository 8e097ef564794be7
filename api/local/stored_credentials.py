"""The stored M-Pesa credentials, for the command line."""

from collections.abc import Mapping

from api.local.databases import server_major
from api.settings import Settings, load_settings
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore


def store_credentials(settings: Settings, given: Mapping[str, str]) -> None:
    """Store what is given, by the names of the variables, and keep the rest.

    Raises ConfigurationError where a value could not be used and WrongKey under another master key, and then stores
    nothing; DatabaseProblem where the database does not answer.
    """
    load_settings(given, settings.environ)
    server_major(settings.database_url)
    database = Database(settings.database_url, max_connections=2)
    try:
        vault = Vault(database, settings.daftari_master_key)
        vault.claim()
        CredentialStore(database, vault).write(given)
    finally:
        database.close()


def stored_credentials(settings: Settings) -> dict[str, str]:
    """Return what is stored. Raises WrongKey under another master key, Unavailable without a database."""
    database = Database(settings.database_url, max_connections=2)
    try:
        vault = Vault(database, settings.daftari_master_key)
        vault.check_master_key()
        return CredentialStore(database, vault).read()
    finally:
        database.close()


def claim_database(database_url: str, master_key: bytes) -> None:
    """Bind a new database to the master key. Raises WrongKey where it is bound to another, Unavailable without it."""
    database = Database(database_url, max_connections=2)
    try:
        Vault(database, master_key).claim()
    finally:
        database.close()
