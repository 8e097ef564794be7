"""The feed holds each message once, in the order of the log, for those keys alone that hear of its session."""

from typing import Any

import pytest

from ledger.application import Ledger
from ledger.session.values import Evidence, Payment
from ledger.store import metadata
from ledger.store.database import Database
from ledger.store.vault import Vault
from payments.webhooks.feed import MessageFeed
from payments.webhooks.messages import MESSAGE_TYPES, message_id
from projections import log_pages
from projections.log_pages import Positions
from tests.support.appending import append
from tests.support.checkouts import HALF_PAST_TEN, TOTAL_CENTS, Checkout, one_of_every_kind
from tests.support.horizon import until_readable

ALL = MESSAGE_TYPES
MADE = [("key:shop", "RCPTKEY001"), ("key:another", "RCPTKEY002"), ("user:7", "RCPTKEY003")]


@pytest.fixture
def feed(ledger: Ledger, database: Database) -> MessageFeed:
    return MessageFeed(ledger, Vault(database, bytes(range(32))))


def by(actor: str, ledger: Ledger) -> Checkout:
    """Return a session that an actor made."""
    with metadata.caused_by(actor=actor):
        return Checkout(ledger)


def read(
    feed: MessageFeed, key: str | None = "shop", types: Any = ALL, limit: int = 3
) -> list[dict[str, Any]]:
    until_readable(feed._ledger.database)
    positions: Positions = {}
    found: list[dict[str, Any]] = []
    for _ in range(1_000):
        page = feed.page(key, types, positions, limit)
        assert len(page.messages) <= limit
        found, positions = found + page.messages, page.positions
        if not page.has_more:
            return found
    raise AssertionError("The feed does not end.")


def test_pages_of_any_size_hold_each_message_once_in_the_order_of_the_log(
    ledger: Ledger, feed: MessageFeed
) -> None:
    one_of_every_kind(ledger)
    whole = read(feed, limit=1_000)
    assert {message["type"] for message in whole} == set(MESSAGE_TYPES)
    assert len({message["id"] for message in whole}) == len(whole)
    assert read(feed, limit=1) == read(feed, limit=7) == whole
    dues = [message for message in whole if message["type"] in ("refund.due", "refund.done")]
    assert read(feed, types=("refund.due", "refund.done")) == dues


def test_a_message_is_what_a_webhook_holds_with_its_id(ledger: Ledger, feed: MessageFeed) -> None:
    paid = Checkout(ledger).prompt().pay()
    [message] = read(feed)
    assert list(message) == ["id", "type", "timestamp", "data"]
    assert message["id"] == message_id(paid.session_id, 4)
    assert message["data"]["session_id"] == str(paid.session_id)


def test_a_key_reads_of_its_own_sessions_and_of_carts_and_never_of_another_keys(
    ledger: Ledger, feed: MessageFeed
) -> None:
    made = [by(actor, ledger).prompt().pay(receipt) for actor, receipt in MADE]
    mine, another, cart = (str(each.session_id) for each in made)

    def heard(key: str | None) -> list[str]:
        return [message["data"]["session_id"] for message in read(feed, key, limit=1)]

    assert heard("shop") == [mine, cart]
    assert heard("another") == [another, cart]
    assert heard("third") == [cart]
    assert heard(None) == [mine, another, cart]


def test_a_page_may_be_empty_long_before_the_end_and_leads_on(
    ledger: Ledger, feed: MessageFeed, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        by("key:another", ledger).prompt().cancel()
    mine = by("key:shop", ledger).prompt().cancel()
    until_readable(ledger.database)
    monkeypatch.setattr(log_pages, "MAX_WALKED", 2)
    page = feed.page("shop", ALL, {}, 100)
    assert (page.messages, page.has_more) == ([], True)
    [message] = read(feed)
    assert message["data"]["session_id"] == str(mine.session_id)


def test_the_feed_goes_on_where_it_ended(ledger: Ledger, feed: MessageFeed) -> None:
    paid = Checkout(ledger).prompt().pay()
    until_readable(ledger.database)
    page = feed.page("shop", ALL, {}, 100)
    assert ([message["type"] for message in page.messages], page.has_more) == (["payment.paid"], False)
    assert feed.page("shop", ALL, page.positions, 100).messages == []
    paid.order()
    until_readable(ledger.database)
    later = feed.page("shop", ALL, page.positions, 100)
    assert [message["type"] for message in later.messages] == ["order.created"]


def test_since_a_moment_only_what_was_recorded_later_is_told(
    ledger: Ledger, feed: MessageFeed, database: Database
) -> None:
    paid = Checkout(ledger).prompt().pay()
    with database.connection() as connection:
        now = connection.execute("SELECT clock_timestamp() AS now").fetchone()
    assert now is not None
    paid.order()
    until_readable(database)
    page = feed.page("shop", ALL, {}, 100, since=now["now"])
    assert [message["type"] for message in page.messages] == ["order.created"]


def test_a_forged_event_is_never_told_nor_what_follows_it(
    ledger: Ledger, feed: MessageFeed, database: Database
) -> None:
    forged = Checkout(ledger).prompt()
    session = forged.session
    session.record_payment(Payment(1, None, TOTAL_CENTS, Evidence.QUERY, HALF_PAST_TEN), at=HALF_PAST_TEN)
    with database.connection() as attacker:
        append(attacker, ledger, session, macs=[bytes(range(32))])
    Checkout(ledger).prompt().cancel()
    assert [message["type"] for message in read(feed)] == ["payment.failed"]
