"""What a login of the database can append without the master key: nothing that is believed."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import msgspec
import psycopg
import pytest
from eventsourcing.persistence import StoredEvent
from psycopg import Connection

from ledger.application import Ledger
from ledger.session import events
from ledger.session.event import Event
from ledger.session.events import EVENT_CLASSES, Paid
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.session.values import BUILTIN_SHOP, Evidence, Payment
from ledger.store.canonical import chained_hashes
from ledger.store.database import Database
from ledger.store.event_macs import EventForged, EventMacs
from ledger.store.vault import DELIVERY, Vault
from payments.fulfilment.order_failures import OrderFailures
from payments.fulfilment.order_process import OrderMaker
from payments.worker.event_processor import EventProcessor, list_dead_lettered
from projections import metrics
from projections.cases import PaymentCases
from projections.follower import Follower, Projection
from projections.history import for_auditor, for_owner, history, timeline
from projections.integrity.invariants import check
from projections.journal import Journal
from projections.metrics import PaymentMetrics
from projections.refunds import PaymentRefunds
from shop.shops import Shops
from tests.support.appending import append
from tests.support.checkouts import HALF_PAST_TEN, Checkout, new_session
from tests.support.horizon import until_readable
from tests.support.keys import MASTER_KEY, event_macs

REFUSED = "DF004"
RESTART = "57DF1"
OLD_CALL = """
SELECT append_events(%s, %s, ARRAY[%s]::text[], ARRAY[%s]::jsonb[], ARRAY[%b]::bytea[], %s::jsonb) AS position
"""
ALTER = "UPDATE payment_events SET {} WHERE session_id = %s AND version = 2"
COUNT = "SELECT count(*) AS events FROM payment_events"


@pytest.fixture
def attacker(login_url: str) -> Iterator[Connection[Any]]:
    """A connection of the application's login, in the hands of somebody without the master key."""
    with psycopg.connect(login_url, autocommit=True, row_factory=psycopg.rows.dict_row) as connection:
        yield connection


@pytest.fixture
def checkout(ledger: Ledger) -> Checkout:
    """A session whose prompt is on the phone."""
    return Checkout(ledger).prompt()


def decided_paid(checkout: Checkout, evidence: Evidence = Evidence.QUERY) -> PaymentSession:
    """Return the session with a Paid that is not appended yet, as an attacker would write it."""
    session = checkout.ledger.session(checkout.session_id)
    receipt = None if evidence == Evidence.QUERY else "UKG7F0RGED"
    session.record_payment(
        Payment(1, receipt, session.totals.total_cents, evidence, HALF_PAST_TEN), at=HALF_PAST_TEN
    )
    return session


def forge(attacker: Connection[Any], checkout: Checkout, evidence: Evidence = Evidence.QUERY) -> None:
    """Append a Paid that is right in all but its MAC."""
    append(attacker, checkout.ledger, decided_paid(checkout, evidence), macs=[bytes(range(32))])


def count_events(connection: Connection[Any]) -> int:
    row = connection.execute(COUNT).fetchone()
    assert row is not None
    return int(row["events"])


def rules_broken(database: Database) -> dict[str, list[UUID | None]]:
    found: dict[str, list[UUID | None]] = {}
    for violation in check(database, Vault(database, MASTER_KEY)):
        found.setdefault(violation.rule, []).append(violation.session_id)
    return found


def row_of(session: PaymentSession, **changed: Any) -> str:
    return msgspec.json.encode(status_row(session) | changed).decode()


def test_the_topics_that_can_be_appended_are_those_of_the_event_classes(database: Database) -> None:
    with database.connection() as connection:
        stored = {row["topic"] for row in connection.execute("SELECT topic FROM event_topics")}
    assert stored == {event_class.TOPIC for event_class in EVENT_CLASSES}


@pytest.mark.parametrize(
    "changed",
    [
        {"macs": [None]},
        {"macs": [b"short"]},
        {"key_id": None},
    ],
)
def test_an_event_without_a_mac_is_refused(
    attacker: Connection[Any], checkout: Checkout, changed: dict[str, Any]
) -> None:
    before = count_events(attacker)
    with pytest.raises(psycopg.Error) as refusal:
        append(attacker, checkout.ledger, decided_paid(checkout), **changed)
    assert refusal.value.sqlstate == RESTART
    assert count_events(attacker) == before


