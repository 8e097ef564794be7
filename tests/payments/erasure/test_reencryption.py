"""What the release before encrypted is encrypted anew, whatever interrupts it, and then the old format is refused."""

import psycopg
import pytest

from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.erasure.reencryption import COLUMNS, reencrypt
from payments.mpesa.credentials import CredentialStore
from tests.security.test_moved_ciphertexts import COLUMNS as ALL_COLUMNS

MASTER_KEY = bytes(range(32))
OF_BEFORE = "v1.mx3dO-wqJeTHU9D9qQugMu_4UoPQ4hgorLyN-d7XxKDHECybO6BJJQ=="
STORED = "INSERT INTO sealed_settings VALUES (%s, %s, now())"


def test_every_encrypted_column_is_encrypted_anew() -> None:
    assert {column.purpose for column in COLUMNS} == set(ALL_COLUMNS.values())
    assert {column.table for column in COLUMNS} == {name.partition(".")[0] for name in ALL_COLUMNS}


def test_values_of_the_release_before_are_encrypted_anew_and_then_refused(database: Database) -> None:
    vault, owner = Vault(database, MASTER_KEY), Database(database.url, role="")
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("DELETE FROM reencrypted_tables")
        connection.execute(STORED, ("MPESA_PASSKEY", OF_BEFORE))

    assert list(reencrypt(owner, vault)) == [("sealed_settings", 1)]
    assert list(reencrypt(owner, vault)) == []

    owner.close()
    assert CredentialStore(database, vault).read() == {"MPESA_PASSKEY": "254712345678"}
    with pytest.raises(WrongKey):
        vault.decrypt(SYSTEM_USER_ID, OF_BEFORE, purpose="setting", row="MPESA_PASSKEY")
