"""What an STK callback proves about an attempt, as the command that records it."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from daraja import ResultMeaning, StkCallback
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState, Evidence, Payment

Command = Callable[[PaymentSession], None]


def outcome_command(
    callback: StkCallback, attempt: int, *, received_at: datetime, at: datetime
) -> Command | None:
    """Return the command that records the outcome; None if the result code is not final in a callback."""
    meaning = callback.meaning
    if meaning.outcome == "paid":
        paid_at = callback.transaction_date or received_at
        payment = Payment(attempt, callback.receipt, callback.amount_cents, Evidence.CALLBACK, paid_at)
        return partial(PaymentSession.record_payment, payment=payment, at=at)
    if meaning.outcome == "failed" and not meaning.confirm:
        return failure_command(meaning, attempt, Evidence.CALLBACK, at=at)
    return None


def failure_command(meaning: ResultMeaning, attempt: int, evidence: Evidence, *, at: datetime) -> Command:
    """Return the command that records an attempt as unpaid, for the reason that M-Pesa's result code means."""
    return partial(
        PaymentSession.record_attempt_failure,
        attempt=attempt,
        evidence=evidence,
        code=meaning.reason.upper(),
        text=meaning.sentence,
        result_code=meaning.code,
        at=at,
    )


def amount_is_in_doubt(callback: StkCallback, session: PaymentSession, attempt: int) -> bool:
    """Whether a success names another amount than its prompt asked for, or none, and no source has proved it yet."""
    known = session.attempts[attempt]
    if callback.meaning.outcome != "paid" or callback.amount_cents == session.totals.total_cents:
        return False
    if known.state == AttemptState.PAID and None in (known.receipt, callback.receipt):
        return False
    return callback.receipt not in session.credits


def is_no_change(callback: StkCallback, attempt: Attempt) -> bool:
    """Whether the attempt has ended, and not otherwise than the callback says."""
    if attempt.is_open:
        return False
    return attempt.state == AttemptState.PAID or callback.meaning.outcome != "paid"
