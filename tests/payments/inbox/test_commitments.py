"""What an event keeps of a raw message for ever proves the message, and tells nothing of one that is gone."""

from typing import Any

import pytest

from ledger import clock
from ledger.store.database import Database
from ledger.store.metadata import Cause, caused_by, current
from ledger.store.vault import SYSTEM_USER_ID, Vault
from payments.inbox.inbox import Channel, Draft, Inbox
from tests.support.erasures import erase
from tests.support.keys import MASTER_KEY

BODY = b'{"PhoneNumber": 254712345678}'


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


def draft(database: Database, vault: Vault, owner: int) -> Draft:
    about: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": True, "owner": owner}
    return Inbox(database, vault).draft(BODY, body_bytes=len(BODY), now=clock.now(), **about)


@pytest.mark.parametrize("owner", [7, SYSTEM_USER_ID])
def test_a_commitment_is_the_same_whenever_the_message_is_read(
    database: Database, vault: Vault, owner: int
) -> None:
    inbox, made = Inbox(database, vault), draft(database, vault, owner)
    inbox.keep(made)
    read = Inbox(database, Vault(database, MASTER_KEY)).message(made.message.inbox_id)
    assert read is not None
    assert (read.commitment, len(read.commitment or "")) == (made.message.commitment, 64)


@pytest.mark.parametrize("owner", [7, SYSTEM_USER_ID])
def test_the_same_body_is_committed_to_in_another_way_each_time(
    database: Database, vault: Vault, owner: int
) -> None:
    found = {draft(database, vault, owner).message.commitment for _ in range(3)}
    assert len(found) == 3
    assert None not in found


def test_nobody_can_commit_to_a_guess_once_the_customer_is_erased(database: Database, vault: Vault) -> None:
    made = draft(database, vault, 7)
    assert vault.commitment(7, made.encrypted, BODY) == made.message.commitment
    erase(database, vault, 7)
    assert vault.commitment(7, made.encrypted, BODY) is None


def test_a_commitment_goes_with_its_source_and_not_with_the_next() -> None:
    with caused_by(Cause.CALLBACK, source="one", source_commitment="ab"):
        with caused_by(process="orders"):
            assert current()["source_commitment"] == "ab"
        with caused_by(Cause.EVENT, source="4"):
            assert "source_commitment" not in current()
