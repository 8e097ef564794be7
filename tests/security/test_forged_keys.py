"""A key that the application's login adds to the key ring stops no process, and never counts as one of Daftari's."""

import psycopg
import pytest
from psycopg import Connection
from psycopg.rows import TupleRow

from ledger.store.database import Database
from ledger.store.key_ring import AUDIT_LOG, DIGESTS, EVENT_MAC, MOVEMENTS, AlteredKey, KeyRing, WrongKey
from ledger.store.vault import Vault
from projections.integrity.invariants import check
from tests.support.keys import MASTER_KEY

JUNK = "INSERT INTO key_ring (purpose, key_id, wrapped_key, created_at) VALUES (%s, %s, %s, %s)"
NEW_MASTER_KEY = bytes(range(1, 33))


@pytest.fixture
def running(database: Database) -> KeyRing:
    """The ring of a process that began before the attack, which makes the first keys."""
    vault = Vault(database, MASTER_KEY)
    vault.claim()
    return vault.keys


def add_junk(login: Connection[TupleRow], purpose: str, key_id: int, wrapped_key: bytes = b"junk") -> None:
    login.execute(JUNK, (purpose, key_id, wrapped_key, "infinity"))


@pytest.mark.parametrize("purpose", [EVENT_MAC, DIGESTS, "a purpose of nobody"])
@pytest.mark.parametrize("key_id", [1, 2**31 - 1])
def test_a_key_that_does_not_open_is_passed_over_and_stops_no_process(
    running: KeyRing, database: Database, login: Connection[TupleRow], purpose: str, key_id: int
) -> None:
    before = {each: running.current(each) for each in (EVENT_MAC, DIGESTS)}
    add_junk(login, purpose, key_id, bytes(60))
    started = KeyRing(database, MASTER_KEY)
    Vault(database, MASTER_KEY).claim()
    assert running.is_stored()  # It reads the ring anew.
    for ring in (running, started):
        assert {each: ring.current(each) for each in (EVENT_MAC, DIGESTS)} == before
        assert ring.find(purpose, key_id) is None
    assert started.current("a purpose of later") == running.current("a purpose of later")


def test_rows_that_do_not_open_are_named_by_a_verification(
    running: KeyRing, database: Database, login: Connection[TupleRow], superuser: Connection[TupleRow]
) -> None:
    vault = Vault(database, MASTER_KEY)
    assert running.is_stored()
    assert check(database, vault) == []
    add_junk(login, EVENT_MAC, 7)
    add_junk(login, "a purpose of nobody", 0, b"")
    assert [(each.rule, each.detail.partition(" in this")[0]) for each in check(database, vault)] == [
        ("keys", "Key 0 for a purpose of nobody"),
        ("keys", "Key 7 for event mac"),
    ]
    superuser.execute("DELETE FROM key_ring WHERE key_id = 7 OR wrapped_key = ''")
    superuser.execute(
        "UPDATE key_ring SET wrapped_key = (SELECT wrapped_key FROM key_ring WHERE purpose = %s) WHERE purpose = %s",
        (EVENT_MAC, AUDIT_LOG),
    )
    assert [
        each.detail.partition(" in this")[0] for each in check(database, vault) if each.rule == "keys"
    ] == ["Key 0 for audit log"]


def test_another_master_key_is_still_refused(
    running: KeyRing, database: Database, login: Connection[TupleRow]
) -> None:
    assert running.is_stored()
    add_junk(login, EVENT_MAC, 1)
    with pytest.raises(WrongKey, match="cannot be decrypted with this master key"):
        Vault(database, NEW_MASTER_KEY).claim()


def test_a_key_in_the_place_of_a_first_one_is_named_with_what_to_do(
    running: KeyRing, database: Database, login: Connection[TupleRow], superuser: Connection[TupleRow]
) -> None:
    add_junk(login, MOVEMENTS, 0)
    for ring in (running, KeyRing(database, MASTER_KEY)):
        with pytest.raises(AlteredKey, match=r"Key 0 for movements .* delete the row"):
            ring.current(MOVEMENTS)
        assert ring.current(EVENT_MAC)
    superuser.execute("DELETE FROM key_ring WHERE purpose = %s", (MOVEMENTS,))
    assert running.current(MOVEMENTS)[0] == 0


def test_keys_are_neither_rotated_nor_rolled_over_one_that_does_not_open(
    running: KeyRing, database: Database, login: Connection[TupleRow], superuser: Connection[TupleRow]
) -> None:
    add_junk(login, EVENT_MAC, 1)
    assert running.is_stored()
    with psycopg.connect(database.url, row_factory=psycopg.rows.dict_row) as owner:
        with pytest.raises(AlteredKey, match="Key 1 for event mac"):
            running.roll(owner, EVENT_MAC)
        with pytest.raises(AlteredKey, match="Key 1 for event mac"):
            running.rewrap(owner, NEW_MASTER_KEY)
    superuser.execute("DELETE FROM key_ring WHERE wrapped_key = %s", (b"junk",))
    with psycopg.connect(database.url, row_factory=psycopg.rows.dict_row) as owner:
        running.rewrap(owner, NEW_MASTER_KEY)
    assert KeyRing(database, NEW_MASTER_KEY).find(EVENT_MAC, 1) is not None


def test_the_login_says_of_no_key_when_it_ends(running: KeyRing, login: Connection[TupleRow]) -> None:
    assert running.is_stored()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        login.execute(
            "INSERT INTO key_ring (purpose, key_id, wrapped_key, created_at, retired_at)"
            " VALUES ('event mac', 1, 'junk', now(), 'infinity')"
        )
