"""The logins of the embedded PostgreSQL: the migrator and the application, each with a password of the data folder."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from api.local.folders import read_or_make_private_file
from ledger.store.migrate import all_names
from ledger.store.role_names import Roles
from ledger.store.roles import make_logins


@dataclass(frozen=True, slots=True)
class Logins:
    """The URLs of a database: the one that processes use, and the one that migrates it."""

    database_url: str
    migration_url: str


def prepare_logins(superuser_url: str, folder: Path, roles: Roles) -> Logins:
    """Make the roles of a database, take over what a release before made as the superuser, and return the URLs."""
    passwords = {role: _password(folder, role) for role in (roles.app, roles.migrator)}
    with psycopg.connect(superuser_url, autocommit=True) as connection:
        make_logins(connection, roles, all_names(), passwords)
    return Logins(*(url_of_login(superuser_url, role, password) for role, password in passwords.items()))


def url_of_login(url: str, role: str, password: str = "") -> str:
    """Return a database's URL for another login."""
    parts = urlsplit(url)
    login = f"{role}:{password}" if password else role
    return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))


def _password(folder: Path, role: str) -> str:
    return read_or_make_private_file(folder / f"database-password-{role}", secrets.token_hex(32))
