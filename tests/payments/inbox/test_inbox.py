import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.inbox.inbox import MAX_BYTES_KEPT, UNPROCESSED_AFTER, Channel, Inbox, InboxMessage

NOW = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
LATER = datetime(2024, 1, 15, 10, 31, tzinfo=UTC)
NEWER_MESSAGES = """
INSERT INTO daraja_inbox (inbox_id, received_at, key_owner, sealed_body, body_bytes, body_sha256, state, tries)
SELECT gen_random_uuid(), %s, key_owner, sealed_body, body_bytes, body_sha256, 'acted_on', 1
FROM daraja_inbox, generate_series(1, 998) WHERE inbox_id = %s
"""


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, bytes(range(32)))


@pytest.fixture
def inbox(database: Database, vault: Vault) -> Inbox:
    return Inbox(database, vault)


def stored(inbox: Inbox, owner: int, body: bytes = b"{}") -> InboxMessage:
    return inbox.store(
        body,
        body_bytes=len(body),
        channel=Channel.STK,
        is_authenticated=True,
        session_id=uuid4(),
        attempt=1,
        owner=owner,
        now=NOW,
    )


def unauthenticated_message(inbox: Inbox, now: datetime) -> InboxMessage:
    return inbox.store(b"{}", body_bytes=2, channel=Channel.STK, is_authenticated=False, now=now)


def test_a_body_is_read_back_byte_for_byte(inbox: Inbox) -> None:
    body = bytes(range(256))
    message = stored(inbox, 7, body)
    assert inbox.due(LATER, 10) == [message]
    assert message.body == body


def test_messages_of_an_erased_customer_are_dead_lettered_and_do_not_hold_up_others(
    inbox: Inbox, vault: Vault, database: Database
) -> None:
    erased, other = stored(inbox, 7), stored(inbox, 8)
    vault.erase(7)
    assert inbox.due(LATER, 10) == [other]
    with database.connection() as connection:
        row = connection.execute(
            "SELECT state, reason FROM daraja_inbox WHERE inbox_id = %s", (erased.inbox_id,)
        ).fetchone()
    assert row == {"state": "set_aside", "reason": "customer_erased"}


def test_a_message_about_an_erased_customer_is_stored_all_the_same(inbox: Inbox, vault: Vault) -> None:
    vault.encrypt(7, "so that there is a key", purpose="test", row=1)
    vault.erase(7)
    message = stored(inbox, 7)
    assert inbox.message(message.inbox_id) == message


