"""The names under which facts are stored."""

import re

from eventsourcing.utils import resolve_topic

from ledger.session import events
from ledger.session.events import FACTS
from ledger.session.session import PaymentSession


def test_every_event_class_is_a_fact_that_the_store_can_write() -> None:
    written = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    }
    assert written == set(FACTS)


def test_every_fact_has_a_versioned_topic_of_its_own() -> None:
    topics = [fact.TOPIC for fact in FACTS]
    assert len(set(topics)) == len(topics)
    for topic in topics:
        assert re.fullmatch(r"payment_session\.[a-z_]+\.v[1-9][0-9]*", topic)


def test_a_topic_is_the_name_of_its_class() -> None:
    for fact in FACTS:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", fact.__name__).lower()
        assert fact.TOPIC.split(".")[1] == words


def test_every_topic_leads_to_its_class() -> None:
    assert [resolve_topic(fact.TOPIC) for fact in FACTS] == list(FACTS)
    assert resolve_topic("payment_session.v1") is PaymentSession


def test_the_spine_of_a_session_keeps_its_names() -> None:
    spine = {"Created", "PaymentInitiated", "Paid", "Failed", "Expired", "OrderCreated"}
    assert spine <= {fact.__name__ for fact in FACTS}
