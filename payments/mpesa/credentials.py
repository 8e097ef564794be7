"""M-Pesa credentials, stored encrypted under the master key."""

from collections.abc import Mapping

from ledger import clock
from ledger.store.database import Database
from ledger.store.vault import SYSTEM_USER_ID, Vault

SETTING = "setting"
"""The purpose of an encrypted setting, whose row is its name."""

_WRITE = """
INSERT INTO sealed_settings (name, sealed_value, updated_at) VALUES (%s, %s, %s)
ON CONFLICT (name) DO UPDATE SET sealed_value = excluded.sealed_value, updated_at = excluded.updated_at
"""
_READ = "SELECT name, sealed_value FROM sealed_settings ORDER BY name"


class CredentialStore:
    """The credentials that an operator stored, by the names of the environment variables, which take precedence."""

    def __init__(self, database: Database, vault: Vault) -> None:
        self._database = database
        self._vault = vault

    def read(self) -> dict[str, str]:
        """Return all stored credentials. Raises WrongKey under another master key."""
        with self._database.connection() as connection:
            rows = connection.execute(_READ).fetchall()
        return {
            row["name"]: self._vault.decrypt(
                SYSTEM_USER_ID, row["sealed_value"], purpose=SETTING, row=row["name"]
            )
            for row in rows
        }

    def write(self, partial: Mapping[str, str]) -> None:
        """Store these values and keep the others as they are."""
        now = clock.now()
        with self._database.transaction() as connection:
            for name, value in partial.items():
                encrypted = self._vault.encrypt(SYSTEM_USER_ID, value, purpose=SETTING, row=name)
                connection.execute(_WRITE, (name, encrypted, now))