@pytest.mark.parametrize(
    "changed",
    [
        {"topics": ["payment_session.invented.v1"]},
        {"topics": [None]},
        {"hashes": [bytes(32)]},
        {"metadata": "[]"},
        {"metadata": '{"cause":"' + "x" * 2_000 + '"}'},
        {"metadata": None},
        {"first_version": 0},
        {"first_version": -3},
    ],
)
def test_what_is_no_append_of_this_session_is_refused(
    attacker: Connection[Any], checkout: Checkout, changed: dict[str, Any]
) -> None:
    before = count_events(attacker)
    with pytest.raises(psycopg.Error) as refusal:
        append(attacker, checkout.ledger, decided_paid(checkout), **changed)
    assert refusal.value.sqlstate == REFUSED
    assert count_events(attacker) == before


def test_a_status_row_of_another_session_or_version_is_refused(
    attacker: Connection[Any], checkout: Checkout, ledger: Ledger
) -> None:
    other = Checkout(ledger)
    for changed in ({"session_id": str(other.session_id)}, {"version": 3}, {"version": None}):
        session = decided_paid(checkout)
        with pytest.raises(psycopg.Error) as refusal:
            append(attacker, ledger, session, row=row_of(session, **changed))
        assert refusal.value.sqlstate == REFUSED
    assert ledger.session(other.session_id).version == 1


def test_the_call_of_the_release_before_is_told_to_restart_and_its_callers_to_try_again(
    attacker: Connection[Any], checkout: Checkout
) -> None:
    values = (checkout.session_id, 4, Paid.TOPIC, "{}", bytes(32), "{}")
    with pytest.raises(psycopg.OperationalError, match="restart this process") as refusal:
        attacker.execute(OLD_CALL, values)
    assert refusal.value.sqlstate == RESTART


@pytest.mark.parametrize("evidence", [Evidence.QUERY, Evidence.CALLBACK])
def test_a_forged_payment_makes_no_order_and_is_a_case_at_once(
    attacker: Connection[Any], checkout: Checkout, database: Database, evidence: Evidence
) -> None:
    vault = Vault(database, MASTER_KEY)
    session_id = uuid4()
    delivery = vault.encrypt(7, "{}", purpose=DELIVERY, row=session_id)
    honest = (
        Checkout(checkout.ledger, session_id=session_id, delivery_sealed=delivery).prompt().pay("UKG7Q2X9LM")
    )
    forge(attacker, checkout, evidence)
    shop = ShopThatCounts()
    until_readable(database)
    shops = Shops({BUILTIN_SHOP: shop})  # type: ignore[dict-item]
    EventProcessor(database, OrderMaker(checkout.ledger, vault, shops, OrderFailures(database))).run_once()
    assert shop.orders == [honest.session_id]
    [case] = list_dead_lettered(database)  # The other is tried again.
    assert (case.name, case.session_id, case.version) == ("orders", checkout.session_id, 4)
    assert case.error.startswith("EVENT_FORGED")
    assert rules_broken(database)["event macs"] == [checkout.session_id]


class ShopThatCounts:
    """A shop that takes no order, and remembers who asked."""

    def __init__(self) -> None:
        self.orders: list[UUID] = []

    def create_order(self, request: Any) -> Any:
        self.orders.append(request.session_id)
        raise ConnectionError


def test_a_mac_of_another_session_or_version_is_none_here(
    attacker: Connection[Any], checkout: Checkout, ledger: Ledger
) -> None:
    paid = Checkout(ledger).prompt().pay(None)
    for session_id, version in ((paid.session_id, 4), (checkout.session_id, 3)):
        stolen = attacker.execute(
            "SELECT key_id, mac FROM payment_events WHERE session_id = %s AND version = %s",
            (session_id, version),
        ).fetchone()
        assert stolen is not None
        victim = Checkout(ledger).prompt()
        append(attacker, ledger, decided_paid(victim), key_id=stolen["key_id"], macs=[bytes(stolen["mac"])])
        with pytest.raises(EventForged):
            ledger.session(victim.session_id)


