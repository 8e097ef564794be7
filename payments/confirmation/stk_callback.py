"""What an STK callback proves about an attempt, as the command that records it."""

from collections.abc import Callable
from datetime import datetime
from functools import partial

from daraja import ResultMeaning, StkCallback
from daraja.eat import is_plausible
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState, Evidence, Payment
from ledger.store.vault import CHECKOUT_ID, Vault

Command = Callable[[PaymentSession], None]


def outcome_command(
    callback: StkCallback, attempt: Attempt, *, received_at: datetime, at: datetime
) -> Command | None:
    """Return the command that records the outcome; None if the result code is not final in a callback.

    A payment was made when the callback says, or when it was received if that cannot be.
    """
    meaning = callback.meaning
    if meaning.outcome == "paid":
        reported = callback.transaction_date
        paid_at = reported if reported and date_is_plausible(callback, attempt, received_at) else received_at
        payment = Payment(attempt.number, callback.receipt, callback.amount_cents, Evidence.CALLBACK, paid_at)
        return partial(PaymentSession.record_payment, payment=payment, at=at)
    if meaning.outcome == "failed" and not meaning.confirm:
        return failure_command(meaning, attempt.number, Evidence.CALLBACK, at=at)
    return None


def date_is_plausible(callback: StkCallback, attempt: Attempt, received_at: datetime) -> bool:
    """Whether the callback dates its payment between the prompt's request and its own arrival, or not at all."""
    reported = callback.transaction_date
    return reported is None or is_plausible(reported, since=attempt.requested_at, arrived_at=received_at)


def remark(callback: StkCallback, attempt: Attempt, received_at: datetime) -> str | None:
    """Return what is noted with a callback that is acted on: a date that cannot be, which its message keeps."""
    if callback.meaning.outcome == "paid" and not date_is_plausible(callback, attempt, received_at):
        return "transaction_date_implausible"
    return None


def objection_to(callback: StkCallback, session: PaymentSession, attempt: int, vault: Vault) -> str | None:
    """Return why an authenticated callback is dead-lettered, as a slug; None if nothing speaks against it."""
    if attempt not in session.attempts:
        return "unknown_attempt"
    digest = session.attempts[attempt].checkout_digest
    if digest not in (None, vault.digest("checkout", callback.checkout_request_id)):
        return "ids_differ"
    return None


def ids_command(
    callback: StkCallback, session: PaymentSession, attempt: int, vault: Vault, *, at: datetime
) -> Command | None:
    """Return the command that records the attempt's ids; None if they, or its outcome, are known already."""
    if session.attempts[attempt].state not in (AttemptState.REQUESTED, AttemptState.UNCERTAIN):
        return None
    checkout_id = callback.checkout_request_id
    return partial(
        PaymentSession.record_initiation,
        attempt=attempt,
        merchant_request_id=callback.merchant_request_id,
        checkout_sealed=vault.encrypt_unless_erased(
            session.user_id, checkout_id, purpose=CHECKOUT_ID, row=session.id
        ),
        checkout_digest=vault.digest("checkout", checkout_id),
        at=at,
    )


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
    """Whether a success names no amount, and no source has proved it yet."""
    known = session.attempts[attempt]
    if callback.meaning.outcome != "paid" or callback.amount_cents is not None:
        return False
    if known.state == AttemptState.PAID and None in (known.receipt, callback.receipt):
        return False
    return callback.receipt not in session.credits


def is_no_change(callback: StkCallback, attempt: Attempt) -> bool:
    """Whether the attempt has ended, and not otherwise than the callback says."""
    if attempt.is_open:
        return False
    return attempt.state == AttemptState.PAID or callback.meaning.outcome != "paid"
