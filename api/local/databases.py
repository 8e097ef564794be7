"""The database behind a URL: open it, migrate it, and say what is wrong with it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from api.local.binaries import OLDEST_MAJOR
from api.local.problems import DatabaseProblem
from api.settings import Settings
from ledger.store.database import APP_ROLE, Database
from ledger.store.migrate import migrate
from ledger.store.role_names import Roles
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore

_CONNECT_WITHIN_SECONDS = 5
_REMEDY = "check that it runs and that DATABASE_URL names its host, port, user, password and database."


def require_url(url: str) -> str:
    """Return `url`; raise DatabaseProblem if it is empty."""
    if not url:
        raise DatabaseProblem(
            "There is no database: type `daftari up` to run everything on this machine, "
            "or set DATABASE_URL to a PostgreSQL such as postgresql://user:password@host:5432/daftari."
        )
    return url


def server_major(url: str) -> int:
    """Return the server's major version; raise DatabaseProblem if it does not answer, is too old or not in UTF8."""
    try:
        with psycopg.connect(require_url(url), connect_timeout=_CONNECT_WITHIN_SECONDS) as connection:
            major = connection.info.server_version // 10_000
            encoding = connection.info.parameter_status("server_encoding")
    except psycopg.Error as error:
        raise DatabaseProblem(f"PostgreSQL does not answer ({_reason(error)}): {_REMEDY}") from None
    if major < OLDEST_MAJOR:
        raise DatabaseProblem(
            f"The server of DATABASE_URL is PostgreSQL {major}, but Daftari needs {OLDEST_MAJOR} or newer: upgrade it, "
            "or unset DATABASE_URL to use the embedded one."
        )
    if encoding != "UTF8":
        raise DatabaseProblem(
            f"The database of DATABASE_URL is encoded in {encoding}, in which not every name can be kept: make one by "
            "CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0."
        )
    return major


@contextmanager
def open_database(url: str, max_connections: int, role: str = APP_ROLE) -> Iterator[Database]:
    """Open a database for a while, with the rights of a role, or with "" those of its login; raise DatabaseProblem."""
    server_major(url)
    database = Database(url, max_connections=max_connections, role=role)
    try:
        yield database
    finally:
        database.close()


def claim_database(url: str, master_key: bytes) -> None:
    """Bind a new database to the master key; raise WrongKey if it is bound to another, DatabaseProblem."""
    with open_database(url, max_connections=2) as database:
        Vault(database, master_key).claim()


def stored_credentials(settings: Settings) -> dict[str, str]:
    """Return the stored M-Pesa credentials; raise WrongKey under another master key, DatabaseProblem."""
    with open_database(settings.database_url, max_connections=2) as database:
        vault = Vault(database, settings.daftari_master_key)
        vault.check_master_key()
        return CredentialStore(database, vault).read()


def migrate_database(url: str, roles: Roles) -> list[str]:
    """Migrate the database and return the names of what was applied; raise DatabaseProblem."""
    server_major(url)
    try:
        return migrate(url, roles)
    except psycopg.Error as error:
        raise DatabaseProblem(f"The database could not be migrated ({_reason(error)}): {_REMEDY}") from error


def _reason(error: psycopg.Error) -> str:
    """Return what PostgreSQL says, or the last line of what libpq says, without the address and the user in it."""
    lines = (error.diag.message_primary or str(error)).strip().splitlines() or [type(error).__name__]
    said = re.sub(r"connection to server (at|on) .*? failed: ", "", lines[-1])
    return re.sub(r'(user|role|database) "[^"]*"', r"this \1", said.removeprefix("FATAL:").strip()).rstrip(
        "."
    )
