"""A payment as auditors see it: its money, attempts, refunds and story, step by step, and what is wrong with it."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from api.http.framework.json import amount_text
from api.http.schemas.refund_schemas import show_refund
from api.http.schemas.session_schemas import SessionStatus, show_order, show_status_of
from ledger.session.session import PaymentSession
from ledger.session.status_row import money_of
from ledger.session.values import RefundState
from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from payments.checkout.next_action import NextActions
from payments.inbox.inbox import Inbox
from payments.verification.one_session import SessionVerified
from projections.history import Entry, for_auditor
from projections.history_steps import Step
from projections.payment_filters import FoundPayment
from projections.refunds import PaymentRefunds, RefundsOfSession

_STATUS = SessionStatus()


def show_found(found: FoundPayment) -> dict[str, Any]:
    """Return a payment of a search."""
    return {
        "session_id": found.session_id,
        "user": found.user_id,
        "session_status": found.session_status,
        "version": found.version,
        "total_amount": amount_text(found.total_cents),
        "received": amount_text(found.received_cents),
        "refund_due": amount_text(found.refund_due_cents),
        "refunded": amount_text(found.refunded_cents),
        "receipt": found.receipt,
        "evidence": found.evidence,
        "order": show_order(found.order_id, found.order_number),
        "failure_code": found.failure_code,
        "created_at": found.created_at,
        "paid_at": found.paid_at,
    }


def show_payment(session: PaymentSession, steps: Sequence[Step], moment: datetime) -> dict[str, Any]:
    """Return a payment as its genuine events say; amounts are text in shillings."""
    return {
        "session_id": session.id,
        "user": session.user_id,
        "session_status": session.status_at(moment),
        "version": session.version,
        "evidence": session.paid.evidence if session.paid else None,
        "created_at": session.created_on,
        "expires_at": session.expires_at,
        "paid_at": session.paid.paid_at if session.paid else None,
        "order": show_order(*(session.order or (None, None))),
        "reason": session.failure and {"code": session.failure[0], "message": session.failure[1]},
        "money": show_money_of(session),
        "attempts": [_show_attempt(session, number) for number in session.attempts],
        "refunds": [show_refund(refund) for refund in _refunds(steps).values()],
        "discrepancies": [asdict(each) for each in session.discrepancies.values()],
    }


def show_money_of(session: PaymentSession) -> dict[str, Any]:
    """Return what was asked, paid, received beyond that, and given back, in all and by receipt."""
    back, paid = money_of(session), session.paid
    paid_cents = (paid.amount_cents or 0) if paid else 0
    return {
        "asked": amount_text(session.totals.total_cents),
        "received": amount_text(session.received_cents),
        "paid": amount_text(paid_cents),
        "surplus": amount_text(session.received_cents - paid_cents),
        "refund_due": amount_text(back.due_cents),
        "refunded": amount_text(back.refunded_cents),
        "refund_status": back.status,
        "by_receipt": [
            {
                "receipt": credit.receipt,
                "attempt": credit.attempt,
                "amount": amount_text(credit.amount_cents),
                "evidence": credit.evidence,
                "is": "payment" if paid and paid.receipt == credit.receipt else "surplus",
                "refunded": amount_text(
                    sum(
                        refund.amount_cents
                        for refund in session.refunds.values()
                        if refund.receipt == credit.receipt and refund.state == RefundState.REFUNDED
                    )
                ),
            }
            for credit in session.credits.values()
        ],
    }


def show_told(step: Step) -> dict[str, Any]:
    """Return one event of a payment's story: what happened in words, and who or what caused it."""
    entry = step.entry
    return {
        "version": entry.version,
        "event": entry.name,
        "happened_at": entry.happened_at,
        "recorded_at": entry.recorded_at,
        "words": step.words,
        "moved_to": step.moved_to,
        "is_genuine": step.words is not None,
        "caused_by": entry.metadata,
    }


def show_verified(verified: SessionVerified) -> dict[str, Any]:
    """Return what was found about one session."""
    return {
        "holds": verified.holds,
        "events": verified.events,
        "violations": [
            {"rule": violation.rule, "detail": violation.detail} for violation in verified.violations
        ],
        "blocks": list(verified.blocks),
        "events_in_no_block_yet": verified.unsigned,
    }


def show_steps(steps: Sequence[Step], next_actions: NextActions, inbox: Inbox) -> Iterator[dict[str, Any]]:
    """Yield the steps of a payment: event, state after it, what the buyer was shown, and M-Pesa's message beside it.

    Messages hold personal data: record who reads them. What is not in the log, such as limits and locks of the moment,
    is left out of what the buyer was shown.
    """
    for step in steps:
        row = step.session_row
        yield {
            **show_told(step),
            "recorded": for_auditor(step.entry),
            "state": step.state and _in_the_clear(step.state),
            "buyer_saw": row
            and _STATUS.dump(show_status_of(row, next_actions.as_recorded(row, step.entry.recorded_at))),
            "message": message_beside(step.entry, inbox),
        }


def message_beside(entry: Entry, inbox: Inbox) -> dict[str, Any] | None:
    """Return M-Pesa's message that caused an event, as it came; None if none did. Once erased, its body is null."""
    source = _inbox_id(entry)
    if source is None or entry.event is None:
        return None
    try:
        message = inbox.message(source)
    except (Erased, WrongKey):
        return {"inbox_id": source, "channel": None, "received_at": None, "body": None}
    if message is None:
        return None
    return {
        "inbox_id": source,
        "channel": message.channel,
        "received_at": message.received_at,
        "body": message.body.decode("utf-8", "replace"),
    }


def _inbox_id(entry: Entry) -> UUID | None:
    try:
        return UUID(entry.metadata.get("source", ""))
    except ValueError:
        return None


def _show_attempt(session: PaymentSession, number: int) -> dict[str, Any]:
    attempt = session.attempts[number]
    return {
        "attempt": number,
        "transaction_id": attempt.transaction_id,
        "account_reference": f"D{attempt.transaction_id}",
        "state": attempt.state,
        "requested_at": attempt.requested_at,
        "merchant_request_id": attempt.merchant_request_id,
        "receipt": attempt.receipt,
        "received": amount_text(attempt.received_cents),
    }


def _refunds(steps: Sequence[Step]) -> RefundsOfSession:
    projection = PaymentRefunds()
    return projection.folded(
        step.entry.recorded
        for step in steps
        if step.words is not None and step.entry.topic in projection.topics
    )


def _in_the_clear(state: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in state.items() if not name.endswith("_sealed")}
