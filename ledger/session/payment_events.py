"""Events of a payment, in the order in which a session lives them.

An event that moves the public status names the previous status and the session's creation, so that a projection can
count it by the event alone.
"""

from datetime import datetime
from typing import Any

from eventsourcing.domain import Aggregate
from eventsourcing.utils import resolve_topic

from ledger.session.cart import SnapshotLine, Totals
from ledger.session.event import Event
from ledger.session.state import SessionState
from ledger.session.values import (
    BUILTIN_SHOP,
    Attempt,
    AttemptState,
    Credit,
    Discrepancy,
    Evidence,
    Payment,
    Status,
    with_fields,
)


class Created(Event, Aggregate.Created):
    """A buyer went to the checkout: the cart, its cost, where to deliver it, and who makes the order.

    A place is no personal data by itself, so it is in the clear. `reference_sealed` and `metadata_sealed` are the
    caller's own, encrypted. `shop` is "builtin", "http" or "none".
    """

    TOPIC = "payment_session.created.v1"
    class_version = 2
    user_id: int
    lines: tuple[SnapshotLine, ...]
    totals: Totals
    phone_sealed: str | None
    delivery_sealed: str | None
    county_id: int | None
    subcounty_id: int | None
    reference_sealed: str | None
    metadata_sealed: str | None
    shop: str
    expires_at: datetime

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Say what version 1 left open: the place is unknown, and the built-in shop makes the order."""
        unknown = ("county_id", "subcounty_id", "reference_sealed", "metadata_sealed")
        state |= dict.fromkeys(unknown) | {"shop": BUILTIN_SHOP}
        state["lines"] = [line | {"name_sealed": None} for line in state["lines"]]

    def mutate(self, aggregate: Any) -> Any:
        """Make the session, without the library's search for what its initialisers take."""
        assert aggregate is None
        session = object.__new__(resolve_topic(self.originator_topic))
        session.__base_init__(self.originator_id, self.originator_version, self.timestamp)
        self.apply(session)
        return session

    def apply(self, session: SessionState) -> None:
        session.user_id = self.user_id
        session.lines = self.lines
        session.totals = self.totals
        session.phone_sealed = self.phone_sealed
        session.delivery_sealed = self.delivery_sealed
        session.county_id = self.county_id
        session.subcounty_id = self.subcounty_id
        session.reference_sealed = self.reference_sealed
        session.metadata_sealed = self.metadata_sealed
        session.shop = self.shop
        session.expires_at = self.expires_at
        session.status = Status.PENDING
        session.extensions = 0
        session.extended_for = frozenset()
        session.attempts = {}
        session.paid = None
        session.credits = {}
        session.discrepancies = {}
        session.received_cents = 0
        session.refunds = {}
        session.order = None
        session.failure = None
        session.initiated_at = session.order_created_at = session.ended_at = None


class Extended(Event):
    """The buyer was given more time; `request` names the request, if it had an idempotency key."""

    TOPIC = "payment_session.extended.v1"
    expires_at: datetime
    request: str | None = None

    def apply(self, session: SessionState) -> None:
        session.expires_at = self.expires_at
        session.extensions += 1
        session.extended_for |= {self.request}


class PaymentRequested(Event):
    """An attempt is about to be sent; written before the network call."""

    TOPIC = "payment_session.payment_requested.v1"
    attempt: int
    transaction_id: int
    phone_sealed: str
    amount_cents: int

    def apply(self, session: SessionState) -> None:
        session.attempts[self.attempt] = Attempt(
            self.attempt, self.transaction_id, self.phone_sealed, requested_at=self.timestamp
        )


