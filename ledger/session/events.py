"""Every event of a payment session, with its public name."""

from eventsourcing.utils import register_topic

from ledger.session.event import Event
from ledger.session.payment_events import (
    AttemptFailed,
    Created,
    DiscrepancyClosed,
    DiscrepancyFound,
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
    PaymentReversed,
    RefundAccepted,
    RefundApproved,
    RefundDue,
    Refunded,
    RefundFailed,
    RefundRefused,
    RefundRequested,
    RefundUncertain,
)

PUBLIC_NAMES: dict[type, str] = {
    Created: "Created",
    Extended: "Extended",
    PaymentRequested: "PaymentRequested",
    PaymentInitiated: "PaymentInitiated",
    PaymentRefused: "PaymentRefused",
    PaymentUncertain: "PaymentUncertain",
    AttemptFailed: "AttemptFailed",
    Paid: "Paid",
    ReceiptRecorded: "ReceiptRecorded",
    EvidenceUpgraded: "EvidenceUpgraded",
    DiscrepancyFound: "ContradictionFound",
    DiscrepancyClosed: "ContradictionClosed",
    OrderCreated: "OrderCreated",
    Failed: "Failed",
    Expired: "Expired",
    SurplusReceived: "SurplusReceived",
    RefundDue: "RefundDue",
    RefundApproved: "RefundApproved",
    RefundRefused: "RefundRefused",
    RefundRequested: "RefundRequested",
    RefundAccepted: "RefundAccepted",
    RefundUncertain: "RefundUncertain",
    Refunded: "Refunded",
    RefundFailed: "RefundFailed",
    PaymentReversed: "PaymentReversed",
}
"""Every event class with its name in the history API. The names are public, so they outlive a renamed class."""

EVENT_CLASSES: tuple[type[Event], ...] = tuple(PUBLIC_NAMES)
"""What the store can write and read."""

for _event_class in EVENT_CLASSES:
    register_topic(_event_class.TOPIC, _event_class)
