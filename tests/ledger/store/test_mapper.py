import json
from datetime import UTC, datetime
from typing import Any

import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent
from eventsourcing.utils import register_topic

from ledger.application import Ledger
from ledger.session.events import EVENT_CLASSES, Event, Paid
from tests.support.checkouts import Checkout, new_session, one_of_every_kind


def test_every_kind_of_event_comes_back_as_it_was_written(ledger: Ledger) -> None:
    written = set()
    for checkout in one_of_every_kind(ledger):
        for event in ledger.events.get(checkout.session_id):
            stored = ledger.mapper.to_stored_event(event)
            assert ledger.mapper.to_domain_event(stored) == event
            written.add(type(event))
    assert written == set(EVENT_CLASSES)


def test_an_event_that_was_never_stored_comes_back_equal(ledger: Ledger) -> None:
    (created,) = new_session().collect_events()
    assert ledger.mapper.to_domain_event(ledger.mapper.to_stored_event(created)) == created


def test_a_state_that_does_not_fit_its_class_is_named(ledger: Ledger) -> None:
    session_id = Checkout(ledger).session_id
    stored = StoredEvent(session_id, 2, Paid.TOPIC, b'{"attempt": "first"}')
    with pytest.raises(MapperDeserialisationError, match=rf"Event 2 of session {session_id}"):
        ledger.mapper.to_domain_event(stored)


class Moved(Event):
    """An event whose fields changed twice: a text became a number of cents, which then was renamed."""

    TOPIC = "payment_session.moved_in_a_test.v1"
    class_version = 3
    amount_cents: int
    why: str = "not told"

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        state["cents"] = int(state.pop("shillings")) * 100

    @staticmethod
    def upcast_v2_v3(state: dict[str, Any]) -> None:
        state["amount_cents"] = state.pop("cents")


register_topic(Moved.TOPIC, Moved)
MOMENT = '"timestamp": "2026-03-01T06:30:00Z"'


@pytest.mark.parametrize(
    "stored",
    [
        f'{{{MOMENT}, "shillings": "350"}}',
        f'{{{MOMENT}, "class_version": 1, "shillings": "350"}}',
        f'{{{MOMENT}, "class_version": 2, "cents": 35000}}',
        f'{{{MOMENT}, "class_version": 3, "amount_cents": 35000}}',
    ],
)
def test_an_older_class_version_is_read_as_the_newest(ledger: Ledger, stored: str) -> None:
    session_id = new_session().id
    event = ledger.mapper.to_domain_event(StoredEvent(session_id, 4, Moved.TOPIC, stored.encode()))
    assert vars(event) == {
        "originator_id": session_id,
        "originator_version": 4,
        "timestamp": datetime(2026, 3, 1, 6, 30, tzinfo=UTC),
        "amount_cents": 350_00,
        "why": "not told",
    }
    written = ledger.mapper.to_stored_event(event)
    assert json.loads(written.state)["class_version"] == 3
    assert ledger.mapper.to_domain_event(written) == event


def test_an_older_class_version_that_does_not_fit_is_named(ledger: Ledger) -> None:
    stored = StoredEvent(new_session().id, 1, Moved.TOPIC, b'{"class_version": 2, "cents": "many"}')
    with pytest.raises(MapperDeserialisationError):
        ledger.mapper.to_domain_event(stored)