class PaymentInitiated(Event):
    """M-Pesa accepted the attempt: a prompt is on its way to the phone."""

    TOPIC = "payment_session.payment_initiated.v1"
    attempt: int
    merchant_request_id: str
    checkout_sealed: str
    checkout_digest: str
    previous_status: str
    session_created_at: datetime

    def apply(self, session: SessionState) -> None:
        session.attempts[self.attempt] = with_fields(
            session.attempts[self.attempt],
            state=AttemptState.INITIATED,
            merchant_request_id=self.merchant_request_id,
            checkout_sealed=self.checkout_sealed,
            checkout_digest=self.checkout_digest,
        )
        _prompted(session, self.timestamp)


class PaymentRefused(Event):
    """M-Pesa refused the attempt and nothing was sent; another may follow."""

    TOPIC = "payment_session.payment_refused.v1"
    attempt: int
    code: str
    message: str

    def apply(self, session: SessionState) -> None:
        _close(session, self.attempt, AttemptState.REFUSED)


class PaymentUncertain(Event):
    """M-Pesa's answer was lost; a prompt may be on the phone."""

    TOPIC = "payment_session.payment_uncertain.v1"
    attempt: int
    reason: str
    previous_status: str
    session_created_at: datetime

    def apply(self, session: SessionState) -> None:
        _close(session, self.attempt, AttemptState.UNCERTAIN)
        _prompted(session, self.timestamp)


class AttemptFailed(Event):
    """One attempt ended unpaid while another is open, or after the session was settled.

    `recorded_by` and `note` are set if a person recorded it.
    """

    TOPIC = "payment_session.attempt_failed.v1"
    attempt: int
    code: str
    text: str
    result_code: str | None = None
    recorded_by: str | None = None
    note: str | None = None

    def apply(self, session: SessionState) -> None:
        _close(session, self.attempt, AttemptState.FAILED)


class Paid(Event):
    """The money that was asked for has arrived."""

    TOPIC = "payment_session.paid.v1"
    attempt: int
    receipt: str | None
    amount_cents: int
    evidence: str
    paid_at: datetime
    previous_status: str
    session_created_at: datetime

    def apply(self, session: SessionState) -> None:
        session.status = Status.PAID
        session.paid = Payment(
            self.attempt, self.receipt, self.amount_cents, Evidence(self.evidence), self.paid_at
        )
        session.failure = session.ended_at = None
        _receive(session, self)


class ReceiptRecorded(Event):
    """The receipt of a payment that had been proved without one."""

    TOPIC = "payment_session.receipt_recorded.v1"
    attempt: int
    receipt: str
    evidence: str

    def apply(self, session: SessionState) -> None:
        attempt = session.attempts[self.attempt]
        _credit(session, self.receipt, self.attempt, attempt.received_cents, self.evidence)
        session.attempts[self.attempt] = with_fields(attempt, receipt=self.receipt)
        if session.paid and session.paid.attempt == self.attempt:
            session.paid = with_fields(session.paid, receipt=self.receipt, evidence=Evidence(self.evidence))
        for refund in session.refunds.values():
            if refund.attempt == self.attempt and refund.receipt is None:
                session.refunds[refund.number] = with_fields(refund, receipt=self.receipt)


class EvidenceUpgraded(Event):
    """A better source confirmed a known payment: the same receipt, the same amount."""

    TOPIC = "payment_session.evidence_upgraded.v1"
    attempt: int
    receipt: str
    evidence: str

    def apply(self, session: SessionState) -> None:
        credit = session.credits[self.receipt]
        session.credits[self.receipt] = with_fields(credit, evidence=Evidence(self.evidence))
        if session.paid and session.paid.receipt == self.receipt:
            session.paid = with_fields(session.paid, evidence=Evidence(self.evidence))


class DiscrepancyFound(Event):
    """Two sources disagree about one attempt; what was proved stands, and a person looks at it.

    `about` is "outcome" (one reports it paid, another not), "amount", or "books" (one should know of it and does not);
    `told` is what the later one reported.
    """

    TOPIC = "payment_session.contradiction_found.v1"
    contradiction: int
    attempt: int
    about: str
    evidence: str
    told: str
    receipt: str | None = None
    amount_cents: int | None = None

    def apply(self, session: SessionState) -> None:
        session.discrepancies[self.contradiction] = Discrepancy(
            self.contradiction,
            self.attempt,
            self.about,
            receipt=self.receipt,
            amount_cents=self.amount_cents,
        )