def test_a_mac_under_the_number_of_another_key_or_of_none_is_none(
    attacker: Connection[Any], checkout: Checkout, ledger: Ledger
) -> None:
    for key_id in (1, 2**31 - 1):
        victim = Checkout(ledger).prompt()
        append(attacker, ledger, decided_paid(victim), key_id=key_id)
        with pytest.raises(EventForged):
            ledger.session(victim.session_id)
    assert ledger.session(checkout.session_id).version == 3


def test_nothing_is_decided_about_a_session_with_a_forged_event(
    attacker: Connection[Any], checkout: Checkout, ledger: Ledger
) -> None:
    forge(attacker, checkout)
    before = count_events(attacker)
    with pytest.raises(EventForged):
        ledger.decide(checkout.session_id, lambda session: session.expire(at=HALF_PAST_TEN))
    assert count_events(attacker) == before


def test_a_forged_first_event_takes_an_id_and_is_not_believed(
    attacker: Connection[Any], ledger: Ledger
) -> None:
    session_id = uuid4()
    append(attacker, ledger, new_session(session_id=session_id), macs=[bytes(32)])
    assert not ledger.add(new_session(session_id=session_id))
    with pytest.raises(EventForged):
        ledger.session(session_id)


@pytest.mark.parametrize("state", ["{}", "[]", '"paid"', "null", '{"timestamp": "never", "attempt": 9}'])
@pytest.mark.parametrize("projection", ["metrics", "refunds", "cases", "journal"])
def test_a_forged_event_of_any_form_stops_no_view(
    attacker: Connection[Any],
    ledger: Ledger,
    database: Database,
    state: str,
    projection: str,
) -> None:
    Checkout(ledger).prompt().pay("UKG7Q2X9LM")
    for event_class in (events.Created, Paid, events.RefundApproved, events.Refunded):
        append_invented(attacker, ledger, event_class, state)
    Checkout(ledger).prompt().pay("UKG7Q2X9LN").refuse_order()
    until_readable(database)
    views: dict[str, Projection] = {
        "metrics": PaymentMetrics(),
        "refunds": PaymentRefunds(),
        "cases": PaymentCases(),
        "journal": Journal(event_macs(database).keys),
    }
    Follower(database, event_macs(database), views[projection]).catch_up()
    broken = rules_broken(database)
    assert len(broken.pop("event macs")) == 4
    assert not {"refunds", "cases", "books"} & broken.keys()


def append_invented(attacker: Connection[Any], ledger: Ledger, kind: type[Event], state: str) -> None:
    """Append an event of any state to a session of its own, right in all but its MAC."""
    session = new_session()
    [created] = [ledger.mapper.to_stored_event(event) for event in session.pending_events]
    invented = type(created)(session.id, 1, kind.TOPIC, state.encode())
    append(
        attacker,
        ledger,
        session,
        topics=[kind.TOPIC],
        states=[state],
        hashes=chained_hashes([invented], b"{}", bytes(32)),
        macs=[bytes(32)],
    )


@pytest.mark.parametrize("state", ["{}", "[]", '{"timestamp": "never", "attempt": 9}'])
def test_auditors_see_a_forged_event_as_such_and_owners_none(
    attacker: Connection[Any], checkout: Checkout, ledger: Ledger, database: Database, state: str
) -> None:
    session = decided_paid(checkout)
    invented = StoredEvent(session.id, 4, Paid.TOPIC, state.encode())
    hashes = chained_hashes([invented], b"{}", session.last_hash)
    append(attacker, ledger, session, states=[state], hashes=hashes, macs=[bytes(32)])
    entries = history(database, ledger.macs, session.id)
    assert [view["version"] for view in for_owner(entries)] == [1, 2, 3]
    shown = for_auditor(entries[-1])
    assert (shown["event"], shown["topic"], shown["is_genuine"]) == ("Forged", Paid.TOPIC, False)
    assert "somebody else wrote it" in timeline(entries)[-1]


