"""The rows of a sample session in every table that a real one leaves rows in, ready to be copied."""

import hashlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from eventsourcing.persistence import JSONTranscoder, StoredEvent

from ledger.application import RECEIPT
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.session.values import Payment
from ledger.store.canonical import GENESIS, canonical_json, chained_hashes
from ledger.store.mapper import SessionMapper
from ledger.store.message_bodies import BOUND, INBOX_BODY, row_of
from ledger.store.movement_macs import movement_mac
from ledger.store.vault import Vault
from payments.inbox.inbox import Channel
from payments.reconciliation.movements import MatchVerdict, Movement, MovementKind
from shop.builtin.ordering import ORDER_DELIVERY

_MAPPER = SessionMapper(JSONTranscoder())

EVENTS, SESSIONS, REFERENCES, MESSAGES, MOVEMENTS, ORDERS, ITEMS = (
    "payment_events",
    "payment_sessions",
    "payment_refs",
    "daraja_inbox",
    "mpesa_movements",
    "shop_orders",
    "shop_order_items",
)
_OF_LINE = (
    "listing_id",
    "product_name",
    "farm_name",
    "quantity_thousandths",
    "price_cents",
    "subtotal_cents",
    "unit_of_measure",
)

Row = dict[str, Any]


class Records:
    """What one session leaves: its events with hashes, and rows by the name of their table."""

    def __init__(self, vault: Vault, session: PaymentSession) -> None:
        self.events: list[tuple[datetime, Row]] = []
        """Each with its moment, without position, MAC, and the time it is recorded."""
        self.rows: dict[str, list[Row]] = {}
        self._vault, self._session = vault, session
        self._last_hash = GENESIS

    @property
    def session_id(self) -> UUID:
        """The session."""
        return self._session.id

    def collect(self, caused_by: Mapping[str, str]) -> None:
        """Take the events that were decided since the last call."""
        decided = self._session.collect_events()
        stored = [_MAPPER.to_stored_event(event) for event in decided]
        metadata = canonical_json(dict(caused_by))
        hashes = chained_hashes(stored, metadata, self._last_hash)
        for event, kept, event_hash in zip(decided, stored, hashes, strict=True):
            self.events.append((event.timestamp, _row_of(kept, metadata, self._last_hash, event_hash)))
            self._last_hash = event_hash

    def finish(self) -> None:
        """Add the status row: nothing happens to the session any more."""
        self._add(SESSIONS, status_row(self._session))

    def credit(self, receipt: str, at: datetime) -> None:
        """Reserve a receipt for the session."""
        row = {"value": receipt, "kind": RECEIPT, "session_id": self._session.id, "reserved_at": at}
        self._add(REFERENCES, row)

    def message(self, message_id: UUID, attempt: int, body: str, at: datetime) -> dict[str, str]:
        """Add a callback that was acted on; return what the events that it caused say of it."""
        facts = (message_id, str(Channel.STK), True, self._session.id, attempt, None, None)
        named = dict(zip(BOUND, facts, strict=True))
        user, raw = self._session.user_id, body.encode()
        place = row_of(named | {"is_from_before": False})
        encrypted = self._vault.encrypt(user, body, purpose=INBOX_BODY, row=place)
        row = {
            **named,
            "received_at": at,
            "key_owner": user,
            "sealed_body": encrypted,
            "body_bytes": len(raw),
            "body_sha256": hashlib.sha256(raw).hexdigest(),
            "state": "acted_on",
            "tries": 0,
            "settled_at": at,
        }
        self._add(MESSAGES, row)
        commitment = self._vault.commitment(user, encrypted, raw)
        return {"source": str(message_id)} | ({"source_commitment": commitment} if commitment else {})

    def move(self, payment: Payment, transaction_id: int, verdict: MatchVerdict, at: datetime) -> None:
        """Add the movement by which M-Pesa's C2B notice told of a payment."""
        assert payment.receipt is not None
        assert payment.amount_cents is not None
        movement = Movement(
            MovementKind.PAYMENT,
            payment.receipt,
            payment.amount_cents,
            payment.paid_at,
            payment.evidence,
            transaction_id=transaction_id,
        )
        told = {
            "movement_key": movement.key,
            "kind": str(movement.kind),
            "receipt": movement.receipt,
            "money_in": movement.money_in,
            "amount_cents": movement.amount_cents,
            "happened_at": movement.happened_at,
            "evidence": str(movement.evidence),
            "transaction_id": transaction_id,
            "linked_receipt": None,
            "category": None,
        }
        mac = movement_mac(self._vault.keys, told)
        outcome = {
            "verdict": str(verdict),
            "session_id": self._session.id,
            "first_seen_at": at,
            "settled_at": at,
        }
        self._add(MOVEMENTS, told | outcome | {"mac": mac})

    def order(self, delivery: str, at: datetime) -> None:
        """Add the order that the built-in shop made of the session."""
        session = self._session
        assert session.order is not None
        order_id, order_number = session.order
        totals = session.totals
        encrypted = self._vault.encrypt(session.user_id, delivery, purpose=ORDER_DELIVERY, row=session.id)
        row = {
            "order_id": order_id,
            "order_number": order_number,
            "session_id": session.id,
            "user_id": session.user_id,
            "items_cents": totals.goods_cents,
            "delivery_fee_cents": totals.delivery_fee_cents,
            "rounding_cents": totals.rounding_cents,
            "total_cents": totals.total_cents,
            "sealed_delivery_details": encrypted,
            "placed_at": at,
        }
        self._add(ORDERS, row)
        for line in session.lines:
            of_line = {name: getattr(line, name) for name in _OF_LINE}
            self._add(ITEMS, {"cart_item_id": line.cart_item_id, "order_id": order_id, **of_line})

    def _add(self, table: str, row: Row) -> None:
        self.rows.setdefault(table, []).append(row)


def sold(rows: Sequence[Row]) -> dict[int, int]:
    """Return how many thousandths of each listing were sold by the lines of orders."""
    total: dict[int, int] = {}
    for row in rows:
        listing = row["listing_id"]
        total[listing] = total.get(listing, 0) + row["quantity_thousandths"]
    return total


def _row_of(stored: StoredEvent, metadata: bytes, previous: bytes, event_hash: bytes) -> Row:
    return {
        "session_id": stored.originator_id,
        "version": stored.originator_version,
        "topic": stored.topic,
        "state": stored.state.decode(),
        "metadata": metadata.decode(),
        "previous_hash": previous,
        "hash": event_hash,
    }