class DiscrepancyClosed(Event):
    """A person looked at a discrepancy and noted what came of it."""

    TOPIC = "payment_session.contradiction_closed.v1"
    contradiction: int
    closed_by: str
    note: str

    def apply(self, session: SessionState) -> None:
        known = session.discrepancies[self.contradiction]
        session.discrepancies[self.contradiction] = with_fields(known, is_open=False)


class OrderCreated(Event):
    """The shop made the order; without a shop it has no id, and the caller's reference for a number."""

    TOPIC = "payment_session.order_created.v1"
    class_version = 2
    order_id: int | None
    order_number: str
    previous_status: str
    session_created_at: datetime

    @staticmethod
    def upcast_v1_v2(state: dict[str, Any]) -> None:
        """Change nothing: in version 1 each order had an id."""

    def apply(self, session: SessionState) -> None:
        session.status = Status.ORDER_CREATED
        session.order = (self.order_id, self.order_number)
        session.order_created_at = session.ended_at = self.timestamp


class Failed(Event):
    """The session failed; `money_held` says whether the shop holds money of the buyer.

    `recorded_by` and `note` are set if a person recorded that its last attempt was not paid, or gave its order up.
    """

    TOPIC = "payment_session.failed.v1"
    attempt: int
    code: str
    text: str
    money_held: bool
    previous_status: str
    session_created_at: datetime
    result_code: str | None = None
    recorded_by: str | None = None
    note: str | None = None

    def apply(self, session: SessionState) -> None:
        session.status = Status.FAILED
        session.failure = (self.code, self.text)
        session.ended_at = self.timestamp
        if session.attempts[self.attempt].is_open:
            _close(session, self.attempt, AttemptState.FAILED)


class Expired(Event):
    """The time ran out with no attempt open."""

    TOPIC = "payment_session.expired.v1"
    previous_status: str
    session_created_at: datetime

    def apply(self, session: SessionState) -> None:
        session.status = Status.EXPIRED
        session.ended_at = self.timestamp


class SurplusReceived(Event):
    """Money came beyond what was owed: a second receipt, or a wrong amount.

    `answers_attempt` says whether the prompt was answered by it, rather than a payment by hand that names the attempt.
    """

    TOPIC = "payment_session.surplus_received.v1"
    attempt: int
    receipt: str | None
    amount_cents: int
    evidence: str
    paid_at: datetime
    why: str
    answers_attempt: bool = True

    def apply(self, session: SessionState) -> None:
        _receive(session, self, answers=self.answers_attempt)


def _prompted(session: SessionState, moment: datetime) -> None:
    if session.status == Status.PENDING:
        session.status = Status.PAYMENT_INITIATED
    session.initiated_at = session.initiated_at or moment


def _close(session: SessionState, attempt: int, state: AttemptState) -> None:
    session.attempts[attempt] = with_fields(session.attempts[attempt], state=state)


def _receive(session: SessionState, money: Paid | SurplusReceived, *, answers: bool = True) -> None:
    """The first money that answers an attempt gives it its receipt, known or not; no other money of it does."""
    session.received_cents += money.amount_cents
    attempt = session.attempts[money.attempt]
    if answers and attempt.state != AttemptState.PAID:
        session.attempts[money.attempt] = with_fields(
            attempt, state=AttemptState.PAID, receipt=money.receipt, received_cents=money.amount_cents
        )
    if money.receipt is not None:
        _credit(session, money.receipt, money.attempt, money.amount_cents, money.evidence)


def _credit(session: SessionState, receipt: str, attempt: int, amount_cents: int, evidence: str) -> None:
    session.credits[receipt] = Credit(receipt, attempt, amount_cents, Evidence(evidence))