def test_a_forged_payment_does_not_change_the_figures(
    attacker: Connection[Any], checkout: Checkout, database: Database
) -> None:
    forge(attacker, checkout)
    until_readable(database)
    Follower(database, event_macs(database), PaymentMetrics()).catch_up()
    report = metrics.rates(
        database, HALF_PAST_TEN.replace(minute=0), HALF_PAST_TEN.replace(hour=11, minute=0)
    )
    assert report.paid_cents == 0


def insert_as_owner(superuser: Connection[Any], checkout: Checkout, *, position: int) -> None:
    """Insert a Paid without a MAC behind the back of `append_events`, as only the owner of the table can."""
    superuser.execute("ALTER TABLE payment_events DISABLE TRIGGER payment_events_have_macs")
    superuser.execute(
        """
        INSERT INTO payment_events
            (session_id, version, topic, state, previous_hash, hash, origin, position, recorded_at)
        SELECT session_id, version + 1, %s, %s, hash, sha256(hash), origin, %s, recorded_at
        FROM payment_events WHERE session_id = %s ORDER BY version DESC LIMIT 1
        """,
        (Paid.TOPIC, "{}", position, checkout.session_id),
    )


def test_an_event_without_a_mac_after_the_last_that_may_lack_it_is_not_believed(
    superuser: Connection[Any], checkout: Checkout, ledger: Ledger, database: Database
) -> None:
    insert_as_owner(superuser, checkout, position=2**60)
    with pytest.raises(EventForged):
        ledger.session(checkout.session_id)
    assert rules_broken(database)["event macs"] == [checkout.session_id]


def test_the_last_position_without_a_mac_cannot_be_moved_once_it_is_signed(
    superuser: Connection[Any], attacker: Connection[Any], database: Database
) -> None:
    assert event_macs(database).last_without_mac() == {1: 0}
    attacker.execute("SELECT sign_event_mac_start(1::smallint, 0, 0, %b)", (bytes(32),))
    assert event_macs(database).last_without_mac() == {1: 0}
    superuser.execute("UPDATE event_mac_starts SET last_position = 2 ^ 60")
    with pytest.raises(EventForged):
        event_macs(database).last_without_mac()


def test_an_event_that_its_owner_altered_is_not_believed_whatever_its_hash(
    superuser: Connection[Any], checkout: Checkout, ledger: Ledger
) -> None:
    superuser.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
    superuser.execute(
        ALTER.format("state = jsonb_set(state, '{amount_cents}', '1')").encode(), (checkout.session_id,)
    )
    with pytest.raises(EventForged):
        ledger.session(checkout.session_id)


def test_auditors_see_an_altered_event_as_such(
    superuser: Connection[Any], checkout: Checkout, ledger: Ledger, database: Database
) -> None:
    superuser.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
    superuser.execute(
        ALTER.format("state = jsonb_set(state, '{amount_cents}', '1')").encode(), (checkout.session_id,)
    )
    entries = history(database, ledger.macs, checkout.session_id)
    assert [for_auditor(entry)["is_genuine"] for entry in entries] == [True, False, True]
    assert [view["version"] for view in for_owner(entries)] == [1, 3]


def test_the_cause_of_an_event_is_under_its_mac(
    superuser: Connection[Any], checkout: Checkout, ledger: Ledger
) -> None:
    superuser.execute("ALTER TABLE payment_events DISABLE TRIGGER USER")
    superuser.execute(
        ALTER.format("metadata = jsonb_build_object('actor', 'user:9')").encode(), (checkout.session_id,)
    )
    with pytest.raises(EventForged):
        ledger.session(checkout.session_id)


def test_macs_of_one_database_are_none_in_another(ledger: Ledger, database: Database) -> None:
    session_id = Checkout(ledger).session_id
    [row] = ledger.recorder.history(session_id)
    other = Vault(database, MASTER_KEY).keys
    assert EventMacs(database, other).is_genuine(row)
    assert not EventMacs(database, other).is_genuine(row | {"key_id": 5})
    assert not EventMacs(database, other).is_genuine(row | {"hash": bytes(32)})
