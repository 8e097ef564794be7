from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.errors import LedgerError
from ledger.store.database import Database
from ledger.store.key_ring import KEY_BYTES, PURPOSES, KeyRing, WrongKey, derive
from ledger.store.vault import Vault

MASTER_KEY = bytes(range(32))


@pytest.fixture
def ring(database: Database) -> KeyRing:
    return KeyRing(database, MASTER_KEY)


def test_the_first_key_of_a_purpose_is_the_one_that_the_release_before_derived(ring: KeyRing) -> None:
    for purpose in PURPOSES:
        assert ring.current(purpose) == (0, derive(MASTER_KEY, purpose))
        assert ring.key(purpose, 0) == ring.current(purpose)[1]


def test_keys_of_purposes_differ_and_are_32_bytes(ring: KeyRing) -> None:
    keys = {ring.current(purpose)[1] for purpose in (*PURPOSES, "a purpose of later")}
    assert len(keys) == len(PURPOSES) + 1
    assert {len(key) for key in keys} == {KEY_BYTES}


def test_an_unknown_number_is_refused(ring: KeyRing) -> None:
    ring.current("event mac")
    with pytest.raises(LedgerError, match="UNKNOWN_KEY: There is no key 7 for event mac"):
        ring.key("event mac", 7)


def test_a_first_key_can_be_asked_for_by_its_number(ring: KeyRing) -> None:
    assert ring.key("a purpose of later", 0) == derive(MASTER_KEY, "a purpose of later")


def test_processes_that_begin_at_once_agree_on_the_ring(database: Database) -> None:
    rings = [KeyRing(database, MASTER_KEY) for _ in range(6)]
    with ThreadPoolExecutor(6) as threads:
        keys = list(threads.map(lambda ring: ring.current("event mac"), rings))
    assert len(set(keys)) == 1


def test_the_ring_of_another_master_key_is_refused(database: Database) -> None:
    Vault(database, MASTER_KEY).claim()
    with pytest.raises(WrongKey):
        KeyRing(database, bytes(32)).current("event mac")


def test_a_wrapped_key_that_was_moved_to_another_purpose_does_not_open(
    database: Database, ring: KeyRing
) -> None:
    ring.store_first("event mac", "audit log")
    with database.connection() as connection:
        connection.execute("SET ROLE NONE")
        connection.execute(
            "UPDATE key_ring SET wrapped_key = other.wrapped_key FROM key_ring AS other"
            " WHERE key_ring.purpose = 'event mac' AND other.purpose = 'audit log'"
        )
        connection.execute("SET ROLE daftari_app")
    with pytest.raises(WrongKey):
        KeyRing(database, MASTER_KEY).current("event mac")


def test_the_database_holds_no_key_of_the_ring_in_the_clear(database: Database, ring: KeyRing) -> None:
    _, key = ring.current("event mac")
    with database.connection() as connection:
        rows = connection.execute("SELECT wrapped_key FROM key_ring").fetchall()
    assert all(key not in bytes(row["wrapped_key"]) for row in rows)
