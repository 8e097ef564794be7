"""The messages that servers of shops get, by webhook, in the feed and by `daftari listen` alike.

A message has the form of Standard Webhooks (https://www.standardwebhooks.com): `type`, `timestamp` and `data`. It is
made of one event and of its session as that event left it, so it is the same whenever it is made; only an erasure
takes the caller's own texts away. It holds neither a phone nor a name, nor the name of a key.
"""

from collections.abc import Collection, Mapping
from datetime import UTC
from typing import Any
from uuid import UUID

from ledger.money import Money
from ledger.session.event import Event
from ledger.session.events import (
    Expired,
    Failed,
    OrderCreated,
    Paid,
    PaymentReversed,
    PaymentUncertain,
    RefundDue,
    Refunded,
)
from ledger.session.session import PaymentSession
from ledger.store.caller_texts import metadata_of, reference_of
from ledger.store.canonical import canonical_json
from ledger.store.customer_keys import Erased
from ledger.store.vault import Vault
from projections.follower import Recorded
from projections.refunds import OUTSIDE

_TYPES: Mapping[type[Event], str] = {
    Paid: "payment.paid",
    Failed: "payment.failed",
    Expired: "payment.expired",
    PaymentUncertain: "payment.in_doubt",
    OrderCreated: "order.created",
    RefundDue: "refund.due",
    Refunded: "refund.done",
    PaymentReversed: "refund.done",
}
MESSAGE_TYPES = tuple(dict.fromkeys(_TYPES.values()))
"""The seven types, in the order in which a payment meets them."""
_TYPE_OF_TOPIC = {event.TOPIC: kind for event, kind in _TYPES.items()}
MESSAGE_TOPICS = tuple(_TYPE_OF_TOPIC)
"""The topics of the events that a message is made of."""

_KEY_ACTOR = "key:"
"""What the actor of an event begins with that a key caused, in its metadata."""


def type_of(recorded: Recorded) -> str | None:
    """Return the type of the message that an event is told by, None if it is not told."""
    return _TYPE_OF_TOPIC.get(recorded.topic)


def topics_of(types: Collection[str]) -> list[str]:
    """Return the topics of the events that messages of these types are made of."""
    return [topic for topic, kind in _TYPE_OF_TOPIC.items() if kind in types]


def message_id(session_id: UUID, version: int) -> str:
    """Return the id of the message of an event: the same at each delivery and in the feed."""
    return f"msg_{session_id.hex}_{version}"


def message_of(recorded: Recorded, session: PaymentSession, vault: Vault) -> dict[str, Any] | None:
    """Return the message of an event as plain JSON, None if it is not told.

    `session` is folded up to this event and no further, of events that all carry our MAC. Reference and metadata are
    null once the buyer was erased. Raises WrongKey.
    """
    kind = type_of(recorded)
    if kind is None:
        return None
    assert session.version == recorded.version
    event = recorded.event
    return {
        "type": kind,
        "timestamp": event.timestamp.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "data": {
            "session_id": str(session.id),
            "version": session.version,
            "session_status": str(session.status),
            "amount": str(Money(session.totals.total_cents)),
            "currency": "KES",
            "receipt": session.paid and session.paid.receipt,
            "order_number": session.order and session.order[1],
            "failure_code": session.failure and session.failure[0],
            "refund": _refund(event, session),
            **_callers_texts(vault, session),
        },
    }


def body_of(message: Mapping[str, Any]) -> bytes:
    """Return the bytes of a message: its canonical JSON, the same for the same event."""
    return canonical_json(message)


def maker_of(metadata: Mapping[str, Any]) -> str | None:
    """Return the name of the key that made a session, by the metadata of its first event; None if it was no key."""
    actor = str(metadata.get("actor", ""))
    return actor.removeprefix(_KEY_ACTOR) if actor.startswith(_KEY_ACTOR) else None


def hears(key_name: str | None, maker: str | None) -> bool:
    """Say whether who belongs to a key hears of a session of `maker`: its own, and carts', which no key made.

    Who belongs to no key hears of all sessions.
    """
    return key_name is None or maker in (None, key_name)


def _refund(event: Event, session: PaymentSession) -> dict[str, Any] | None:
    """Return the refund that an event is about."""
    if not isinstance(event, RefundDue | Refunded | PaymentReversed):
        return None
    refund = session.refunds[event.refund]
    means = event.means if isinstance(event, Refunded) else OUTSIDE if refund.unasked else None
    return {
        "number": refund.number,
        "amount": str(Money(refund.amount_cents)),
        "of_order": refund.of_order,
        "why": event.why if isinstance(event, RefundDue) else None,
        "means": means,
        "reversal_receipt": refund.reversal_receipt,
    }


def _callers_texts(vault: Vault, session: PaymentSession) -> dict[str, Any]:
    try:
        return {"reference": reference_of(vault, session), "metadata": metadata_of(vault, session)}
    except Erased:
        return {"reference": None, "metadata": None}
