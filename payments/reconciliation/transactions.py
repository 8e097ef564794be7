"""Adapters of the channels: a C2B notice, a pulled transaction and a row of a statement become movements."""

import re
from datetime import datetime

from daraja import C2bNotice, PulledTransaction
from daraja.eat import is_plausible
from daraja.statement import StatementRow
from ledger.session.values import Evidence
from payments.reconciliation.movements import Movement, MovementCategory, MovementKind

_PAYER = re.compile(r"\b(254[17][0-9]{8})\b")
MAX_REFERENCE = 20
"""M-Pesa takes no longer account number; a longer text names no attempt, whole or cut."""

_OURS = re.compile(r"[Dd]0*([1-9][0-9]{0,17})")
_BETWEEN = re.compile(r"[\s\u00a0._-]+")
_NO_PAYMENT = re.compile(
    r"charge|revers|settlement|\b(?:funds?|org\w*|account) transfer|transfer of funds|float", re.IGNORECASE
)
_REVERSAL = re.compile(r"revers", re.IGNORECASE)
_CHARGE = re.compile(r"charge", re.IGNORECASE)
_SETTLEMENT = re.compile(r"settlement|\bbank\b", re.IGNORECASE)


def transaction_named(reference: str) -> int | None:
    """Return the transaction that an account reference names: D456, however it was typed. None for any other text."""
    if is_too_long(reference):
        return None
    found = _OURS.fullmatch(_BETWEEN.sub("", reference))
    return int(found[1]) if found else None


def is_too_long(reference: str) -> bool:
    """Whether a reference is longer than M-Pesa takes, so that it cannot be one of ours."""
    return len(reference.strip()) > MAX_REFERENCE


def of_notice(notice: C2bNotice, received_at: datetime) -> Movement:
    """Return the movement of a C2B notice; one whose time cannot be read or true happened when it was received."""
    return _payment(
        notice.receipt,
        notice.amount_cents,
        _when(notice.completed_at, received_at),
        Evidence.C2B,
        notice.bill_reference,
        notice.payer,
    )


def of_pulled(pulled: PulledTransaction, pulled_at: datetime) -> Movement | None:
    """Return the movement of a pulled transaction, or None where its amount cannot be read.

    A reversal is no payment, whatever reference it repeats. It names the payment by its receipt, or not at all.
    """
    if pulled.amount_cents is None:
        return None
    if _REVERSAL.search(pulled.kind):
        return Movement(
            kind=MovementKind.REVERSAL,
            receipt=pulled.receipt,
            amount_cents=pulled.amount_cents,
            happened_at=_when(pulled.happened_at, pulled_at),
            evidence=Evidence.C2B,
            money_in=False,
            linked_receipt=pulled.receipt,
            reason_type=pulled.kind,
        )
    return _payment(
        pulled.receipt,
        pulled.amount_cents,
        _when(pulled.happened_at, pulled_at),
        Evidence.C2B,
        pulled.bill_reference,
        pulled.payer,
    )


def of_row(row: StatementRow) -> Movement:
    """Return the movement of a completed row of a statement."""
    kind = _kind_of(row)
    if kind == MovementKind.PAYMENT:
        payer = _PAYER.search(row.details)
        return _payment(
            row.receipt,
            row.paid_in_cents,
            row.completed_at,
            Evidence.STATEMENT,
            row.reference,
            payer[1] if payer else None,
        )
    return Movement(
        kind=kind,
        receipt=row.receipt,
        amount_cents=row.paid_in_cents or row.withdrawn_cents,
        happened_at=row.completed_at,
        evidence=Evidence.STATEMENT,
        money_in=row.paid_in_cents > 0,
        linked_receipt=row.linked_receipt,
        category=_category(row.reason_type) if kind == MovementKind.OTHER else None,
        reason_type=row.reason_type,
    )


def _category(reason_type: str) -> MovementCategory | None:
    """Return what a row is for that is no payment, by M-Pesa's wording; None where that does not say."""
    if _CHARGE.search(reason_type):
        return MovementCategory.CHARGE
    return MovementCategory.SETTLEMENT if _SETTLEMENT.search(reason_type) else None


def _when(reported: datetime | None, arrived_at: datetime) -> datetime:
    """Return the reported time of a payment, or that of its report where it has none that can be true."""
    return reported if reported and is_plausible(reported, arrived_at=arrived_at) else arrived_at


def _kind_of(row: StatementRow) -> MovementKind:
    """Classify a row by direction and M-Pesa's wording; money in of an unknown kind counts as a payment."""
    if row.paid_in_cents:
        ours = transaction_named(row.reference) is not None
        return MovementKind.PAYMENT if ours or not _NO_PAYMENT.search(row.reason_type) else MovementKind.OTHER
    words = f"{row.reason_type} {row.details}"
    if row.withdrawn_cents and _REVERSAL.search(words) and not _CHARGE.search(row.reason_type):
        return MovementKind.REVERSAL
    return MovementKind.OTHER


def _payment(
    receipt: str,
    amount_cents: int,
    happened_at: datetime,
    evidence: Evidence,
    reference: str,
    payer: str | None = None,
) -> Movement:
    return Movement(
        kind=MovementKind.PAYMENT,
        receipt=receipt,
        amount_cents=amount_cents,
        happened_at=happened_at,
        evidence=evidence,
        transaction_id=transaction_named(reference),
        reference=reference,
        payer=payer,
    )
