"""The values of a payment session: its status, attempts, credits, refunds and discrepancies."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:  # So that the names and the types of fields are checked.
    from dataclasses import replace

    with_fields = replace
else:
    Value = TypeVar("Value")

    def with_fields(value: Value, /, **fields: Any) -> Value:
        """Return a copy of a value with other fields, as `dataclasses.replace` does.

        That one goes through the frozen class's __init__, field by field, for which each load of a session would pay.
        """
        copy = object.__new__(type(value))
        copy.__dict__.update(value.__dict__, **fields)
        return copy


class Status(StrEnum):
    """The public status of a payment session, as checkout clients know it."""

    PENDING = "pending"
    PAYMENT_INITIATED = "payment_initiated"
    PAID = "paid"
    ORDER_CREATED = "order_created"
    FAILED = "failed"
    EXPIRED = "expired"


BUILTIN_SHOP, HTTP_SHOP, NO_SHOP = "builtin", "http", "none"
"""Who makes the order of a session: the built-in shop, one behind HTTP, or nobody."""


class Evidence(StrEnum):
    """How we know that money moved, from the weakest to the strongest.

    A status query names no receipt; a callback does; C2B confirmations and pulled transactions come from the books of
    the paybill; the statement is what the bank is settled by.
    """

    QUERY = "query"
    CALLBACK = "callback"
    C2B = "c2b"
    STATEMENT = "statement"

    def is_better_than(self, other: "Evidence") -> bool:
        """Whether this source is believed before the other."""
        grades = list(Evidence)
        return grades.index(self) > grades.index(other)


class AttemptState(StrEnum):
    """The state of an attempt. The first three are open: a prompt may be on the phone, money may yet arrive."""

    REQUESTED = "requested"
    INITIATED = "initiated"
    UNCERTAIN = "uncertain"
    REFUSED = "refused"
    FAILED = "failed"
    PAID = "paid"


ATTEMPT_MAY_TAKE = timedelta(minutes=10)
"""How long an attempt may be open before a person should look; status queries are sent meanwhile."""

OPEN_STATES = frozenset({AttemptState.REQUESTED, AttemptState.INITIATED, AttemptState.UNCERTAIN})


@dataclass(frozen=True)
class Attempt:
    """One prompt that was, or was about to be, sent; its phone and checkout id are encrypted.

    `receipt` is the first that answered it, `received_cents` the money that came with it.
    """

    number: int
    transaction_id: int
    phone_sealed: str
    requested_at: datetime
    state: AttemptState = AttemptState.REQUESTED
    merchant_request_id: str | None = None
    checkout_sealed: str | None = None
    checkout_digest: str | None = None
    receipt: str | None = None
    received_cents: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the outcome is still to come."""
        return self.state in OPEN_STATES


class RefundState(StrEnum):
    """The state of a refund; only REFUNDED is final."""

    DUE = "due"
    APPROVED = "approved"
    REFUSED = "refused"
    REQUESTED = "requested"
    REFUNDED = "refunded"


@dataclass(frozen=True)
class Refund:
    """A sum in cents, paid at `attempt`, that must go back to the payer of `receipt` (None until it is known).

    `conversation_id` is M-Pesa's id of the request under way, once accepted. `in_doubt` says that its result may have
    been missed. `failures` counts the requests that failed. `of_order` says that it is money of the order that was
    made, which `request` asked for, and `restock` that its goods went back on the shelf. `reversal_receipt` is M-Pesa's
    receipt of the money that went back, `by_hand` that a person recorded it. `unasked` says that M-Pesa or the payer
    took the money back without us.
    """

    number: int
    attempt: int
    amount_cents: int
    receipt: str | None
    state: RefundState = RefundState.DUE
    requested_at: datetime | None = None
    conversation_id: str | None = None
    in_doubt: bool = False
    failures: int = 0
    of_order: bool = False
    request: str | None = None
    restock: bool = False
    reversal_receipt: str | None = None
    by_hand: bool = False
    unasked: bool = False

    @property
    def attempt_number(self) -> int:
        """The number, from 1, of the refund attempt under way, or of the next one."""
        return self.failures + 1


