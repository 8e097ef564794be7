"""The words of the console for cases: what each kind is called, what a button says, and what came of it."""

from payments.exceptions.closed_cases import REFUND
from payments.exceptions.next_steps import KIND_NAMES, Kind
from payments.refunds.order_refunds import REFUND_ORDER

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
