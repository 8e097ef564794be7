"""Stored events of every version so far: what was written once must be readable for ever.

A file here is never changed. A new version of an event comes with new files; `<topic>.json` shows the event in full,
`<topic>.<case>.json` a case of it that is easily forgotten. `stored/<topic>.<class_version>.json` has the very bytes
that the database gives back for one event of each version.
"""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from eventsourcing.persistence import JSONTranscoder, MapperDeserialisationError, StoredEvent
from eventsourcing.utils import resolve_topic

from ledger.session import events
from ledger.session.cart import SnapshotLine, Totals
from ledger.session.events import EVENT_CLASSES
from ledger.session.values import RefundState, Status
from ledger.store.canonical import event_digest
from ledger.store.database import Database
from ledger.store.mapper import SessionMapper
from tests.ledger.session.event_specs import SESSION_ID
from tests.ledger.session.scenario import fold

VECTORS = Path(__file__).parent / "vectors"
MAPPER = SessionMapper(JSONTranscoder())
STORED = {file.stem: file.read_bytes() for file in sorted((VECTORS / "stored").glob("*.json"))}
EVENTS = {file.stem: file for file in sorted((VECTORS / "events").glob("*.json"))}
CREATED = datetime(2026, 3, 1, 6, 30, tzinfo=UTC)


def topic_of(name: str) -> str:
    return ".".join(name.split(".")[:3])


def read(topic: str, state: dict[str, Any], version: int = 1) -> Any:
    stored = StoredEvent(SESSION_ID, version, topic, json.dumps(state).encode())
    return MAPPER.to_domain_event(stored)


def event(name: str) -> Any:
    return read(topic_of(name), json.loads(EVENTS[name].read_text()))


def session(name: str) -> Any:
    history = json.loads((VECTORS / "sessions" / f"{name}.json").read_text())
    return fold(
        [read(stored["topic"], stored["state"], version) for version, stored in enumerate(history, 1)]
    )


_OF_FAILURES = {"result_code": None, "recorded_by": None, "note": None}
SAID_LATER: dict[str, dict[str, Any]] = {
    events.Failed.TOPIC: _OF_FAILURES,
    events.AttemptFailed.TOPIC: _OF_FAILURES,
    events.SurplusReceived.TOPIC: {"answers_attempt": True},
    events.Extended.TOPIC: {"request": None},
    events.Created.TOPIC: {
        "class_version": 2,
        "county_id": None,
        "subcounty_id": None,
        "reference_sealed": None,
        "metadata_sealed": None,
        "shop": "builtin",
    },
    events.OrderCreated.TOPIC: {"class_version": 2},
    events.RefundDue.TOPIC: {
        "class_version": 2,
        "of_order": False,
        "decided_by": None,
        "reason": None,
        "request": None,
        "restock": False,
    },
}
"""What events of a kind have said only since some day: and what earlier ones are read as saying."""


def test_every_kind_of_event_has_a_vector() -> None:
    assert {topic_of(name) for name in EVENTS} == {event.TOPIC for event in EVENT_CLASSES}
    assert {event.TOPIC for event in EVENT_CLASSES} <= EVENTS.keys()


@pytest.mark.parametrize("name", EVENTS)
def test_a_stored_event_is_read_and_written_back_as_it_was(name: str) -> None:
    once = json.loads(EVENTS[name].read_text())
    again = MAPPER.to_stored_event(event(name))
    assert again.topic == topic_of(name)
    for line in once.get("lines", ()):
        line.setdefault("name_sealed", None)
    assert json.loads(again.state) == SAID_LATER.get(again.topic, {}) | once


@pytest.mark.parametrize("name", EVENTS)
def test_a_stored_event_becomes_the_class_of_its_topic_with_aware_moments(name: str) -> None:
    decoded = event(name)
    assert type(decoded) is resolve_topic(topic_of(name))
    for value in vars(decoded).values():
        assert not isinstance(value, datetime) or value.utcoffset() is not None


def test_the_creation_of_a_session_is_read_with_its_types() -> None:
    decoded = event("payment_session.created.v1")
    assert decoded.user_id == 7
    assert decoded.totals == Totals(1020_75, 50_00, 25, 1071_00)
    assert decoded.lines == (
        SnapshotLine(11, 31, "Sukuma wiki, ½ bunch", "Wanjikũ's Farm", 1_500, 80_50, 120_75, "kg"),
        SnapshotLine(12, 32, 'Eggs "tray"', "Kilifi Poultry", 2_000, 450_00, 900_00, "tray"),
    )
    assert decoded.expires_at == datetime(2026, 3, 1, 6, 45, tzinfo=UTC)
    assert decoded.timestamp == CREATED


def test_a_payment_is_read_with_its_types() -> None:
    decoded = event("payment_session.paid.v1")
    assert (decoded.receipt, decoded.amount_cents, decoded.evidence) == ("UC10000001", 1071_00, "callback")
    assert decoded.paid_at == datetime(2026, 3, 1, 6, 31, 7, tzinfo=UTC)
    assert decoded.timestamp == datetime(2026, 3, 1, 6, 30, 0, 123456, tzinfo=UTC)
    assert decoded.session_created_at == CREATED
    assert event("payment_session.paid.v1.proved_by_a_query").receipt is None


