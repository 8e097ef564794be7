"""The names under which events are stored and shown."""

import re

from eventsourcing.utils import resolve_topic

from ledger.session import events
from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES
from ledger.session.session import PaymentSession


def test_the_store_can_write_every_event_class() -> None:
    written = {
        kind
        for kind in vars(events).values()
        if isinstance(kind, type) and issubclass(kind, events.Event) and kind is not events.Event
    }
    assert written == set(EVENT_CLASSES)


def test_every_event_class_has_a_versioned_topic_of_its_own() -> None:
    topics = [event.TOPIC for event in EVENT_CLASSES]
    assert len(set(topics)) == len(topics)
    for topic in topics:
        assert re.fullmatch(r"payment_session\.[a-z_]+\.v[1-9][0-9]*", topic)


def test_a_topic_is_the_public_name_of_its_event() -> None:
    for event in EVENT_CLASSES:
        words = re.sub(r"(?<!^)(?=[A-Z])", "_", PUBLIC_NAMES[event]).lower()
        assert event.TOPIC.split(".")[1] == words


def test_every_topic_leads_to_its_class() -> None:
    assert [resolve_topic(event.TOPIC) for event in EVENT_CLASSES] == list(EVENT_CLASSES)
    assert resolve_topic("payment_session.v1") is PaymentSession


def test_public_names_never_change() -> None:
    names = """
        AttemptFailed ContradictionClosed ContradictionFound Created EvidenceUpgraded Expired Extended
        Failed OrderCreated Paid PaymentInitiated PaymentRefused PaymentRequested PaymentReversed PaymentUncertain
        ReceiptRecorded RefundAccepted RefundApproved RefundDue RefundFailed RefundRefused RefundRequested
        RefundUncertain Refunded SurplusReceived
    """
    assert sorted(PUBLIC_NAMES.values()) == names.split()
