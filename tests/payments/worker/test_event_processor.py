from collections import defaultdict
from datetime import UTC, datetime, timedelta
from threading import Barrier
from uuid import UUID

import pytest
from freezegun import freeze_time

from ledger.application import Ledger
from ledger.errors import Conflict, Rejected, Unavailable
from ledger.session.events import Created, Paid
from ledger.store.database import Database
from payments.worker.event_processor import (
    MAX_TRIES,
    OUTAGE_PAUSE,
    RETRY_SCHEDULE,
    EventProcessor,
    list_dead_lettered,
    retry_dead_lettered,
)
from projections.follower import Recorded
from tests.support.checkouts import Checkout
from tests.support.horizon import until_readable

NOW = datetime(2024, 1, 15, 11, 0, tzinfo=UTC)


class Desk:
    """Handles events, and fails on those that it is set to fail on."""

    name = "service"
    topics: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.handled: list[tuple[str, int]] = []
        self.refuses: dict[int, Exception] = {}

    def handle(self, recorded: Recorded) -> None:
        if recorded.version in self.refuses:
            raise self.refuses[recorded.version]
        self.handled.append((recorded.topic, recorded.version))

    @property
    def versions(self) -> list[int]:
        return [version for _, version in self.handled]


@pytest.fixture
def service() -> Desk:
    return Desk()


class Patient(EventProcessor):
    """Waits first until tests beside this one do not hold it back."""

    def __init__(self, database: Database, service: Desk) -> None:
        super().__init__(database, service)
        self._waits_for = database

    def run_once(self) -> int:
        until_readable(self._waits_for)
        return super().run_once()


@pytest.fixture
def processor(database: Database, service: Desk) -> EventProcessor:
    return Patient(database, service)


def test_each_event_is_handled_once_and_the_position_is_stored(
    ledger: Ledger, database: Database, service: Desk, processor: EventProcessor
) -> None:
    Checkout(ledger).prompt()
    assert processor.run_once() == 3
    assert processor.run_once() == 0
    processor.lock.release()
    assert Patient(database, service).run_once() == 0
    assert service.versions == [1, 2, 3]


def test_a_handler_gets_only_its_topics(ledger: Ledger, service: Desk, processor: EventProcessor) -> None:
    service.topics = (Paid.TOPIC, Created.TOPIC)
    Checkout(ledger).prompt().pay()
    assert processor.run_once() == 4
    assert service.versions == [1, 4]


def test_a_failing_event_does_not_hold_up_later_ones(
    ledger: Ledger, service: Desk, processor: EventProcessor
) -> None:
    service.refuses[2] = ArithmeticError()
    Checkout(ledger).prompt().pay()
    processor.run_once()
    assert service.versions == [1, 3, 4]


def test_a_failed_event_is_retried_when_it_is_due(
    ledger: Ledger, service: Desk, processor: EventProcessor
) -> None:
    service.refuses[2] = ArithmeticError()
    Checkout(ledger).prompt()
    with freeze_time(NOW):
        processor.run_once()
    assert processor.retry_due(NOW) == 0
    service.refuses.clear()
    assert processor.retry_due(NOW + timedelta(seconds=1)) == 1
    assert service.versions == [1, 3, 2]
    assert processor.retry_due(NOW + timedelta(days=1)) == 0


def test_after_its_last_try_an_event_is_dead_lettered_until_an_operator_retries_it(
    ledger: Ledger, database: Database, service: Desk, processor: EventProcessor
) -> None:
    service.refuses[1] = Rejected("CART_ALREADY_BOUGHT", "These goods have been bought.")
    session_id = Checkout(ledger).session_id
    with freeze_time(NOW):
        processor.run_once()
    now = NOW
    for tries in range(1, MAX_TRIES):
        now += RETRY_SCHEDULE.pause_after(tries)
        assert processor.retry_due(now) == 1
    assert processor.retry_due(now + timedelta(days=1)) == 0
    (aside,) = list_dead_lettered(database)
    assert (aside.name, aside.session_id, aside.version, aside.tries) == (
        "service",
        session_id,
        1,
        MAX_TRIES,
    )
    assert aside.error == "CART_ALREADY_BOUGHT: These goods have been bought."
    service.refuses.clear()
    with freeze_time(now):
        assert retry_dead_lettered(database, "service", session_id, 1)
        assert not retry_dead_lettered(database, "service", session_id, 1)
    assert processor.retry_due(now) == 1
    assert service.versions == [1]
    assert list_dead_lettered(database) == []


@pytest.mark.parametrize("outage", [Unavailable(), Conflict()])
def test_an_outage_never_dead_letters_an_event(
    ledger: Ledger, database: Database, service: Desk, processor: EventProcessor, outage: Exception
) -> None:
    service.refuses[1] = outage
    Checkout(ledger)
    with freeze_time(NOW):
        processor.run_once()
    now = NOW
    for _ in range(2 * MAX_TRIES):
        now += OUTAGE_PAUSE
        assert processor.retry_due(now) == 1
    assert list_dead_lettered(database) == []
    service.refuses.clear()
    assert processor.retry_due(now + OUTAGE_PAUSE) == 1
    assert service.versions == [1]


def test_the_message_of_a_foreign_exception_is_not_stored_because_it_may_hold_personal_data(
    ledger: Ledger, database: Database, service: Desk, processor: EventProcessor
) -> None:
    service.refuses[1] = ValueError("cannot deliver to John Doe, 254712345678")
    Checkout(ledger)
    processor.run_once()
    with database.connection() as connection:
        stored = connection.execute("SELECT error FROM follower_failures").fetchone()
    assert stored == {"error": "ValueError"}


def test_the_pauses_between_tries_grow_up_to_a_few_minutes() -> None:
    pauses = [int(RETRY_SCHEDULE.pause_after(tries).total_seconds()) for tries in range(1, MAX_TRIES)]
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]


def test_a_second_worker_stands_by_until_the_first_releases_the_lock(
    ledger: Ledger, database: Database, service: Desk, processor: EventProcessor
) -> None:
    Checkout(ledger)
    second = Patient(database, service)
    assert processor.run_once() == 1
    Checkout(ledger)
    assert (second.run_once(), second.retry_due(NOW)) == (0, 0)
    processor.lock.release()
    assert second.run_once() == 1
    assert processor.run_once() == 0


class Meeting(Desk):
    """Holds each session's first event until every session's has come, so it ends only where they come at once."""

    def __init__(self, parties: int) -> None:
        super().__init__()
        self.seen: dict[UUID, list[int]] = defaultdict(list)
        self._all_are_here = Barrier(parties, timeout=10)

    def handle(self, recorded: Recorded) -> None:
        if not self.seen[recorded.session_id]:
            self._all_are_here.wait()
        self.seen[recorded.session_id].append(recorded.version)


def test_sessions_are_handled_side_by_side_and_each_in_order(ledger: Ledger, database: Database) -> None:
    meeting = Meeting(parties=2)
    checkouts = [Checkout(ledger), Checkout(ledger)]
    for checkout in checkouts:
        checkout.prompt()

    Patient(database, meeting).run_once()

    assert meeting.seen == {checkout.session_id: [1, 2, 3] for checkout in checkouts}
    assert list_dead_lettered(database) == []
