from datetime import UTC, datetime
from uuid import uuid4

import pytest

from ledger.store.database import Database
from ledger.store.inbox import Channel, Inbox, Letter
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
    return inbox.keep(
        body,
        body_bytes=len(body),
        channel=Channel.STK,
        is_proven=True,
        session_id=uuid4(),
        attempt=1,
        owner=owner,
        now=NOW,
    )


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


def test_junk_is_forgotten_beyond_its_bound_and_never_what_proved_its_sender(
    inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ledger.store.inbox.MOST_JUNK_KEPT", 1)
    for is_proven in (True, True, False, False):
        letter = inbox.keep(
            b"{}", body_bytes=2, channel=Channel.C2B_CONFIRMATION, is_proven=is_proven, now=NOW
        )
        inbox.set_aside(letter, "unknown", NOW)
    assert inbox.forget_junk() == 1
    with database.connection() as connection:
        rows = connection.execute("SELECT is_proven FROM daraja_inbox ORDER BY is_proven").fetchall()
    assert [row["is_proven"] for row in rows] == [False, True, True]


def test_a_letter_about_a_refund_keeps_which_sending_it_speaks_of(inbox: Inbox) -> None:
    letter = inbox.keep(
        b"{}",
        body_bytes=2,
        channel=Channel.REVERSAL_TIMEOUT,
        is_proven=True,
        session_id=uuid4(),
        refund=2,
        sending=3,
        now=NOW,
    )
    assert inbox.due(LATER, 10) == [letter]
    assert (letter.refund, letter.sending, letter.attempt) == (2, 3, None)
