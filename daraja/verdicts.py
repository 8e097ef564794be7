"""What a result means for the money: the result of a reversal, or of a transaction status request."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from daraja.api_results import ApiResult

ReversalKind = Literal["done", "failed", "unclear"]
StatusKind = Literal["completed", "reversed", "not_completed", "transient", "unknown_receipt", "unclear"]

_FINAL = "0"
_SUCCESS = "0"
_ALREADY_REVERSED = "R000001"
_UNKNOWN_RECEIPT = "2032"

_REQUEST_FAULTS: dict[str, tuple[str, str]] = {
    "11": ("party_invalid", "M-Pesa says that the state of an account does not allow this. Ask Safaricom."),
    "21": (
        "not_permitted",
        "The M-Pesa initiator may not do this. Give it the role in the organisation portal.",
    ),
    "2001": (
        "wrong_credential",
        "M-Pesa does not accept the initiator's name or password; a password expires after 90 days. Set a new one.",
    ),
    "2006": ("account_not_active", "M-Pesa says that the account is not active. Ask Safaricom."),
    "2028": ("product_mismatch", "M-Pesa does not allow this for the shortcode. Check its set-up."),
    "8006": ("operator_locked", "The M-Pesa initiator is locked. Unlock it in the organisation portal."),
    "SFC_IC0003": ("party_unknown", "M-Pesa does not know the shortcode or the initiator. Check the set-up."),
}
"""Results that blame our request or set-up, not the transaction."""

_REVERSAL_FAILURES = _REQUEST_FAULTS | {
    "1": (
        "insufficient_funds",
        "The shop's M-Pesa account holds too little for this reversal; it may have been paid out to the bank.",
    ),
    "R000002": ("original_invalid", "M-Pesa does not know a payment with this receipt that can be reversed."),
}
REVERSAL_FAILURES = dict(_REVERSAL_FAILURES.values())
"""Why a reversal fails: a sentence for each reason."""

_STATUS_FAILURES = _REQUEST_FAULTS | {
    "25": ("bad_request", "M-Pesa did not understand the request. Check the shop's M-Pesa settings."),
}

_TRANSACTION_STATUSES: dict[str, tuple[StatusKind, str]] = {
    "completed": ("completed", "M-Pesa says that the transaction is completed."),
    "cancelled": ("not_completed", "M-Pesa says that the transaction was cancelled."),
    "declined": ("not_completed", "M-Pesa says that the transaction was declined."),
    "expired": ("not_completed", "M-Pesa says that the transaction expired."),
    "failed": ("not_completed", "M-Pesa says that the transaction failed."),
    "initiated": ("transient", "M-Pesa says that the transaction is under way."),
    "authorized": ("transient", "M-Pesa says that the transaction is under way."),
    "pending authorized": ("transient", "M-Pesa says that the transaction is under way."),
}


@dataclass(frozen=True, slots=True)
class ReversalVerdict:
    """What a result says of a reversal. `unclear` is neither success nor failure: find out, and do not send again.

    `reason` is a stable slug, `sentence` is for people. `receipt` is the reversal's own, `original_receipt` that
    of the payment; they, `amount_cents` and `completed_at` (aware UTC) are None where M-Pesa did not say.
    """

    kind: ReversalKind
    result_code: str
    reason: str
    sentence: str
    receipt: str | None = None
    original_receipt: str | None = None
    amount_cents: int | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class StatusVerdict:
    """What a result says of a transaction. Only `completed`, `reversed` and `not_completed` speak of the money.

    `unknown_receipt` proves nothing while the transaction is minutes old. `reason`, `sentence`, `receipt`,
    `amount_cents` and `finished_at` as in ReversalVerdict; `reason_type` is M-Pesa's word for the kind of
    transaction, or ''.
    """

    kind: StatusKind
    result_code: str
    reason: str
    sentence: str
    receipt: str | None = None
    amount_cents: int | None = None
    finished_at: datetime | None = None
    reason_type: str = ""


def reversal_verdict(result: ApiResult) -> ReversalVerdict:
    """Judge the result of a reversal: done for 0 and R000001, failed for the documented codes, else unclear.

    R000001, "already reversed", is what a repeated request gets: the money is back, by whichever request.
    """
    kind, reason, sentence = _judge_reversal(result)
    done = kind == "done"
    return ReversalVerdict(
        kind,
        result.result_code,
        reason,
        sentence,
        receipt=result.transaction_id if done and result.result_code == _SUCCESS else None,
        original_receipt=result.one_receipt("OriginalTransactionID"),
        amount_cents=result.one_amount("Amount") if done else None,
        completed_at=result.one_moment("TransCompletedTime") if done else None,
    )


def _judge_reversal(result: ApiResult) -> tuple[ReversalKind, str, str]:
    if result.result_type != _FINAL:
        return "unclear", "more_to_come", "M-Pesa has not finished with this yet."
    if result.result_code == _SUCCESS:
        return "done", "reversed", "The money was given back."
    if result.result_code == _ALREADY_REVERSED:
        return "done", "already_reversed", "M-Pesa had given this money back already."
    if result.result_code in _REVERSAL_FAILURES:
        return "failed", *_REVERSAL_FAILURES[result.result_code]
    return (
        "unclear",
        "unknown",
        "M-Pesa sent an unknown result code. Ask for the status of the payment.",
    )


def status_verdict(result: ApiResult) -> StatusVerdict:
    """Judge the result of a transaction status request; what the table does not list is unclear."""
    kind, reason, sentence = _judge_status(result)
    return StatusVerdict(
        kind,
        result.result_code,
        reason,
        sentence,
        receipt=result.one_receipt("ReceiptNo"),
        amount_cents=result.one_amount("Amount"),
        finished_at=result.one_moment("FinalisedTime"),
        reason_type=result.one_text("ReasonType"),
    )


def _judge_status(result: ApiResult) -> tuple[StatusKind, str, str]:
    if result.result_type != _FINAL:
        return "unclear", "more_to_come", "M-Pesa has not finished with this yet."
    if result.result_code == _UNKNOWN_RECEIPT:
        return "unknown_receipt", "unknown_receipt", "M-Pesa does not know this receipt."
    if result.result_code in _STATUS_FAILURES:
        return "unclear", *_STATUS_FAILURES[result.result_code]
    word = " ".join(result.one_text("TransactionStatus").lower().split())
    if result.result_code == _SUCCESS and "reversed" in word:
        return "reversed", "reversed", "M-Pesa says that the transaction was reversed."
    if result.result_code == _SUCCESS and word in _TRANSACTION_STATUSES:
        kind, sentence = _TRANSACTION_STATUSES[word]
        return kind, word.replace(" ", "_"), sentence
    return "unclear", "unknown", "M-Pesa sent an unknown result code. Look at the organisation portal."
