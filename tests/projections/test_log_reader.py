from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from psycopg import Connection

from ledger.application import Ledger
from ledger.session.events import Created, OrderCreated, Paid
from ledger.store.database import Database
from payments.worker.event_processor import EventProcessor
from projections import follower as following
from projections.follower import Follower, LogReader, Recorded, position_of, read_end
from tests.projections.recording import Notebook
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable
from tests.support.keys import event_macs


class Handler:
    """Lists the versions that it is asked to handle."""

    name = "handler"
    topics = (Paid.TOPIC,)

    def __init__(self) -> None:
        self.handled: list[UUID] = []

    def handle(self, recorded: Recorded) -> None:
        self.handled.append(recorded.session_id)


class Distrustful:
    """Takes every event for a forgery."""

    def is_genuine(self, _row: dict[str, Any]) -> bool:
        return False


@pytest.fixture
def log(database: Database) -> LogReader:
    return LogReader(database, event_macs(database))


@pytest.fixture
def notebook(database: Database) -> Notebook:
    return Notebook.opened(database, topics=(Created.TOPIC,))


def caught_up(database: Database, log: LogReader, notebook: Notebook) -> Follower:
    follower = Follower(database, event_macs(database), notebook, log=log)
    follower.catch_up()
    return follower


def stored_position(database: Database, name: str) -> int:
    with database.connection() as connection:
        return position_of(connection, name, read_end(connection).origin)


def look_often(log: LogReader) -> None:
    """Look until positions are stored, though other tests may move the horizon meanwhile."""
    for _ in range(following.MAX_LOOKS_UNSAVED):
        log.look()


def with_events_for_others(
    ledger: Ledger, database: Database, log: LogReader, notebook: Notebook
) -> Follower:
    """Return a follower that was caught up before two events for others came."""
    checkout = Checkout(ledger)
    until_readable(database)
    follower = caught_up(database, log, notebook)
    checkout.prompt()
    until_readable(database)
    return follower


def newest_position(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("SELECT max(position) AS position FROM payment_events").fetchone()
    assert row is not None
    return int(row["position"])


def test_what_one_look_brought_serves_all_followers(
    ledger: Ledger, database: Database, log: LogReader, notebook: Notebook
) -> None:
    other = Notebook("other")
    followers = [caught_up(database, log, notebook), caught_up(database, log, other)]
    session_id = Checkout(ledger).prompt().session_id
    until_readable(database)
    assert [follower.run_once() for follower in followers] == [3, 3]
    assert notebook.seen(database) == [(session_id, 1)]
    assert other.seen(database) == [(session_id, version) for version in (1, 2, 3)]
    assert stored_position(database, "notebook") == stored_position(database, "other")


def test_a_position_that_another_holds_stops_nobody(
    ledger: Ledger, database: Database, log: LogReader, notebook: Notebook
) -> None:
    follower = with_events_for_others(ledger, database, log, notebook)
    held = stored_position(database, notebook.name)
    with database.transaction() as another:
        another.execute("SELECT FROM follower_positions WHERE name = %s FOR UPDATE", (notebook.name,))
        assert follower.run_once() == 2
        look_often(log)
        assert stored_position(database, notebook.name) == held
    look_often(log)
    assert stored_position(database, notebook.name) > held


def test_a_position_passes_over_events_for_others_once_nothing_new_comes(
    ledger: Ledger, database: Database, log: LogReader, notebook: Notebook
) -> None:
    follower = with_events_for_others(ledger, database, log, notebook)
    assert follower.catch_up() == 2
    look_often(log)
    assert stored_position(database, "notebook") == newest_position(database)


def test_more_events_than_are_kept_are_read_from_the_log(
    ledger: Ledger,
    database: Database,
    log: LogReader,
    notebook: Notebook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(following, "BATCH_SIZE", 3)
    follower = caught_up(database, log, notebook)
    sessions = [Checkout(ledger).prompt().session_id for _ in range(3)]
    until_readable(database)
    follower.catch_up()
    assert notebook.seen(database) == [(session_id, 1) for session_id in sessions]


def test_another_server_may_have_other_events_at_the_same_places(
    ledger: Ledger,
    database: Database,
    log: LogReader,
    notebook: Notebook,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    follower = caught_up(database, log, notebook)
    checkout = Checkout(ledger)
    until_readable(database)
    before_failover = log.look()
    monkeypatch.setattr(following, "LOOK", following.LOOK.replace("time()", "time() - interval '1 day'"))
    after_failover = log.look()
    assert log.recent(before_failover, after_failover, ()) is None
    follower.catch_up()
    assert notebook.seen(database) == [(checkout.session_id, 1)]


def test_a_payment_whose_order_came_with_it_is_not_handled(
    ledger: Ledger, database: Database, log: LogReader
) -> None:
    handler = Handler()
    processor = EventProcessor(database, handler, log=log, settled_by=(OrderCreated.TOPIC,))
    ordered, paid = Checkout(ledger).prompt().pay("UKG7Q2X9LM"), Checkout(ledger).prompt().pay("UKG7Q2X9LN")
    ordered.order()
    until_readable(database)
    assert processor.run_once() == 9
    assert handler.handled == [paid.session_id]


def test_a_processor_far_behind_reads_each_event_once(
    ledger: Ledger, database: Database, log: LogReader
) -> None:
    for _ in range(4):
        Checkout(ledger).prompt()
    until_readable(database)
    processor = EventProcessor(database, Handler(), 2, log=log)
    assert sum(iter(processor.run_once, 0)) == 12


def test_a_forged_order_hides_no_payment(ledger: Ledger, database: Database) -> None:
    handler, log = Handler(), LogReader(database, Distrustful())  # type: ignore[arg-type]
    processor = EventProcessor(database, handler, log=log, settled_by=(OrderCreated.TOPIC,))
    checkout = Checkout(ledger).prompt().pay("UKG7Q2X9LM")
    checkout.order()
    until_readable(database)
    processor.run_once()
    assert handler.handled == [checkout.session_id]


class Kept:
    """Keeps the events that it is given."""

    topics = (Created.TOPIC,)

    def __init__(self, name: str) -> None:
        self.name = name
        self.given: list[Recorded] = []

    def apply(self, _: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Keep a batch."""
        self.given.extend(batch)


def test_followers_are_given_the_same_event_which_is_checked_and_decoded_once(
    ledger: Ledger, database: Database, log: LogReader
) -> None:
    one, other = Kept("one"), Kept("other")
    followers = [Follower(database, event_macs(database), each, log=log) for each in (one, other)]
    for _ in range(3):  # What came before a follower's first position in memory is read from the log.
        Checkout(ledger)
        until_readable(database)
        for follower in followers:
            follower.catch_up()
    assert one.given[-1] is other.given[-1]
    assert len(one.given) == len(other.given) == 3


def test_an_event_that_one_follower_takes_unchecked_is_checked_for_the_next(
    ledger: Ledger, database: Database
) -> None:
    log = LogReader(database, Distrustful())  # type: ignore[arg-type]
    start = log.look()
    Checkout(ledger)
    until_readable(database)
    end = log.look()
    unchecked = log.recent(start, end, (Created.TOPIC,), checked=())
    checked = log.recent(start, end, (Created.TOPIC,))
    assert unchecked is not None
    assert checked is not None
    assert (len(unchecked.wanted), len(checked.wanted)) == (1, 0)
