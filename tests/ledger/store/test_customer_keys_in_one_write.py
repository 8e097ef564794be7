"""A new customer's key is stored in the commit of what it encrypts, and of two at the same moment one is kept."""

from typing import Any

import pytest

from ledger.store.customer_keys import CustomerKey, HasKey
from ledger.store.database import Database
from ledger.store.parts import Part, read_parts, run_parts
from ledger.store.vault import PHONE, Vault

MASTER_KEY = bytes(range(32))


def found(vault: Vault, database: Database, user_id: int = 7) -> CustomerKey:
    parts = {**vault.key_to_read(user_id), "one": Part("1")}
    return vault.key_of_read(user_id, read_parts(database, parts))


def write(database: Database, key: CustomerKey, **parts: Part) -> dict[str, Any]:
    with database.connection() as connection:
        return run_parts(connection, {**key.to_write, **parts})


def test_what_a_new_key_encrypts_opens_once_it_is_stored(database: Database) -> None:
    vault = Vault(database, MASTER_KEY)
    key = found(vault, database)
    encrypted = vault.encrypt(7, "254712345678", purpose=PHONE, row=1, by=key)
    write(database, key)
    vault.remember(key)
    for reader in (vault, Vault(database, MASTER_KEY)):
        assert reader.decrypt(7, encrypted, purpose=PHONE, row=1) == "254712345678"
    assert found(vault, database).to_write == {}
    assert found(Vault(database, MASTER_KEY), database).to_write == {}


def test_of_two_new_keys_one_is_kept_and_nothing_beside_the_other(database: Database) -> None:
    one, two = Vault(database, MASTER_KEY), Vault(database, MASTER_KEY)
    first, second = found(one, database), found(two, database)
    write(database, first)
    with pytest.raises(HasKey):
        write(database, second)
    assert found(two, database).to_write == {}


def test_a_key_that_was_not_stored_is_not_remembered(database: Database) -> None:
    vault = Vault(database, MASTER_KEY)
    key = found(vault, database)
    failing = Part("1 / %s", (0,))
    with pytest.raises(Exception, match="division by zero"):
        write(database, key, failing=failing)
    assert found(vault, database).to_write != {}
