"""What M-Pesa's result codes mean, in one closed table; the text that comes with a code is never read for decisions."""

from dataclasses import dataclass
from typing import Literal

ResultOutcome = Literal["paid", "failed", "pending", "unknown"]


@dataclass(frozen=True, slots=True)
class ResultMeaning:
    """What one result code says about one prompt.

    `final`: this prompt will not end otherwise later. `can_retry`: a new prompt for the same amount can
    succeed, after `retry_after_seconds`. `confirm`: believe it in a callback only once a query says the same.
    `reason` is a stable slug for programs, `sentence` is for people.
    """

    code: str
    outcome: ResultOutcome
    reason: str
    sentence: str
    can_retry: bool = False
    retry_after_seconds: int = 0
    confirm: bool = False

    @property
    def final(self) -> bool:
        """Say whether the prompt has ended for good."""
        return self.outcome in ("paid", "failed")


def meaning_of(code: str) -> ResultMeaning:
    """Look a result code up; a code that is not in the table is `unknown`, not final and never a failure."""
    known = _TABLE.get(code)
    if known is not None:
        return known
    return ResultMeaning(
        code, "unknown", "unknown", "M-Pesa gave an answer that we do not know. We are checking."
    )


def _failed(
    code: str,
    reason: str,
    sentence: str,
    *,
    can_retry: bool = False,
    retry_after_seconds: int = 0,
    confirm: bool = False,
) -> ResultMeaning:
    return ResultMeaning(code, "failed", reason, sentence, can_retry, retry_after_seconds, confirm)


_CANCELLED = "The payment request was cancelled on the phone. You can try again."
_NOT_SHOWN = "The payment request could not be shown on the phone. You can try again."
_NO_RESPONSE = "The phone did not answer. Switch it on, keep it at hand, and try again."
_WRONG_SET_UP = "The shop's M-Pesa account is not set up for this payment. Please tell the shop."

RESULT_MEANINGS: tuple[ResultMeaning, ...] = (
    ResultMeaning("0", "paid", "paid", "The payment was made."),
    _failed(
        "1",
        "insufficient_funds",
        "There is not enough money on this M-Pesa account. Top up and try again.",
        can_retry=True,
    ),
    _failed("2", "below_minimum", "The amount is below what M-Pesa can move."),
    _failed("3", "above_maximum", "The amount is above what M-Pesa moves in one payment."),
    _failed("4", "daily_limit", "This payment would pass the M-Pesa daily limit. Try again tomorrow."),
    _failed(
        "8", "receiver_full", "The shop's M-Pesa account cannot take more money now. Please tell the shop."
    ),
    _failed(
        "17",
        "repeated_too_soon",
        "M-Pesa takes the same amount from the same number once in two minutes. Wait, then try again.",
        can_retry=True,
        retry_after_seconds=120,
    ),
    _failed(
        "26",
        "system_busy",
        "M-Pesa is busy. Try again in a few minutes.",
        can_retry=True,
        retry_after_seconds=120,
        confirm=True,
    ),
    _failed(
        "1001",
        "subscriber_busy",
        "Another M-Pesa request is open on this phone. Finish it, wait two minutes, and try again.",
        can_retry=True,
        retry_after_seconds=120,
    ),
    _failed("1019", "expired", "The payment request ran out of time. You can try again.", can_retry=True),
    _failed("1025", "prompt_not_delivered", _NOT_SHOWN, can_retry=True),
    _failed("9999", "prompt_not_delivered", _NOT_SHOWN, can_retry=True, confirm=True),
    _failed("1031", "cancelled_by_user", _CANCELLED, can_retry=True),
    _failed("1032", "cancelled_by_user", _CANCELLED, can_retry=True),
    _failed("1036", "prompt_not_delivered", _NOT_SHOWN, can_retry=True),
    _failed("1037", "no_response", _NO_RESPONSE, can_retry=True),
    _failed("2001", "wrong_pin", "The M-Pesa PIN was wrong. You can try again.", can_retry=True),
    _failed(
        "2006",
        "account_not_active",
        "This M-Pesa account cannot pay now. Call Safaricom customer care (100).",
    ),
    _failed("2028", "product_mismatch", _WRONG_SET_UP),
    _failed("8006", "pin_locked", "The M-Pesa PIN is locked. Call Safaricom customer care (100)."),
    _failed("SFC_IC0003", "receiver_unknown", _WRONG_SET_UP),
    ResultMeaning("4999", "pending", "processing", "The payment is still being made."),
)

_TABLE = {meaning.code: meaning for meaning in RESULT_MEANINGS}