@dataclass(frozen=True)
class Reversal:
    """Money that went back to the payer of `receipt`, as a source reports it, known by `evidence`.

    `reversal_receipt` is M-Pesa's receipt of it, None if the source names none of its own.
    """

    receipt: str
    amount_cents: int
    reversal_receipt: str | None
    evidence: Evidence
    reversed_at: datetime

    def is_by(self, refund: Refund) -> bool:
        """Whether both are the same movement by M-Pesa's receipt of it."""
        return self.reversal_receipt is not None and self.reversal_receipt == refund.reversal_receipt

    def is_told_apart_from(self, refund: Refund) -> bool:
        """Whether both have M-Pesa's receipt, so that they are two movements if it differs."""
        return None not in (self.reversal_receipt, refund.reversal_receipt)


class ReversalMeaning(StrEnum):
    """What a reversal is to a session: it settles a refund, took the payment back unasked, or contradicts its books."""

    REFUND = "refund"
    UNASKED = "unasked"
    UNCLEAR = "unclear"


class RefundStatus(StrEnum):
    """How far the money that goes back is, of all that was received."""

    DUE = "due"
    PARTLY_REFUNDED = "partly_refunded"
    REFUNDED = "refunded"


@dataclass(frozen=True, slots=True)
class MoneyBack:
    """Of `received_cents`, what is still to go back and what went back, in cents."""

    received_cents: int
    due_cents: int
    refunded_cents: int

    @property
    def status(self) -> RefundStatus | None:
        """How far it is; None if nothing goes back."""
        if self.due_cents:
            return RefundStatus.DUE
        if not self.refunded_cents:
            return None
        is_whole = self.refunded_cents >= self.received_cents
        return RefundStatus.REFUNDED if is_whole else RefundStatus.PARTLY_REFUNDED


@dataclass(frozen=True)
class Credit:
    """Money that arrived under a receipt, for an attempt, and the best evidence of it so far."""

    receipt: str
    attempt: int
    amount_cents: int
    evidence: Evidence


@dataclass(frozen=True)
class Discrepancy:
    """Two sources disagree about an attempt: its "outcome", the "amount" of a receipt, or what is in the "books".

    `receipt` and `amount_cents` are what the later one reported, None if it named none.
    """

    number: int
    attempt: int
    about: str
    is_open: bool = True
    receipt: str | None = None
    amount_cents: int | None = None

    def is_repeated_by(self, attempt: int, about: str, payment: "Payment | None") -> bool:
        """Whether a report adds nothing to this one: of outcomes there are two, of amounts any number."""
        if (self.attempt, self.about) != (attempt, about):
            return False
        reported = (payment.receipt, payment.amount_cents) if payment else (None, None)
        return about == "outcome" or (self.receipt, self.amount_cents) == reported


@dataclass(frozen=True)
class Payment:
    """Money that moved, as a source reports it: `amount_cents` received at `paid_at`, known by `evidence`.

    `receipt` is M-Pesa's; a status query proves a payment without one. `amount_cents` is None if the source names no
    amount. `attempt` is the attempt it answers.
    """

    attempt: int
    receipt: str | None
    amount_cents: int | None
    evidence: Evidence
    paid_at: datetime

    def answers_the_prompt(self, asked_cents: int) -> bool:
        """Whether it is the payment that a prompt for `asked_cents` asked for, and no other under the same reference.

        A callback's URL is the attempt's own, and so is the id that a query names. Every other source goes by the
        reference, which anybody may type into a payment by hand: then another sum is another payment.
        """
        by_reference = self.evidence in (Evidence.C2B, Evidence.STATEMENT)
        return not by_reference or self.amount_cents == asked_cents
