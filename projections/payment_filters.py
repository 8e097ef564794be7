"""What a payment is searched by, and what a search shows of it."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.session.values import Evidence, Status
from ledger.store.caller_texts import reference_of
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.listing import Key
from ledger.store.vault import PHONE, Vault


@dataclass(frozen=True, slots=True)
class Filters:
    """What a payment is found by; what is None says nothing. Amounts are cents, the day is Nairobi's, of creation.

    `phone` is twelve digits, `checkout_id` M-Pesa's CheckoutRequestID, `transaction_id` the number in an account
    reference D123, `amount_cents` what was asked for, `checkout_reference` what a server called its checkout. Receipts
    and order numbers are in any letter case.
    """

    receipt: str | None = None
    phone: str | None = None
    order_number: str | None = None
    checkout_reference: str | None = None
    checkout_id: str | None = None
    transaction_id: int | None = None
    user_id: int | None = None
    day: date | None = None
    amount_cents: int | None = None
    status: Status | None = None
    evidence: Evidence | None = None


@dataclass(frozen=True, slots=True)
class FoundPayment:
    """A session as it reads at a moment; amounts are cents."""

    session_id: UUID
    user_id: int
    session_status: str
    version: int
    total_cents: int
    received_cents: int
    refund_due_cents: int
    refunded_cents: int
    receipt: str | None
    evidence: str | None
    order_id: int | None
    order_number: str | None
    failure_code: str | None
    created_at: datetime
    paid_at: datetime | None

    @property
    def key(self) -> Key:
        """Its place in the list."""
        return self.created_at, self.session_id

    @classmethod
    def of(cls, session: PaymentSession, moment: datetime) -> "FoundPayment":
        """Return the payment of a session that was folded, with its status at a moment."""
        row = status_row(session) | {"session_status": str(session.status_at(moment))}
        return cls(**{name: row[name] for name in cls.__slots__})

    def fits(self, filters: Filters) -> bool:
        """Say whether it fits the filters by what it shows itself."""
        wanted = (
            (filters.user_id, self.user_id),
            (filters.amount_cents, self.total_cents),
            (filters.status, self.session_status),
            (filters.evidence, self.evidence),
            (filters.order_number and filters.order_number.upper(), (self.order_number or "").upper()),
        )
        return all(asked is None or asked == found for asked, found in wanted)


def is_named(session: PaymentSession, filters: Filters, vault: Vault) -> bool:
    """Say whether a folded session knew receipt, attempt, checkout, phone and reference of the filters then."""
    attempts = session.attempts.values()
    receipts = {*session.credits, *(attempt.receipt or "" for attempt in attempts)}
    receipts |= {refund.reversal_receipt or "" for refund in session.refunds.values()}
    checkout = filters.checkout_id and vault.digest("checkout", filters.checkout_id)
    return (
        (filters.receipt is None or filters.receipt.upper() in map(str.upper, receipts))
        and filters.transaction_id in {None, *(attempt.transaction_id for attempt in attempts)}
        and checkout in {None, *(attempt.checkout_digest for attempt in attempts)}
        and (filters.phone is None or filters.phone in _phones(session, vault))
        and has_reference(session, filters, vault)
    )


def has_reference(session: PaymentSession, filters: Filters, vault: Vault) -> bool:
    """Say whether its server called a session by the reference of the filters: the row that led to it may be forged."""
    if filters.checkout_reference is None:
        return True
    with suppress(Erased, WrongKey):
        return reference_of(vault, session) == filters.checkout_reference
    return False


def _phones(session: PaymentSession, vault: Vault) -> Iterator[str]:
    """Yield the phones of a session that can be read, as those that were indexed could."""
    for sealed in {session.phone_sealed, *(attempt.phone_sealed for attempt in session.attempts.values())}:
        with suppress(Erased, WrongKey):
            if sealed is not None:
                yield vault.decrypt(session.user_id, sealed, purpose=PHONE, row=session.id)
