import pytest
from eventsourcing.persistence import MapperDeserialisationError, StoredEvent

from ledger.application import Ledger
from ledger.events import FACTS, Paid
from tests.support.checkouts import Checkout, new_session, one_of_every_kind


def test_every_kind_of_event_comes_back_as_it_was_written(ledger: Ledger) -> None:
    written = set()
    for checkout in one_of_every_kind(ledger):
        for event in ledger.events.get(checkout.session_id):
            stored = ledger.mapper.to_stored_event(event)
            assert ledger.mapper.to_domain_event(stored) == event
            written.add(type(event))
    assert written == set(FACTS)


def test_an_event_that_was_never_stored_comes_back_equal(ledger: Ledger) -> None:
    (created,) = new_session().collect_events()
    assert ledger.mapper.to_domain_event(ledger.mapper.to_stored_event(created)) == created


def test_a_state_that_does_not_fit_its_class_is_named(ledger: Ledger) -> None:
    session_id = Checkout(ledger).session_id
    stored = StoredEvent(session_id, 2, Paid.TOPIC, b'{"attempt": "first"}')
    with pytest.raises(MapperDeserialisationError, match=rf"Event 2 of session {session_id}"):
        ledger.mapper.to_domain_event(stored)
