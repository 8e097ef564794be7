from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ledger.store.database import Database
from ledger.store.inbox import Inbox, Letter
from ledger.store.vault import Vault

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
LATER = datetime(2024, 1, 15, 10, 31, tzinfo=UTC)


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, bytes(range(32)))


@pytest.fixture
def inbox(database: Database, vault: Vault) -> Inbox:
    return Inbox(database, vault)


def kept(inbox: Inbox, owner: int, body: bytes = b"{}") -> Letter:
    return inbox.keep(body, body_bytes=len(body), session_id=uuid4(), attempt=1, owner=owner, now=NOW)


def test_a_body_comes_back_as_it_was_whatever_its_bytes(inbox: Inbox) -> None:
    body = bytes(range(256))
    letter = kept(inbox, 7, body)
    assert inbox.due(LATER, 10) == [letter]
    assert letter.body == body


def test_letters_of_an_erased_customer_are_set_aside_and_stop_nobody(
    inbox: Inbox, vault: Vault, database: Database
) -> None:
    erased, other = kept(inbox, 7), kept(inbox, 8)
    vault.erase(7)
    assert inbox.due(LATER, 10) == [other]
    with database.connection() as connection:
        row = connection.execute(
            "SELECT state, reason FROM daraja_inbox WHERE inbox_id = %s", (erased.inbox_id,)
        ).fetchone()
    assert row == {"state": "set_aside", "reason": "customer_erased"}


def test_what_arrives_for_an_erased_customer_is_kept_all_the_same(inbox: Inbox, vault: Vault) -> None:
    vault.seal(7, "so that there is a key")
    vault.erase(7)
    letter = kept(inbox, 7)
    assert inbox.letter(letter.inbox_id) == letter
