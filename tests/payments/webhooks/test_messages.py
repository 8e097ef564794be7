"""The messages that servers get: one for each event that they are told of, always the same, and nothing personal."""

from functools import partial
from typing import Any
from uuid import UUID, uuid4

import msgspec
import pytest

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.store.caller_texts import encrypt_metadata
from ledger.store.database import Database
from ledger.store.vault import DELIVERY, PHONE, REFERENCE, Vault
from payments.webhooks.messages import (
    MESSAGE_TOPICS,
    MESSAGE_TYPES,
    body_of,
    hears,
    maker_of,
    message_id,
    message_of,
    topics_of,
    type_of,
)
from projections.history import history
from projections.history_steps import entries_until, folded
from tests.support.checkouts import Checkout, one_of_every_kind
from tests.support.keys import event_macs

USER = 7
PHONE_CANARY, NAME_CANARY = "0712345678", "Wanjiru Canary"


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, bytes(range(32)))


def checkout(ledger: Ledger, vault: Vault) -> Checkout:
    session_id = uuid4()
    encrypt = partial(vault.encrypt, USER, row=session_id)
    return Checkout(
        ledger,
        user_id=USER,
        session_id=session_id,
        phone_sealed=encrypt(PHONE_CANARY, purpose=PHONE),
        delivery_sealed=encrypt(f'{{"full_name": "{NAME_CANARY}"}}', purpose=DELIVERY),
        reference_sealed=encrypt("ADM-2041", purpose=REFERENCE),
        metadata_sealed=encrypt_metadata(encrypt, {"term": "1", "class": "4"}),
    )


def messages(ledger: Ledger, vault: Vault, session_id: UUID) -> list[dict[str, Any]]:
    """Return what is told of a session, each message made of the events up to its own."""
    entries = history(ledger.database, event_macs(ledger.database), session_id)
    told = []
    for entry in entries:
        session = folded(entries_until(entries, at_version=entry.version))
        assert isinstance(session, PaymentSession)
        told.append(message_of(entry.recorded, session, vault))
    return [message for message in told if message is not None]


def test_a_paid_session_is_told_with_all_that_its_shop_needs(ledger: Ledger, vault: Vault) -> None:
    paid = checkout(ledger, vault).prompt().pay("NLJ7RT61SV").order(789)
    assert messages(ledger, vault, paid.session_id) == [
        {
            "type": "payment.paid",
            "timestamp": "2024-01-15T10:30:15Z",
            "data": {
                "session_id": str(paid.session_id),
                "version": 4,
                "session_status": "paid",
                "amount": "350.00",
                "currency": "KES",
                "receipt": "NLJ7RT61SV",
                "order_number": None,
                "failure_code": None,
                "refund": None,
                "reference": "ADM-2041",
                "metadata": {"term": "1", "class": "4"},
            },
        },
        {
            "type": "order.created",
            "timestamp": "2024-01-15T10:30:20Z",
            "data": {
                "session_id": str(paid.session_id),
                "version": 5,
                "session_status": "order_created",
                "amount": "350.00",
                "currency": "KES",
                "receipt": "NLJ7RT61SV",
                "order_number": "ORD-20240115-789",
                "failure_code": None,
                "refund": None,
                "reference": "ADM-2041",
                "metadata": {"term": "1", "class": "4"},
            },
        },
    ]


def test_each_end_has_its_type(ledger: Ledger, vault: Vault) -> None:
    def types(done: Checkout) -> list[str]:
        return [message["type"] for message in messages(ledger, vault, done.session_id)]

    assert types(Checkout(ledger).prompt().cancel()) == ["payment.failed"]
    assert types(Checkout(ledger).expire()) == ["payment.expired"]
    assert types(Checkout(ledger).request().lose_push_answer()) == ["payment.in_doubt"]
    # Without any attempt that is told, nothing is.
    assert types(Checkout(ledger).extend().prompt()) == []
    taken_back = Checkout(ledger).prompt().pay("RCPTBACK01").order().take_back("RCPTBACK01")
    assert types(taken_back) == ["payment.paid", "order.created", "refund.done"]