def test_only_the_newest_unauthenticated_messages_are_kept_in_whatever_state(
    inbox: Inbox, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("payments.inbox.inbox.MAX_UNAUTHENTICATED_KEPT", 1_000)
    authenticated = [stored(inbox, 7), stored(inbox, 8)]
    unauthenticated = [unauthenticated_message(inbox, NOW + timedelta(seconds=second)) for second in range(4)]
    looked_at = unauthenticated_message(inbox, NOW - timedelta(seconds=1))
    inbox.dead_letter(unauthenticated[0], "malformed", NOW)
    inbox.settle(unauthenticated[3], "no_news", NOW)
    inbox.dead_letter(looked_at, "malformed", NOW)
    assert inbox.close(looked_at.inbox_id, closed_by="operator 99", note="A test of ours.", now=NOW)
    with database.connection() as connection:
        connection.execute(NEWER_MESSAGES, (LATER + timedelta(seconds=1), unauthenticated[3].inbox_id))
    assert inbox.purge_unauthenticated() == 2
    with database.connection() as connection:
        rows = connection.execute(
            "SELECT inbox_id FROM daraja_inbox WHERE received_at <= %s", (LATER,)
        ).fetchall()
    left = {message.inbox_id for message in (*authenticated, *unauthenticated[2:], looked_at)}
    assert {row["inbox_id"] for row in rows} == left


def test_a_message_about_a_refund_names_its_refund_attempt(inbox: Inbox) -> None:
    message = inbox.store(
        b"{}",
        body_bytes=2,
        channel=Channel.REVERSAL_TIMEOUT,
        is_authenticated=True,
        session_id=uuid4(),
        refund=2,
        refund_attempt=3,
        now=NOW,
    )
    assert inbox.due(LATER, 10) == [message]
    assert (message.refund, message.refund_attempt, message.attempt) == (2, 3, None)


def _row(database: Database, message: InboxMessage) -> dict[str, Any]:
    with database.connection() as connection:
        row = connection.execute(
            "SELECT * FROM daraja_inbox WHERE inbox_id = %s", (message.inbox_id,)
        ).fetchone()
    assert row is not None
    return row


def test_a_body_is_stored_with_everything_that_its_url_names(inbox: Inbox, database: Database) -> None:
    session_id = uuid4()
    message = inbox.store(
        b'{"Body": 1}',
        body_bytes=11,
        channel=Channel.STK,
        is_authenticated=True,
        session_id=session_id,
        attempt=2,
        owner=7,
        now=NOW,
    )
    row = _row(database, message)
    assert row.pop("sealed_body") != '{"Body": 1}'
    assert row == row | {
        "received_at": NOW,
        "channel": "stk",
        "is_proven": True,
        "session_id": session_id,
        "attempt": 2,
        "refund": None,
        "sending": None,
        "key_owner": 7,
        "body_bytes": 11,
        "body_sha256": hashlib.sha256(b'{"Body": 1}').hexdigest(),
        "state": "new",
        "reason": None,
        "tries": 0,
        "next_try_at": NOW + UNPROCESSED_AFTER,
        "settled_at": None,
    }
    assert (message.tries, message.missing_part) == (0, None)


def test_a_body_that_is_too_long_is_cut_and_marked_as_cut(inbox: Inbox) -> None:
    body = b"x" * (MAX_BYTES_KEPT + 1)
    message = inbox.store(body, body_bytes=len(body), channel=Channel.STK, is_authenticated=False, now=NOW)
    assert message.body == body[:MAX_BYTES_KEPT]
    assert message.missing_part == "too_large"
    assert inbox.message(message.inbox_id) == message
    whole = inbox.store(
        body[:-1], body_bytes=MAX_BYTES_KEPT, channel=Channel.STK, is_authenticated=False, now=NOW
    )
    assert whole.missing_part is None
    short = inbox.store(body[:9], body_bytes=99, channel=Channel.STK, is_authenticated=False, now=NOW)
    assert short.missing_part == "cut_short"


def test_an_unauthenticated_message_is_due_at_once_and_an_authenticated_one_a_little_later(
    inbox: Inbox,
) -> None:
    authenticated, later = stored(inbox, 7), stored(inbox, 8)
    other = unauthenticated_message(inbox, NOW)
    assert inbox.due(NOW, 10) == []
    assert inbox.due(NOW, 10, is_authenticated=False) == [other]
    assert inbox.due(NOW + UNPROCESSED_AFTER, 10) in ([authenticated, later], [later, authenticated])
    assert len(inbox.due(NOW + UNPROCESSED_AFTER, 1)) == 1
    assert inbox.due(NOW + UNPROCESSED_AFTER, 10, is_authenticated=False) == [other]


def test_a_message_that_was_acted_on_or_dead_lettered_is_due_no_more(
    inbox: Inbox, database: Database
) -> None:
    acted_on, dead_lettered, waiting = (stored(inbox, owner) for owner in (7, 8, 9))
    inbox.settle(acted_on, "paid", LATER)
    inbox.dead_letter(dead_lettered, "malformed", LATER)
    assert inbox.due(LATER, 10) == [waiting]
    rows = [
        (row["state"], row["reason"], row["next_try_at"], row["settled_at"])
        for row in (_row(database, message) for message in (acted_on, dead_lettered, waiting))
    ]
    assert rows == [
        ("acted_on", "paid", None, LATER),
        ("set_aside", "malformed", None, LATER),
        ("new", None, NOW + UNPROCESSED_AFTER, None),
    ]


def test_a_failed_try_is_counted_and_the_message_is_due_at_its_time(inbox: Inbox, database: Database) -> None:
    message, other = stored(inbox, 7), stored(inbox, 8)
    inbox.postpone(message, "conflict", LATER + timedelta(seconds=1))
    assert inbox.due(LATER, 10) == [other]
    [_, again] = inbox.due(LATER + timedelta(seconds=1), 10)
    assert again == replace(message, tries=1)
    assert _row(database, message)["reason"] == "conflict"


def test_a_message_that_was_not_tried_waits_without_a_count(inbox: Inbox, database: Database) -> None:
    message, other = stored(inbox, 7), stored(inbox, 8)
    inbox.wait(message, LATER + timedelta(seconds=1))
    assert inbox.due(LATER, 10) == [other]
    assert (_row(database, message)["tries"], _row(database, message)["reason"]) == (0, None)
    assert message in inbox.due(LATER + timedelta(seconds=1), 10)


def test_the_same_body_is_known_if_it_was_pulled(inbox: Inbox) -> None:
    long = b"y" * (MAX_BYTES_KEPT + 5)
    for channel, body in ((Channel.PULL, b"{}"), (Channel.PULL, long), (Channel.STK, b"{ }")):
        inbox.store(body, body_bytes=len(body), channel=channel, is_authenticated=True, now=NOW)
    assert inbox.holds_pulled(b"{}")
    assert inbox.holds_pulled(long)
    assert not inbox.holds_pulled(b"{ }")


def test_an_unknown_id_has_no_message(inbox: Inbox) -> None:
    assert inbox.message(uuid4()) is None


def test_an_operator_closes_a_dead_lettered_message_once(inbox: Inbox, database: Database) -> None:
    message, new = stored(inbox, 7), stored(inbox, 8)
    inbox.dead_letter(message, "unknown_attempt", NOW)
    assert inbox.close(message.inbox_id, closed_by="operator 9", note="a test of ours", now=LATER)
    row = _row(database, message)
    assert (row["state"], row["closed_by"], row["note"], row["settled_at"]) == (
        "closed",
        "operator 9",
        "a test of ours",
        LATER,
    )
    for without in (message, new):
        assert not inbox.close(without.inbox_id, closed_by="operator 8", note="again", now=LATER)
    assert _row(database, message)["closed_by"] == "operator 9"


def test_a_dead_lettered_message_can_be_retried_from_a_moment(inbox: Inbox) -> None:
    message, closed = stored(inbox, 7), stored(inbox, 8)
    inbox.postpone(message, "conflict", NOW)
    for dead_letter in (message, closed):
        inbox.dead_letter(dead_letter, "not_handled", NOW)
    inbox.close(closed.inbox_id, closed_by="operator 9", note="looked at", now=NOW)
    assert inbox.retry(message.inbox_id, LATER)
    assert inbox.due(LATER - timedelta(seconds=1), 10) == []
    assert inbox.due(LATER, 10) == [message]
    for without in (message, closed):
        assert not inbox.retry(without.inbox_id, LATER)
