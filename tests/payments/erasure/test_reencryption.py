"""What the release before encrypted is encrypted anew, whatever interrupts it, and then the old format is refused."""

from datetime import timedelta

import psycopg
import pytest
from freezegun import freeze_time

from ledger import clock
from ledger.store.database import Database
from ledger.store.key_ring import WrongKey
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.erasure.reencryption import COLUMNS, LOOK_AGAIN_AFTER, Reencryption
from payments.inbox.inbox import Channel, Inbox
from payments.mpesa.credentials import CredentialStore
from tests.security.test_moved_ciphertexts import COLUMNS as ALL_COLUMNS

OF_BEFORE = "v1.mx3dO-wqJeTHU9D9qQugMu_4UoPQ4hgorLyN-d7XxKDHECybO6BJJQ=="
STORED = "INSERT INTO sealed_settings VALUES (%s, %s, now())"
A_DAY_AGO = "UPDATE schema_migrations SET applied_at = now() - interval '25 hours'"


def as_superuser(database: Database, statement: str, *values: str) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(statement.encode(), values)


@pytest.fixture
def upgraded(database: Database) -> Database:
    """A database of the release before with one value, migrated a moment ago."""
    as_superuser(database, "DELETE FROM reencrypted_tables")
    as_superuser(database, STORED, "MPESA_PASSKEY", OF_BEFORE)
    return database


def refused(vault: Vault) -> bool:
    try:
        vault.decrypt(SYSTEM_USER_ID, OF_BEFORE, purpose="setting", row="MPESA_PASSKEY")
    except WrongKey:
        return True
    return False


def test_every_encrypted_column_is_encrypted_anew() -> None:
    never_of_version_1 = {
        *("statement_pieces.sealed_piece", "webhook_endpoints.sealed_definition"),
        *("checkouts.sealed_urls", "user_texts.sealed_text"),
    }
    of_before = {name: purpose for name, purpose in ALL_COLUMNS.items() if name not in never_of_version_1}
    assert {column.purpose for column in COLUMNS} == set(of_before.values())
    assert {column.table for column in COLUMNS} == {name.partition(".")[0] for name in of_before}


def test_the_old_format_is_refused_a_day_after_the_migration(upgraded: Database, vault: Vault) -> None:
    job = Reencryption(upgraded, vault)
    assert [job.run(), job.run(), job.run()] == [1, 0, 0]
    assert CredentialStore(upgraded, vault).read() == {"MPESA_PASSKEY": "254712345678"}
    assert not refused(vault)  # A process of the release before may still store some.
    as_superuser(upgraded, STORED, "MPESA_CONSUMER_KEY", OF_BEFORE)
    as_superuser(upgraded, A_DAY_AGO)
    with freeze_time(clock.now() + LOOK_AGAIN_AFTER + timedelta(seconds=1)):
        assert [job.run(), job.run()] == [1, 0]
    assert refused(vault)
    assert Reencryption(upgraded, vault).run() == 0


def test_another_process_goes_on_where_one_was_interrupted(
    upgraded: Database, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payments.erasure.reencryption.AT_ONCE", 1)
    for name in "ABC":
        as_superuser(upgraded, STORED, name, OF_BEFORE)
    assert Reencryption(upgraded, vault).run() == 1
    other = Reencryption(upgraded, vault)
    assert [other.run() for _ in range(4)] == [1, 1, 1, 0]
    assert len(CredentialStore(upgraded, vault).read()) == 4


def test_a_value_that_was_altered_holds_up_no_other_and_keeps_the_old_format_open(
    upgraded: Database, vault: Vault
) -> None:
    as_superuser(upgraded, A_DAY_AGO)
    as_superuser(upgraded, STORED, "ALTERED", "v1.x" + OF_BEFORE[4:])
    job = Reencryption(upgraded, vault)
    assert [job.run(), job.run(), job.unreadable] == [2, 0, 1]
    assert not job.end(no_old_process=True)
    assert not refused(vault)


def test_a_login_replaces_no_value_of_version_2_and_ends_nothing_too_early(
    upgraded: Database, vault: Vault
) -> None:
    replace = "SELECT replace_value_of_version_1('sealed_settings', 0, 'MPESA_PASSKEY', %s, 'v2.x', NULL)"
    Reencryption(upgraded, vault).run()
    with upgraded.connection() as login:
        for old in (OF_BEFORE, "v2.anything"):
            login.execute(replace, (old,))
    as_superuser(upgraded, STORED, "LATER", OF_BEFORE)
    assert not Reencryption(upgraded, vault).end(no_old_process=True)
    assert CredentialStore(upgraded, vault).read()["MPESA_PASSKEY"] == "254712345678"


def test_a_message_that_cannot_be_decrypted_holds_up_no_other(database: Database, vault: Vault) -> None:
    inbox = Inbox(database, vault)
    broken, sound = (
        inbox.store(b"{}", body_bytes=2, channel=Channel.STK, is_authenticated=True, now=clock.now())
        for _ in range(2)
    )
    as_superuser(
        database, f"UPDATE daraja_inbox SET sealed_body = 'v2.x' WHERE inbox_id = '{broken.inbox_id}'"
    )
    due = inbox.due(clock.now() + timedelta(minutes=1), 10)
    assert [message.inbox_id for message in due] == [sound.inbox_id]
    with database.connection() as connection:
        [row] = connection.execute("SELECT reason FROM daraja_inbox WHERE state = 'set_aside'").fetchall()
    assert row["reason"] == "cannot_be_decrypted"