def test_a_refund_is_told_when_it_is_due_and_when_it_is_done(ledger: Ledger, vault: Vault) -> None:
    held = checkout(ledger, vault).prompt().pay("RCPTHELD01").refuse_order().request_refund().refund()
    _, failed, due, done = messages(ledger, vault, held.session_id)
    assert failed["data"]["failure_code"] == due["data"]["failure_code"] == "OUT_OF_STOCK"
    assert failed["data"]["session_status"] == done["data"]["session_status"] == "failed"
    of_refund = {"number": 1, "amount": "350.00", "of_order": False}
    assert due["type"] == "refund.due"
    assert due["data"]["refund"] == of_refund | {
        "why": "OUT_OF_STOCK",
        "means": None,
        "reversal_receipt": None,
    }
    assert done["type"] == "refund.done"
    assert done["data"]["refund"] == of_refund | {
        "why": None,
        "means": "reversal",
        "reversal_receipt": "NLJ0REVERSE",
    }


def test_a_payment_taken_back_is_a_refund_by_no_means_of_ours(ledger: Ledger, vault: Vault) -> None:
    taken = Checkout(ledger).prompt().pay("RCPTBACK01").order().take_back("RCPTBACK01")
    assert messages(ledger, vault, taken.session_id)[-1]["data"]["refund"] == {
        "number": 1,
        "amount": "350.00",
        "of_order": True,
        "why": None,
        "means": "outside",
        "reversal_receipt": "NLJ0TAKENB",
    }


def test_a_message_is_the_same_bytes_whatever_happened_later(ledger: Ledger, vault: Vault) -> None:
    paid = checkout(ledger, vault).prompt().pay("NLJ7RT61SV")
    [before] = map(body_of, messages(ledger, vault, paid.session_id))
    paid.order()
    after, _ = map(body_of, messages(ledger, vault, paid.session_id))
    assert after == before
    assert msgspec.json.decode(after)["data"]["order_number"] is None


def test_no_message_holds_a_phone_a_name_or_an_encrypted_text(ledger: Ledger, vault: Vault) -> None:
    told = checkout(ledger, vault).prompt().pay("RCPTHELD01").refuse_order().request_refund().refund()
    bodies = b"".join(map(body_of, messages(ledger, vault, told.session_id)))
    assert bodies.count(b"ADM-2041") == 4
    for canary in (PHONE_CANARY, PHONE_CANARY[1:], NAME_CANARY, "v2.", "key:", "user"):
        assert canary.encode() not in bodies


def test_after_an_erasure_the_callers_texts_are_gone_and_the_money_is_told(
    ledger: Ledger, vault: Vault
) -> None:
    paid = checkout(ledger, vault).prompt().pay("NLJ7RT61SV")
    [before] = messages(ledger, vault, paid.session_id)
    vault.erase(USER)
    [after] = messages(ledger, vault, paid.session_id)
    gone = {"reference": None, "metadata": None}
    assert after == before | {"data": before["data"] | gone}


def test_a_session_of_a_cart_has_no_reference(ledger: Ledger, vault: Vault) -> None:
    [message] = messages(ledger, vault, Checkout(ledger).prompt().cancel().session_id)
    assert message["data"]["reference"] is None
    assert message["data"]["metadata"] == {}


def test_every_type_is_told_of_some_event_and_found_by_its_topics(ledger: Ledger) -> None:
    seen = {}
    for each in one_of_every_kind(ledger):
        for entry in history(ledger.database, event_macs(ledger.database), each.session_id):
            kind = type_of(entry.recorded)
            assert (kind is not None) == (entry.topic in MESSAGE_TOPICS)
            seen[entry.topic] = kind
    told = {topic: kind for topic, kind in seen.items() if kind}
    assert set(told.values()) == set(MESSAGE_TYPES)
    assert set(topics_of(("refund.done",))) == {
        topic for topic, kind in told.items() if kind == "refund.done"
    }


def test_ids_are_of_the_session_and_the_version() -> None:
    session_id = UUID("0193c7a0-0000-7000-8000-000000000001")
    assert message_id(session_id, 4) == "msg_0193c7a0000070008000000000000001_4"


def test_a_key_hears_of_its_own_sessions_and_of_carts() -> None:
    assert maker_of({"actor": "key:shop"}) == "shop"
    assert maker_of({"actor": "user:7"}) is maker_of({}) is None
    assert hears("shop", "shop")
    assert hears("shop", None)
    assert not hears("shop", "another")
    assert hears(None, "another")
