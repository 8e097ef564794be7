import json
from uuid import uuid4

import pytest

from ledger.application import Ledger
from ledger.session.events import EVENT_CLASSES, PUBLIC_NAMES, Event
from ledger.store.database import Database
from projections.event_descriptions import describe
from projections.history import OWNERS_FIELDS, for_auditor, for_owner, history, timeline
from tests.support.checkouts import Checkout, one_of_every_kind
from tests.support.keys import event_macs


def test_a_history_holds_every_event_in_order(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay().order()
    entries = history(database, event_macs(database), checkout.session_id)
    assert [entry.name for entry in entries] == [
        "Created",
        "PaymentRequested",
        "PaymentInitiated",
        "Paid",
        "OrderCreated",
    ]
    assert [entry.version for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.previous_hash for entry in entries[1:]] == [entry.hash for entry in entries[:-1]]
    assert all(entry.position.isdecimal() for entry in entries)


def test_an_unknown_session_has_no_history(database: Database) -> None:
    assert history(database, event_macs(database), uuid4()) == []


def test_the_owner_sees_what_concerns_them(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay("NLJ7RT61SV").order(789)
    views = for_owner(history(database, event_macs(database), checkout.session_id))
    assert views[0]["details"] == {"expires_at": "2024-01-15T10:45:00Z", "total": "350.00"}
    assert views[3] == {
        "version": 4,
        "event": "Paid",
        "happened_at": "2024-01-15T10:30:15Z",
        "details": {
            "attempt": 1,
            "receipt": "NLJ7RT61SV",
            "amount": "350.00",
            "paid_at": "2024-01-15T10:30:15Z",
        },
    }


def test_the_owner_sees_no_internals_of_any_kind_of_event(ledger: Ledger, database: Database) -> None:
    views = [
        view
        for checkout in one_of_every_kind(ledger)
        for view in for_owner(history(database, event_macs(database), checkout.session_id))
    ]
    assert {view["event"] for view in views} == set(PUBLIC_NAMES.values())
    text = json.dumps(views)
    for internal in ("sealed", "v1.", "digest", "hash", "29115", "position", "operator"):
        assert internal not in text


def test_the_auditor_sees_everything_but_encrypted_fields(ledger: Ledger, database: Database) -> None:
    views = [
        for_auditor(entry)
        for checkout in one_of_every_kind(ledger)
        for entry in history(database, event_macs(database), checkout.session_id)
    ]
    text = json.dumps(views)
    assert "sealed" not in text
    assert "v1.phone" not in text
    for internal in ("checkout_digest", "merchant_request_id", "previous_hash", "operator 99"):
        assert internal in text


def test_a_timeline_has_a_line_for_each_event(ledger: Ledger, database: Database) -> None:
    checkout = Checkout(ledger).prompt().pay("NLJ7RT61SV").wait(days=1).order(789)
    story = timeline(history(database, event_macs(database), checkout.session_id))
    transaction_id = checkout.session.attempts[1].transaction_id
    assert story == [
        "Monday 15 January 2024 (Nairobi)",
        "13:30:00  Created           350.00 by user 7: 1 line of goods at 300.00, delivery 50.00, rounding 0.00;"
        " open until 13:45:00  → pending",
        f"13:30:05  PaymentRequested  attempt 1, 350.00, transaction {transaction_id}",
        "13:30:10  PaymentInitiated  attempt 1 accepted by M-Pesa as 29115-1  → payment_initiated",
        "13:30:15  Paid              350.00 for attempt 1 at 13:30:15, receipt NLJ7RT61SV, known by callback  → paid",
        "Tuesday 16 January 2024 (Nairobi)",
        "13:30:20  OrderCreated      order ORD-20240115-789 (id 789)  → order_created",
    ]


def test_every_event_class_has_a_description_of_its_own(ledger: Ledger, database: Database) -> None:
    described = {
        entry.name: describe(entry.event)
        for checkout in one_of_every_kind(ledger)
        for entry in history(database, event_macs(database), checkout.session_id)
        if entry.event
    }
    assert set(described) == set(PUBLIC_NAMES.values())
    assert described["RefundFailed"] == "refund 1 failed, R1: No funds.; it is still due"
    assert described["Expired"] == "the time ran out while the session was pending"
    assert all("sealed" not in words and "v1." not in words for words in described.values())


def test_the_owners_fields_are_decided_for_every_event_class() -> None:
    assert set(OWNERS_FIELDS) == set(EVENT_CLASSES)


def test_an_event_class_without_a_description_is_refused() -> None:
    with pytest.raises(TypeError, match="No description of Event"):
        describe(object.__new__(Event))