def test_a_number_beyond_what_a_float_holds_is_read_exactly() -> None:
    assert event("payment_session.payment_requested.v1").transaction_id == 2**53 + 1


def test_a_failure_from_before_result_codes_were_kept_has_none() -> None:
    assert event("payment_session.failed.v1.without_result_code").result_code is None
    assert event("payment_session.attempt_failed.v1.without_result_code").result_code is None


def test_a_stored_session_that_was_bought_after_mistakes_is_folded_as_it_was() -> None:
    bought = session("bought_after_mistakes")
    assert (bought.version, bought.status) == (19, Status.ORDER_CREATED)
    assert bought.order == (789, "ORD-20260301-001")
    assert bought.paid.receipt == "UC10000001"
    assert bought.received_cents == 2 * 1071_00
    assert [refund.state for refund in bought.refunds.values()] == [RefundState.REFUNDED]
    assert not bought.open_attempts
    assert bought.failure is None


def test_a_stored_session_that_was_abandoned_is_folded_as_it_was() -> None:
    abandoned = session("abandoned")
    assert abandoned.status == Status.EXPIRED
    assert abandoned.ended_at == datetime(2026, 3, 1, 6, 45, tzinfo=UTC)


@pytest.mark.parametrize(
    "damage", [{"amount_cents": 350.5}, {"amount_cents": "35000"}, {"amount_cents": True}]
)
def test_an_amount_that_is_no_whole_number_of_cents_is_not_read(damage: dict[str, Any]) -> None:
    state = json.loads(EVENTS["payment_session.paid.v1"].read_text())
    with pytest.raises(MapperDeserialisationError, match="cannot be read"):
        read("payment_session.paid.v1", state | damage)


def test_an_event_that_lacks_what_it_always_said_is_not_read() -> None:
    state = json.loads(EVENTS["payment_session.paid.v1"].read_text())
    del state["receipt"]
    with pytest.raises(MapperDeserialisationError, match="receipt"):
        read("payment_session.paid.v1", state)


def test_a_session_of_version_1_has_no_known_place_and_the_built_in_shop() -> None:
    decoded = event("payment_session.created.v1")
    assert (decoded.county_id, decoded.subcounty_id, decoded.shop) == (None, None, "builtin")
    assert (decoded.reference_sealed, decoded.lines[0].name_sealed) == (None, None)


def test_a_session_without_a_cart_is_read_with_the_texts_of_its_caller_encrypted() -> None:
    decoded = event("payment_session.created.v1.by_a_key")
    assert (decoded.phone_sealed, decoded.delivery_sealed, decoded.shop) == (None, None, "none")
    assert (decoded.lines[0].listing_id, decoded.lines[0].name_sealed) == (None, "v1.bmFtZQ")


def test_an_order_without_a_shop_has_a_number_and_no_id() -> None:
    decoded = event("payment_session.order_created.v1.without_shop")
    assert (decoded.order_id, decoded.order_number) == (None, "invoice-17")


def test_every_version_of_every_event_has_a_stored_sample() -> None:
    versions = {
        f"{event.TOPIC}.{version}"
        for event in EVENT_CLASSES
        for version in range(1, getattr(event, "class_version", 1) + 1)
    }
    assert versions == STORED.keys()


@pytest.mark.parametrize("name", STORED)
def test_a_stored_sample_is_read_and_becomes_the_newest_version(name: str) -> None:
    topic, _, version = name.rpartition(".")
    once = json.loads(STORED[name])
    assert once.get("class_version", 1) == int(version)
    cls = resolve_topic(topic)
    decoded = MAPPER.to_domain_event(StoredEvent(SESSION_ID, 1, topic, STORED[name]))
    assert type(decoded) is cls
    for line in once.get("lines", ()):
        line.setdefault("name_sealed", None)
    version_now = getattr(cls, "class_version", 1)
    newest = {"class_version": version_now} if version_now > 1 else {}
    assert json.loads(MAPPER.to_stored_event(decoded).state) == SAID_LATER.get(topic, {}) | once | newest


def test_the_digest_of_what_was_stored_stays_for_ever() -> None:
    digests = json.loads((VECTORS / "digests.json").read_text())
    found = {
        name: event_digest(
            SESSION_ID, 1, name.rpartition(".")[0], json.loads(state), {"cause": "request"}
        ).hex()
        for name, state in STORED.items()
    }
    assert found == digests


def test_the_samples_are_the_bytes_that_the_database_stores(database: Database) -> None:
    with database.connection() as connection:
        for name, state in STORED.items():
            row = connection.execute("SELECT %s::jsonb::text AS state", (state.decode(),)).fetchone()
            assert row is not None
            assert row["state"].encode() == state, name
