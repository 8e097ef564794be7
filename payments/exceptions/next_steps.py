"""What an operator does next: about each kind of case, each status of a payment, and each state of a refund."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ledger.session.session import PaymentSession
from ledger.session.status_row import money_of_order
from ledger.session.values import RefundState, RefundStatus, Status
from projections.cases import CaseKind


class Kind(StrEnum):
    """What kind of thing an operator has to look at."""

    REFUND_DUE = CaseKind.REFUND_DUE
    REFUND_HELD = CaseKind.REFUND_HELD
    REFUND_IN_DOUBT = CaseKind.REFUND_IN_DOUBT
    REFUND_UNDER_WAY = CaseKind.REFUND_UNDER_WAY
    CONTRADICTION = CaseKind.DISCREPANCY
    ATTEMPT_IN_DOUBT = CaseKind.ATTEMPT_IN_DOUBT
    RECEIPT_MISSING = CaseKind.RECEIPT_MISSING
    ORDER_MISSING = CaseKind.ORDER_MISSING
    MONEY_UNKNOWN = "money_unknown"
    MONEY_CLAIMED_TWICE = "money_claimed_twice"
    MONEY_WENT_BACK = "money_went_back"
    MESSAGE_DEAD_LETTERED = "letter_set_aside"
    EVENT_DEAD_LETTERED = "reaction_set_aside"
    PULL_GAP = "pull_gap"
    MPESA_SET_UP = "mpesa_set_up"
    DECISION_PROPOSED = "decision_proposed"
    SWITCHED_OFF = "switched_off"
    INITIATOR_PASSWORD = "initiator_password"  # noqa: S105 - a kind of case
    CERTIFICATE = "certificate"
    PULL_BEHIND = "pull_behind"
    WEBHOOK_DISABLED = "webhook_disabled"
    WEBHOOK_FAILED = "webhook_failed"
    HORIZON_HELD = "horizon_held"
    FOLLOWERS_BEHIND = "followers_behind"


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
"""What people call each kind; its stored name is in URLs and commands."""


class Means(StrEnum):
    """What an operator can do about a case: decide about the refund, close it with a note, have it tried again,
    allocate the payment to a session, give the order up so that the money is due back; and about what another
    proposed: approve or withdraw it. What is switched off is switched on again.
    """

    REFUND = "refund"
    MONEY_BACK = "money_back"
    CLOSE = "close"
    RETRY = "retry"
    ASSIGN = "assign"
    APPROVE = "approve"
    WITHDRAW = "withdraw"
    SWITCH_ON = "switch_on"


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be done about cases of a kind: a sentence, and by which means."""

    description: str
    means: tuple[Means, ...] = ()


WHAT_CAN_BE_DONE = {
    Kind.REFUND_DUE: Advice(
        "Approve it, and M-Pesa sends the money back; hold it with a reason; or record that it went back otherwise.",
        (Means.REFUND,),
    ),
    Kind.REFUND_HELD: Advice(
        "It is held by decision. Approve it after all, or record that it went back by other means.",
        (Means.REFUND,),
    ),
    Kind.REFUND_IN_DOUBT: Advice(
        "M-Pesa is being asked. Look at the statement: import it, or record that the money went back or was not sent.",
        (Means.REFUND,),
    ),
    Kind.REFUND_UNDER_WAY: Advice(
        "It takes longer than it should. See that a worker runs, and that M-Pesa takes our operator's credential."
    ),
    Kind.CONTRADICTION: Advice(
        "Look for the payment in the M-Pesa statement, then close the case with what you found.",
        (Means.CLOSE,),
    ),
    Kind.ATTEMPT_IN_DOUBT: Advice(
        "M-Pesa is being asked. Import a statement that covers this time: it settles it. Or look at one, and close the "
        "case where the payment is not in it: the attempt ends unpaid, and money that comes all the same is booked.",
        (Means.CLOSE,),
    ),
    Kind.RECEIPT_MISSING: Advice("The payment is proved. Import a statement: it has the receipt."),
    Kind.ORDER_MISSING: Advice(
        "See that a worker runs and the shop answers: then comes the order, or the money is due back. Or give the "
        "order up: the money is due back at once.",
        (Means.MONEY_BACK,),
    ),
    Kind.MONEY_UNKNOWN: Advice(
        "Find out whose money it is, and allocate it to the session. Or return it or book it elsewhere, then close the "
        "case with what you did.",
        (Means.ASSIGN, Means.CLOSE),
    ),
    Kind.MONEY_CLAIMED_TWICE: Advice(
        "Look at both sessions and at the statement, then close the case with what you found.", (Means.CLOSE,)
    ),
    Kind.MONEY_WENT_BACK: Advice(
        "M-Pesa or the payer took a payment back, and nobody here asked for it. Get the goods back or a new payment; "
        "ask who reversed it, then close the case with what came of it.",
        (Means.CLOSE,),
    ),
    Kind.MESSAGE_DEAD_LETTERED: Advice(
        "It changed nothing. Where it may tell of money, look at the statement; then close it, or have it tried again.",
        (Means.CLOSE, Means.RETRY),
    ),
    Kind.EVENT_DEAD_LETTERED: Advice(
        "Put right what its error names, then have it tried again; or close it where it was done by hand. Where it is "
        "about an order, you can give that up: the money is due back.",
        (Means.RETRY, Means.CLOSE, Means.MONEY_BACK),
    ),
    Kind.PULL_GAP: Advice(
        "Import a statement of these days: it closes the gap. Or close it with what you found.",
        (Means.CLOSE,),
    ),
    Kind.MPESA_SET_UP: Advice(
        "M-Pesa refuses us, not these buyers. Run `daftari check`, and compare the app's products and keys, the "
        "passkey, the shortcode and the till with the Daraja portal. It goes when the next buyer has paid."
    ),
    Kind.DECISION_PROPOSED: Advice(
        "A second person decides: look at it as if it were yours alone, then approve or withdraw it. Who proposed it, "
        "and the buyer, cannot approve it.",
        (Means.APPROVE, Means.WITHDRAW),
    ),
    Kind.SWITCHED_OFF: Advice(
        "An operator stopped this in an incident, and buyers are told so. Switch it on again once it is over.",
        (Means.SWITCH_ON,),
    ),
    Kind.INITIATOR_PASSWORD: Advice(
        "It lasts 90 days; after that M-Pesa refuses refunds. Change it in the organisation portal, then run "
        "`daftari set-mpesa-credentials`, or set the variable and DAFTARI_INITIATOR_PASSWORD_SET."
    ),
    Kind.CERTIFICATE: Advice(
        "See whether the Daraja portal has a newer certificate, and put it in the place of MPESA_CERTIFICATE_FILE."
    ),
    Kind.PULL_BEHIND: Advice(
        "M-Pesa lists the last 48 hours only. See that a worker runs and that `daftari pull` succeeds; what is "
        "missed is in the statement."
    ),
    Kind.WEBHOOK_DISABLED: Advice(
        "The shop's own server is not told of payments any more. See with its people why it took nothing, then enable "
        "the endpoint again in the console or by `daftari webhooks enable`: it goes on where it stopped. What it took "
        "and lost is delivered again since a time by `daftari webhooks redeliver`."
    ),
    Kind.WEBHOOK_FAILED: Advice(
        "The endpoint takes others and refused this one for days. See with its people why, then deliver it again in "
        "the console or by `daftari webhooks redeliver`."
    ),
    Kind.HORIZON_HELD: Advice(
        "Orders and refunds go on; figures, the list of refunds and signed blocks wait. Ask whose transaction it is, "
        "then end it: a superuser types what the case says, for a prepared one in its own database."
    ),
    Kind.FOLLOWERS_BEHIND: Advice(
        "See that a worker runs, and what it logs; deal with a case horizon_held first."
    ),
}


