from uuid import uuid4

import pytest
from eventsourcing.persistence import NotSupportedError

from ledger.application import Ledger
from ledger.session.events import Created, Paid, PaymentRequested
from ledger.store.database import Database
from tests.support.appending import append
from tests.support.checkouts import Checkout, new_session
from tests.support.horizon import until_readable


@pytest.fixture
def positions(ledger: Ledger, database: Database) -> list[int]:
    """The positions of six events: three of one session, three of another."""
    Checkout(ledger).prompt()
    Checkout(ledger).prompt()
    until_readable(database)
    return [notification.id for notification in ledger.recorder.select_notifications(None, 100)]


def test_events_of_a_session_are_read_by_versions(ledger: Ledger) -> None:
    session_id = Checkout(ledger).prompt().pay().order().session_id
    select = ledger.recorder.select_events
    assert [event.originator_version for event in select(session_id)] == [1, 2, 3, 4, 5]
    assert [event.originator_version for event in select(session_id, gt=1, lte=3)] == [2, 3]
    assert [event.originator_version for event in select(session_id, desc=True, limit=2)] == [5, 4]
    assert [event.originator_version for event in select(session_id, limit=2)] == [1, 2]
    assert [event.originator_version for event in select(session_id, gt=0, lte=5, limit=1)] == [1]
    assert list(select(uuid4())) == []


def test_a_notification_is_its_event(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).prompt().session_id
    until_readable(database)
    events = ledger.recorder.select_events(session_id)
    notifications = ledger.recorder.select_notifications(None, 100)
    assert [(n.originator_id, n.originator_version, n.topic, n.state) for n in notifications] == [
        (session_id, event.originator_version, event.topic, event.state) for event in events
    ]


def test_notifications_come_in_the_order_of_their_positions(positions: list[int]) -> None:
    assert len(positions) == 6
    assert positions == sorted(set(positions))


def test_a_start_is_included_unless_it_is_said_otherwise(ledger: Ledger, positions: list[int]) -> None:
    select = ledger.recorder.select_notifications
    assert [n.id for n in select(positions[2], 100)] == positions[2:]
    assert [n.id for n in select(positions[2], 100, inclusive_of_start=False)] == positions[3:]


def test_a_stop_is_included_and_a_limit_obeyed(ledger: Ledger, positions: list[int]) -> None:
    select = ledger.recorder.select_notifications
    assert [n.id for n in select(positions[1], 100, stop=positions[3])] == positions[1:4]
    assert [n.id for n in select(None, 2)] == positions[:2]


def test_topics_choose(ledger: Ledger, positions: list[int]) -> None:
    topics = (Created.TOPIC, Paid.TOPIC, PaymentRequested.TOPIC)
    chosen = ledger.recorder.select_notifications(None, 100, topics=topics)
    assert [n.topic for n in chosen] == [Created.TOPIC, PaymentRequested.TOPIC] * 2
    assert {n.id for n in chosen} < set(positions)


def test_the_last_position_is_that_of_the_last_event(ledger: Ledger, positions: list[int]) -> None:
    assert ledger.recorder.max_notification_id() == positions[-1]


def test_an_empty_log_has_no_last_position(ledger: Ledger) -> None:
    assert ledger.recorder.max_notification_id() is None


def test_what_lies_above_a_running_transaction_is_not_shown(
    ledger: Ledger, database: Database, positions: list[int]
) -> None:
    with database.transaction() as stalled:
        append(stalled, ledger, new_session())
        Checkout(ledger)
        assert len(ledger.recorder.select_notifications(None, 100)) == 6
        assert ledger.recorder.max_notification_id() == positions[-1]
    until_readable(database)
    assert len(ledger.recorder.select_notifications(None, 100)) == 8


def test_there_is_no_subscription_because_a_notice_would_serialise_the_writers(ledger: Ledger) -> None:
    with pytest.raises(NotSupportedError, match=r"projections\.follower"):
        ledger.recorder.subscribe()
