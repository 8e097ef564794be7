"""A message put beside another channel, token, session or refund causes nothing, and `daftari verify` names it."""

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.rows import dict_row

from ledger import clock
from ledger.application import Ledger
from ledger.store.database import Database
from ledger.store.message_bodies import INBOX_BODY
from ledger.store.vault import Vault
from payments.inbox.inbox import UNPROCESSED_AFTER, Channel, Inbox, InboxMessage
from projections.integrity.invariants import check
from tests.scenarios.steps import (
    CONTRACT_CALLBACKS,
    TOMATOES,
    callback,
    observe,
    prompt_of,
    put_in_cart,
    report,
)
from tests.support.checkouts import Checkout
from tests.support.instance import Instance
from tests.support.keys import MASTER_KEY

OF_VERSION_1 = "v1.mx3dO-wqJeTHU9D9qQugMu_4UoPQ4hgorLyN-d7XxKDHECybO6BJJQ=="
"""A body under the key of the system."""

MANY_NEWER = """
INSERT INTO daraja_inbox (inbox_id, received_at, key_owner, sealed_body, body_bytes, body_sha256, state, tries)
SELECT gen_random_uuid(), now() + interval '1 hour', 0, 'v2.x', 1, '', 'acted_on', 0 FROM generate_series(1, 1000)
"""
PUT_BACK = """
INSERT INTO daraja_inbox (inbox_id, received_at, channel, is_proven, session_id, attempt, refund, sending, key_owner,
                          sealed_body, body_bytes, body_sha256, state, tries, next_try_at)
VALUES (%(inbox_id)s, %(received_at)s, %(channel)s, %(is_proven)s, %(session_id)s, %(attempt)s, %(refund)s, %(sending)s,
        %(key_owner)s, %(sealed_body)s, %(body_bytes)s, %(body_sha256)s, 'new', 0, %(received_at)s)
"""
OUTCOME = "SELECT state, reason FROM daraja_inbox WHERE inbox_id = %s"


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, MASTER_KEY)


@pytest.fixture
def inbox(database: Database, vault: Vault) -> Inbox:
    return Inbox(database, vault)


@pytest.fixture
def session_id(ledger: Ledger) -> UUID:
    return Checkout(ledger).session_id


def posted(inbox: Inbox, **about: Any) -> InboxMessage:
    defaults: dict[str, Any] = {"channel": Channel.STK, "is_authenticated": False, "now": clock.now()}
    return inbox.store(b"{}", body_bytes=2, **(defaults | about))


def take_out(login_url: str, inbox_id: UUID, **changed: Any) -> dict[str, Any]:
    """Delete an unauthenticated message as the login may; return its row with what is changed in it."""
    with psycopg.connect(login_url, row_factory=dict_row) as attacker:
        row = attacker.execute("SELECT * FROM daraja_inbox WHERE inbox_id = %s", (inbox_id,)).fetchone()
        attacker.execute(MANY_NEWER)
        attacker.execute("SELECT purge_unauthenticated_messages(1000)")
        found = attacker.execute("SELECT FROM daraja_inbox WHERE inbox_id = %s", (inbox_id,)).rowcount
        assert (row is not None, found) == (True, 0)
        return (row or {}) | changed


def put_back(login_url: str, row: dict[str, Any]) -> None:
    with psycopg.connect(login_url, autocommit=True) as attacker:
        attacker.execute(PUT_BACK, row)


def is_named(database: Database, vault: Vault, inbox_id: UUID) -> bool:
    """Say whether a verification names a message, when the rows that pushed it out are gone."""
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("DELETE FROM daraja_inbox WHERE sealed_body = 'v2.x'")
    told = [each.detail for each in check(database, vault) if each.rule == "messages"]
    assert told in ([], [f"message {inbox_id} was not stored by Daftari as it stands, or was altered since"])
    return bool(told)


def outcome(database: Database, inbox_id: UUID) -> tuple[str, str]:
    with database.connection() as connection:
        row = connection.execute(OUTCOME, (inbox_id,)).fetchone()
    assert row is not None
    return row["state"], row["reason"]


def test_an_unauthenticated_callback_that_was_made_authenticated_pays_nothing(
    instance: Instance, login_url: str
) -> None:
    database, buyer = instance.services.database, instance.client()
    put_in_cart(buyer, TOMATOES, "2")
    session_id = instance.pay(buyer)
    report(instance, CONTRACT_CALLBACKS, callback(prompt_of(instance)))
    [[inbox_id]] = observe(instance, "SELECT inbox_id FROM daraja_inbox WHERE NOT is_proven")
    put_back(login_url, take_out(login_url, inbox_id, is_proven=True, session_id=UUID(session_id), attempt=1))
    instance.work()
    assert outcome(database, inbox_id) == ("set_aside", "cannot_be_decrypted")
    assert buyer.status(session_id)["session_status"] == "payment_initiated"
    assert is_named(database, instance.services.vault, inbox_id)


