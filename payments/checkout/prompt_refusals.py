"""Why a prompt is not sent, in words for the buyer."""

import math

from daraja import Refused, Retryable
from ledger.errors import LedgerError, Rejected, Unavailable
from payments.operators.switches import PAUSED_RETRY_AFTER
from payments.prompts.prompt_limits import UNKNOWN_BUSY_SECONDS, phone_busy


def payments_paused(reason: str) -> Unavailable:
    """Return the refusal of a prompt while prompts are switched off."""
    return Unavailable(
        f"Payments are paused: {reason} Nothing was sent to your phone; please try again later.",
        code="PAYMENTS_PAUSED",
        retry_after_seconds=math.ceil(PAUSED_RETRY_AFTER.total_seconds()),
    )


def mpesa_unavailable(retry_after_seconds: int) -> Unavailable:
    """Return the refusal of a prompt that M-Pesa cannot be asked for now."""
    return Unavailable(
        "M-Pesa is temporarily unavailable. Nothing was sent to your phone; please try again shortly.",
        code="MPESA_UNAVAILABLE",
        retry_after_seconds=retry_after_seconds,
    )


def refusal_for_buyer(refusal: Refused | Retryable) -> LedgerError:
    """Return what a buyer may know of a refusal: nothing about how we reach M-Pesa."""
    if refusal.code == "DARAJA_SUBSCRIBER_BUSY":
        return phone_busy(UNKNOWN_BUSY_SECONDS)
    if isinstance(refusal, Retryable):
        return mpesa_unavailable(refusal.retry_after_seconds or 10)
    return Rejected(
        "PAYMENT_REFUSED",
        "M-Pesa rejected the payment request. You have not been charged; please contact the shop.",
    )
