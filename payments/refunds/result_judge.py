"""What a result of M-Pesa's proves about a refund attempt: the command that records it, or why a person must look."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from daraja import ApiResult, ReversalVerdict, StatusVerdict, reversal_verdict
from ledger.session.session import PaymentSession
from ledger.session.values import Refund, RefundState
from payments.refunds.refund_attempt import RefundAttempt
from payments.refunds.status_checks import PAYMENT_TELLS_AFTER

REVERSAL = "reversal"
"""The means of a refund that M-Pesa made at our request."""

_NOT_REVERSED = (
    "M-Pesa says that the payment is completed and not reversed. "
    "Look at the statement before you approve again."
)


@dataclass(frozen=True, slots=True)
class ResultJudgement:
    """The command that records what a result proves, and the reason for which its message is dead-lettered.

    Each is None if there is none; both are if the result proves nothing about the money, so that M-Pesa is asked again.
    """

    command: Callable[[PaymentSession], object] | None = None
    problem: str | None = None


PROVES_NOTHING = ResultJudgement()


def judge_reversal(
    attempt: RefundAttempt, refund: Refund, result: ApiResult, now: datetime
) -> ResultJudgement:
    """Judge the result of a reversal."""
    verdict = reversal_verdict(result)
    objection = _objection(attempt, refund, result, verdict)
    if verdict.reason == "more_to_come":
        return PROVES_NOTHING
    if objection or verdict.kind == "unclear":
        doubt = attempt.uncertainty("RESULT_UNCLEAR", at=now)
        return ResultJudgement(doubt, objection or "result_unclear")
    if verdict.kind == "done":
        return _done(attempt, verdict.receipt, now)
    return _failed(attempt, refund, verdict.reason, verdict.sentence, now)


def judge_status(
    attempt: RefundAttempt, refund: Refund, verdict: StatusVerdict, now: datetime
) -> ResultJudgement:
    """Judge the status of a payment, or of its reversal."""
    if verdict.receipt is None or verdict.kind not in ("completed", "reversed", "not_completed"):
        return PROVES_NOTHING
    if verdict.amount_cents not in (None, refund.amount_cents):
        return ResultJudgement(problem="amount_differs")
    if verdict.receipt == refund.receipt:
        return _judge_status_of_payment(attempt, refund, verdict, now)
    if refund.conversation_id is None:
        return ResultJudgement(problem="receipt_differs")  # Only the payment was asked about.
    if verdict.kind == "completed":
        return _done(attempt, verdict.receipt, now)
    if verdict.kind == "not_completed":
        return _failed(attempt, refund, f"reversal_{verdict.reason}", verdict.sentence, now)
    return ResultJudgement(problem="reversal_was_reversed")


def _judge_status_of_payment(
    attempt: RefundAttempt, refund: Refund, verdict: StatusVerdict, now: datetime
) -> ResultJudgement:
    if verdict.kind == "reversed":
        return _done(attempt, None, now)
    if verdict.kind == "not_completed":
        return ResultJudgement(problem="payment_not_completed")
    if refund.requested_at is not None and now - refund.requested_at < PAYMENT_TELLS_AFTER:
        return PROVES_NOTHING
    return _failed(attempt, refund, "not_reversed", _NOT_REVERSED, now)


def _done(attempt: RefundAttempt, reversal_receipt: str | None, now: datetime) -> ResultJudgement:
    """Money that went back is recorded whatever was decided meanwhile, so for any attempt."""
    command = partial(
        PaymentSession.record_refund,
        refund=attempt.refund,
        reversal_receipt=reversal_receipt,
        means=REVERSAL,
        at=now,
    )
    return ResultJudgement(command)


def _failed(
    attempt: RefundAttempt, refund: Refund, reason: str, description: str, now: datetime
) -> ResultJudgement:
    """A failure counts only while its own attempt is under way; of a refund that was made it is a discrepancy."""
    if refund.state == RefundState.REFUNDED and refund.attempt_number == attempt.number:
        return ResultJudgement(problem="contradicts_the_refund")
    return ResultJudgement(attempt.failure(reason.upper(), description, at=now))


def _objection(
    attempt: RefundAttempt, refund: Refund, result: ApiResult, verdict: ReversalVerdict
) -> str | None:
    """Return why an authenticated result does not count, as a slug; None if nothing speaks against it."""
    ids = (result.conversation_id, result.originator_conversation_id)
    is_latest = refund.attempt_number == attempt.number
    if is_latest and refund.conversation_id is not None and refund.conversation_id not in ids:
        return "ids_differ"
    if verdict.original_receipt not in (None, refund.receipt):
        return "receipt_differs"
    if verdict.amount_cents not in (None, refund.amount_cents):
        return "amount_differs"
    return None
