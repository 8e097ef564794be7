"""Every fact that can be written about a payment session.

Each class has a versioned TOPIC, because a stored name must survive a move of the file.
"""

from eventsourcing.utils import register_topic

from ledger.session.event import Event
from ledger.session.payment_events import (
    AttemptFailed,
    ContradictionClosed,
    ContradictionFound,
    Created,
    EvidenceUpgraded,
    Expired,
    Extended,
    Failed,
    OrderCreated,
    Paid,
    PaymentInitiated,
    PaymentRefused,
    PaymentRequested,
    PaymentUncertain,
    ReceiptRecorded,
    SurplusReceived,
)
from ledger.session.refund_events import (
    RefundAccepted,
    RefundApproved,
    RefundDue,
    Refunded,
    RefundFailed,
    RefundRefused,
    RefundRequested,
    RefundUncertain,
)

FACTS: tuple[type[Event], ...] = (
    Created,
    Extended,
    PaymentRequested,
    PaymentInitiated,
    PaymentRefused,
    PaymentUncertain,
    AttemptFailed,
    Paid,
    ReceiptRecorded,
    EvidenceUpgraded,
    ContradictionFound,
    ContradictionClosed,
    OrderCreated,
    Failed,
    Expired,
    SurplusReceived,
    RefundDue,
    RefundApproved,
    RefundRefused,
    RefundRequested,
    RefundAccepted,
    RefundUncertain,
    Refunded,
    RefundFailed,
)
"""Every event class there is: what the store can write and read."""

for _fact in FACTS:
    register_topic(_fact.TOPIC, _fact)

__all__ = [
    "FACTS",
    "AttemptFailed",
    "ContradictionClosed",
    "ContradictionFound",
    "Created",
    "Event",
    "EvidenceUpgraded",
    "Expired",
    "Extended",
    "Failed",
    "OrderCreated",
    "Paid",
    "PaymentInitiated",
    "PaymentRefused",
    "PaymentRequested",
    "PaymentUncertain",
    "ReceiptRecorded",
    "RefundAccepted",
    "RefundApproved",
    "RefundDue",
    "RefundFailed",
    "RefundRefused",
    "RefundRequested",
    "RefundUncertain",
    "Refunded",
    "SurplusReceived",
]
