"""The words of the console for cases: what each kind is called, what a button says, and what came of it."""

from payments.exceptions.closed_cases import REFUND
from payments.exceptions.next_steps import Kind
from payments.refunds.order_refunds import REFUND_ORDER

KIND_NAMES = {
    Kind.REFUND_DUE: "Refund due",
    Kind.REFUND_HELD: "Refund held",
    Kind.REFUND_IN_DOUBT: "Refund in doubt",
    Kind.REFUND_UNDER_WAY: "Refund overdue",
    Kind.CONTRADICTION: "Discrepancy",
    Kind.ATTEMPT_IN_DOUBT: "Payment in doubt",
    Kind.RECEIPT_MISSING: "Receipt missing",
    Kind.ORDER_MISSING: "Order missing",
    Kind.MONEY_UNKNOWN: "Unmatched payment",
    Kind.MONEY_CLAIMED_TWICE: "Payment claimed twice",
    Kind.MONEY_WENT_BACK: "Payment reversed",
    Kind.MESSAGE_DEAD_LETTERED: "Inbound message dead-lettered",
    Kind.EVENT_DEAD_LETTERED: "Event dead-lettered",
    Kind.PULL_GAP: "Pull gap",
    Kind.MPESA_SET_UP: "M-Pesa setup rejected",
    Kind.DECISION_PROPOSED: "Waits for a second person",
    Kind.SWITCHED_OFF: "Switched off",
    Kind.INITIATOR_PASSWORD: "Initiator's password runs out",
    Kind.CERTIFICATE: "Certificate runs out",
    Kind.PULL_BEHIND: "Pull is behind",
    Kind.WEBHOOK_DISABLED: "Webhook endpoint disabled",
    Kind.WEBHOOK_FAILED: "Webhook given up",
    Kind.HORIZON_HELD: "A transaction holds the log back",
    Kind.FOLLOWERS_BEHIND: "The log is not followed",
}
ACTION_NAMES = {
    "approve": "Approve refund",
    "refuse": "Hold",
    "returned": "Returned by other means",
    "not-sent": "Was not sent",
    "close": "Close",
    "retry": "Try again",
    "assign": "Allocate to this session",
    "refund": "Give up the order and refund",
    "withdraw": "Withdraw",
    "on": "Switch on again",
}
DONE = {
    "approve": "Approved: the worker requests the refund.",
    "refuse": "Held, with your reason.",
    "returned": "Recorded as returned.",
    "not-sent": "Recorded as not sent: it is due again.",
    "close": "Closed.",
    "retry": "It will be tried again.",
    "assign": "Payment allocated.",
    "refund": "The order is given up, and the money is due back.",
    "approve-proposal": "Approved and carried out.",
    "withdraw": "Withdrawn.",
    "on": "Switched on.",
    "off": "Switched off.",
    "refund-order": "The refund of the order is recorded.",
    "proposed": "Proposed: another operator has to approve it.",
}

DISCREPANCY_NAMES = {
    "outcome": "How the attempt ended",
    "amount": "The amount of the payment",
    "books": "A payment that a source does not have",
}
"""What two sources disagree about."""

DECIDED = {
    "approve": "Refund approved",
    "refuse": "Refund held",
    "returned": "Returned by other means",
    "not-sent": "Was not sent",
    "close": "Closed",
    "retry": "Tried again",
    "assign": "Allocated",
    "money_back": "Order given up",
    "refund_order": "Order refunded",
}
"""What an entry of the audit log says was decided, by the action."""

DECISIONS = {
    "decision_proposed": "proposed, waits for a second person",
    "decision_withdrawn": "withdrawn",
    "decision_approved": "as the second person",
}
"""What an entry of a kind says more."""

DECIDED_KINDS = {
    REFUND: "Refund",
    REFUND_ORDER: "Refund of an order",
} | {
    str(kind): KIND_NAMES[kind]
    for kind in (
        Kind.MONEY_UNKNOWN,
        Kind.MONEY_CLAIMED_TWICE,
        Kind.MONEY_WENT_BACK,
        Kind.ATTEMPT_IN_DOUBT,
        Kind.CONTRADICTION,
        Kind.ORDER_MISSING,
        Kind.MESSAGE_DEAD_LETTERED,
        Kind.EVENT_DEAD_LETTERED,
        Kind.PULL_GAP,
    )
}
"""What decisions are about, by the name that a filter has in the URL."""