@pytest.mark.parametrize(
    "changed",
    [
        {"attempt": 1},
        {"channel": "reversal_result", "refund": 1, "sending": 1},
        {"channel": "status_query"},
        {"channel": "c2b_confirmation", "session_id": None},
        {"is_proven": False, "session_id": None},
    ],
)
def test_a_message_that_was_put_beside_something_else_is_dead_lettered_and_holds_up_no_other(
    database: Database,
    vault: Vault,
    inbox: Inbox,
    login_url: str,
    session_id: UUID,
    changed: dict[str, Any],
) -> None:
    message = posted(
        inbox, channel=Channel.STATUS_TIMEOUT if changed.get("is_proven") is False else Channel.STK
    )
    forged = {"is_proven": True, "session_id": session_id, "channel": "stk"} | changed
    put_back(login_url, take_out(login_url, message.inbox_id, **forged))
    is_proven = bool(forged["is_proven"])
    genuine = posted(inbox, session_id=session_id, attempt=1, is_authenticated=is_proven)
    later = clock.now() + 2 * UNPROCESSED_AFTER
    assert inbox.due(later, 10, is_authenticated=is_proven) == [genuine]
    assert outcome(database, message.inbox_id) == ("set_aside", "cannot_be_decrypted")
    assert inbox.retry(message.inbox_id, later)
    assert inbox.due(later, 10, is_authenticated=is_proven) == [genuine]
    assert is_named(database, vault, message.inbox_id)
    inbox.close(message.inbox_id, closed_by="operator 9", note="It was forged.", now=later)
    assert not is_named(database, vault, message.inbox_id)


@pytest.mark.parametrize("body", ["v2.x", "v2.AAAA", f"v2.{'_' * 60}", "v1.AAAA", "é", ""])
def test_a_body_that_nobody_encrypted_holds_up_no_other(
    database: Database, inbox: Inbox, login_url: str, session_id: UUID, body: str
) -> None:
    message = posted(inbox)
    row = take_out(login_url, message.inbox_id, is_proven=True, session_id=session_id, sealed_body=body)
    put_back(login_url, row)
    assert inbox.due(clock.now() + UNPROCESSED_AFTER, 10) == []
    assert outcome(database, message.inbox_id) == ("set_aside", "cannot_be_decrypted")


def test_what_is_bound_to_its_owner_alone_opens_only_in_a_row_from_before(
    database: Database, vault: Vault, inbox: Inbox, login_url: str, session_id: UUID
) -> None:
    message = posted(inbox)
    row = take_out(
        login_url, message.inbox_id, is_proven=True, session_id=session_id, sealed_body=OF_VERSION_1
    )
    put_back(login_url, row)
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("DELETE FROM reencrypted_tables")
    assert is_named(database, vault, message.inbox_id)
    assert inbox.due(clock.now() + UNPROCESSED_AFTER, 10) == []
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE daraja_inbox SET is_from_before = true")
    assert not is_named(database, vault, message.inbox_id)


def test_what_is_bound_to_its_id_alone_opens_only_in_a_row_from_before(
    database: Database, vault: Vault, inbox: Inbox, login_url: str, session_id: UUID
) -> None:
    message = posted(inbox, owner=7)
    bound_to_its_id = vault.encrypt(7, "{}", purpose=INBOX_BODY, row=message.inbox_id)
    row = take_out(login_url, message.inbox_id, is_proven=True, session_id=session_id, attempt=1)
    put_back(login_url, row | {"sealed_body": bound_to_its_id})
    assert is_named(database, vault, message.inbox_id)
    with psycopg.connect(login_url, autocommit=True) as attacker:
        for statement in (
            "UPDATE daraja_inbox SET is_from_before = true",
            "INSERT INTO daraja_inbox (inbox_id, is_from_before) VALUES (gen_random_uuid(), true)",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                attacker.execute(statement.encode())
    with psycopg.connect(database.url, autocommit=True) as owner:
        owner.execute("UPDATE daraja_inbox SET is_from_before = true")
    assert not is_named(database, vault, message.inbox_id)
    [due] = inbox.due(clock.now() + UNPROCESSED_AFTER, 10)
    assert (due.session_id, due.attempt, due.body) == (session_id, 1, b"{}")