CLOSED_TOGETHER = frozenset(
    {Kind.CONTRADICTION, Kind.MESSAGE_DEAD_LETTERED, Kind.EVENT_DEAD_LETTERED, Kind.PULL_GAP}
)
"""Kinds of which many cases are closed by one note, because closing one decides about no money."""


OF_STATUS = {
    Status.PENDING: "No prompt is on the phone. The buyer can send one from the payment's page until its time is up. "
    "If they say that they paid, look for their receipt among the unmatched payments.",
    Status.PAYMENT_INITIATED: "The prompt is on the phone, or M-Pesa has not said yet how it ended. Wait: M-Pesa is "
    "asked about it, and after ten minutes it becomes a case. Do not ask the buyer to pay again meanwhile.",
    Status.PAID: "The money is here, and the worker makes the order within seconds. After two minutes without one it "
    "becomes a case, where you can give the order up.",
    Status.ORDER_CREATED: "Paid and ordered. To give money of the order back, refund it below.",
    Status.FAILED: "The buyer can check out again: their cart is as they left it. If they say that they paid, look for "
    "their receipt among the unmatched payments.",
    Status.EXPIRED: "Its time ran out before it was paid. The buyer can check out again. Money that comes all the same "
    "is booked here and becomes an order, or goes back.",
}
"""The next step about a payment by its status, where no refund says more."""

ORDER_REFUNDED = "It was paid and ordered, and all money of the order has gone back."
"""What is said of such a payment."""

OF_REFUND = {
    RefundState.DUE: "Decide about it in its case: approve it, hold it, or record that it went back otherwise.",
    RefundState.APPROVED: "It is approved, and the worker sends it to M-Pesa within a minute. Nothing is to be done.",
    RefundState.REFUSED: "It is held. Find out why before you approve it after all in its case.",
    RefundState.REQUESTED: "M-Pesa has the request, and reports the result after a minute or two. If it does not, the "
    "refund becomes a case. Send no money by other means meanwhile.",
    RefundState.REFUNDED: "The money went back. Give the buyer the receipt of it, if they ask.",
}
"""The next step about a refund by its state."""

REFUND_IN_DOUBT = (
    "M-Pesa's answer is missing, so the money may have gone back. M-Pesa is being asked; the case says what settles "
    "it. Send no money by other means meanwhile."
)
"""The next step about a refund that was requested, where the result may have been missed."""


def next_steps(session: PaymentSession, status: Status) -> Iterator[str]:
    """Yield what an operator does next about a payment that reads as `status` now, the whole first."""
    if money_of_order(session).status == RefundStatus.REFUNDED:
        yield ORDER_REFUNDED
    elif status != Status.FAILED or not session.refunds:
        yield OF_STATUS[status]
    for refund in session.refunds.values():
        yield f"Refund {refund.number}: {REFUND_IN_DOUBT if refund.in_doubt else OF_REFUND[refund.state]}"
