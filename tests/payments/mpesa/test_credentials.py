"""Credentials that an operator stored are encrypted under the master key."""

from collections.abc import Iterator

import pytest
from freezegun import freeze_time

from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import Vault
from payments.mpesa.credentials import CredentialStore


@pytest.fixture
def store(database_url: str) -> Iterator[CredentialStore]:
    """The store as the command line opens it: the application's role only reads it."""
    database = Database(database_url, role="")
    yield CredentialStore(database, Vault(database, bytes(range(32))))
    database.close()


def test_stored_credentials_are_read_again(store: CredentialStore) -> None:
    assert store.read() == {}
    store.write({"MPESA_PASSKEY": "a passkey", "MPESA_CONSUMER_KEY": "a key"})
    assert store.read() == {"MPESA_PASSKEY": "a passkey", "MPESA_CONSUMER_KEY": "a key"}


def test_a_partial_update_keeps_the_rest_and_an_empty_one_everything(store: CredentialStore) -> None:
    store.write({"MPESA_PASSKEY": "old", "MPESA_CONSUMER_KEY": "a key"})
    store.write({"MPESA_PASSKEY": "new"})
    store.write({})
    assert store.read() == {"MPESA_PASSKEY": "new", "MPESA_CONSUMER_KEY": "a key"}


def test_credentials_are_encrypted_at_rest_and_dated(store: CredentialStore, database: Database) -> None:
    with freeze_time("2024-01-15 10:30:00"):
        store.write({"MPESA_PASSKEY": "a passkey"})
    with database.connection() as connection:
        row = connection.execute("SELECT name, sealed_value, updated_at FROM sealed_settings").fetchone()
    assert row is not None
    assert "passkey" not in row["sealed_value"]
    assert row["updated_at"].isoformat().startswith("2024-01-15T10:30:00")


def test_another_master_key_does_not_open_it(store: CredentialStore, database: Database) -> None:
    store.write({"MPESA_PASSKEY": "a passkey"})
    with pytest.raises(WrongKey):
        CredentialStore(database, Vault(database, bytes(32))).read()
