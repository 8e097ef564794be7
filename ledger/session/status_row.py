"""The row of `payment_sessions`: a session as analysts and lists see it, moved in the commit of each event."""

from collections.abc import Iterable
from typing import Any

from ledger.session.state import SessionState
from ledger.session.values import Attempt, MoneyBack, Refund, RefundState

VERSION = 1
"""Of what is made of a session: with another one, the worker rebuilds `payment_sessions`."""


def status_row(session: SessionState) -> dict[str, Any]:
    """Return the columns of the session's row as they come back from the database; amounts are cents."""
    last, paid, totals = _last_attempt(session), session.paid, session.totals
    money = money_of(session)
    return {
        "session_id": session.id,
        "user_id": session.user_id,
        "session_status": str(session.status),
        "version": session.version,
        "goods_cents": totals.goods_cents,
        "delivery_fee_cents": totals.delivery_fee_cents,
        "rounding_cents": totals.rounding_cents,
        "total_cents": totals.total_cents,
        "received_cents": session.received_cents,
        "refund_due_cents": money.due_cents,
        "refunded_cents": money.refunded_cents,
        "attempts": len(session.attempts),
        "open_attempts": len(session.open_attempts),
        "last_attempt_state": str(last.state) if last else None,
        "transaction_id": last.transaction_id if last else None,
        "receipt": paid.receipt if paid else None,
        "evidence": str(paid.evidence) if paid else None,
        "failure_code": session.failure[0] if session.failure else None,
        "failure_reason": session.failure[1] if session.failure else None,
        "order_id": session.order[0] if session.order else None,
        "order_number": session.order[1] if session.order else None,
        "county_id": session.county_id,
        "subcounty_id": session.subcounty_id,
        "reference_sealed": session.reference_sealed,
        "shop": session.shop,
        "created_at": session.created_on,
        "expires_at": session.expires_at,
        "last_requested_at": last.requested_at if last else None,
        "initiated_at": session.initiated_at,
        "paid_at": paid.paid_at if paid else None,
        "order_created_at": session.order_created_at,
        "ended_at": session.ended_at,
        "updated_at": session.modified_on,
    }


def money_of(session: SessionState) -> MoneyBack:
    """Return what of a session's money goes back, or went."""
    return money_back(session.received_cents, session.refunds.values())


def money_of_order(session: SessionState) -> MoneyBack:
    """Return what of the order's own money goes back, or went."""
    return money_back(session.totals.total_cents, session.order_refunds)


def money_back(received_cents: int, refunds: Iterable[Refund]) -> MoneyBack:
    """Add refunds up."""
    sums = {True: 0, False: 0}
    for refund in refunds:
        sums[refund.state == RefundState.REFUNDED] += refund.amount_cents
    return MoneyBack(received_cents, due_cents=sums[False], refunded_cents=sums[True])


def _last_attempt(session: SessionState) -> Attempt | None:
    """The attempt that matters: the one that paid, else the latest."""
    if session.paid:
        return session.attempts[session.paid.attempt]
    return session.attempts[max(session.attempts)] if session.attempts else None
