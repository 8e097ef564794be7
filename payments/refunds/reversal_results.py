"""What M-Pesa reports of refunds: kept first, acknowledged, then turned into facts.

The address of each letter proves which sending of which refund it is about. A letter without that proof changes
nothing. Money that is said to have gone back is recorded whatever was decided meanwhile; a failure counts only
against the sending that it is about, and only while nobody knows better.
"""

from datetime import datetime

import structlog

from daraja import (
    ApiResult,
    MalformedResult,
    ReversalVerdict,
    StatusVerdict,
    parse_result,
    reversal_verdict,
    status_verdict,
)
from ledger import clock
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.session.values import Refund, RefundState
from ledger.store.vault import Vault
from payments.inbox.callback_tokens import RefundMessageKind, read_refund_token
from payments.inbox.inbox import Channel, Inbox, InboxMessage, failure_left_to_worker, session_and_owner
from payments.refunds.attempt import RefundAttempt, attempt_of
from payments.refunds.status_check_log import RefundQueryLog
from payments.refunds.status_checks import PAYMENT_TELLS_AFTER

REVERSAL = "reversal"
"""The means of a refund that M-Pesa made at our request."""

_CHANNELS = {
    RefundMessageKind.REVERSAL_RESULT: Channel.REVERSAL_RESULT,
    RefundMessageKind.REVERSAL_TIMEOUT: Channel.REVERSAL_TIMEOUT,
    RefundMessageKind.STATUS_RESULT: Channel.STATUS_RESULT,
    RefundMessageKind.STATUS_TIMEOUT: Channel.STATUS_TIMEOUT,
}

RESULT_CHANNELS = tuple(_CHANNELS.values())
"""The channels whose letters `RefundResults.act_on` understands."""

_log = structlog.get_logger(__name__)


class RefundResults:
    """Acts on results and time-outs. Every step may be repeated; the second time is no news."""

    def __init__(self, ledger: Ledger, vault: Vault, inbox: Inbox, checks: RefundQueryLog) -> None:
        self._ledger = ledger
        self._vault = vault
        self._inbox = inbox
        self._checks = checks

    def receive(self, body: bytes, *, body_bytes: int, token: str | None, is_timeout: bool) -> None:
        """Keep a letter, then act on it; where that fails it is the worker's.

        `is_timeout` says by which door it came where its token proves nothing. Raises Unavailable where the body could
        not be kept: then it must not be acknowledged.
        """
        proof = read_refund_token(self._vault.sign, token) if token else None
        unproven = Channel.REVERSAL_TIMEOUT if is_timeout else Channel.REVERSAL_RESULT
        session, owner = session_and_owner(self._ledger, proof.session_id if proof else None)
        message = self._inbox.store(
            body,
            body_bytes=body_bytes,
            channel=_CHANNELS[proof.matter] if proof else unproven,
            is_authenticated=proof is not None,
            session_id=proof.session_id if proof else None,
            refund=proof.refund if proof else None,
            refund_attempt=proof.sending if proof else None,
            owner=owner,
            now=clock.now(),
        )
        with failure_left_to_worker(message):
            self.act_on(message, session)

    def act_on(self, message: InboxMessage, session: PaymentSession | None = None) -> None:
        """Record what a stored message reports, or dead-letter it.

        `session` is the one that its URL names, if the caller has loaded it.
        """
        now = clock.now()
        if message.session_id is None or message.refund is None or message.refund_attempt is None:
            self._inbox.dead_letter(message, "not_proven", now)
            return
        sending = RefundAttempt(message.session_id, message.refund, message.refund_attempt)
        try:
            session = session or self._ledger.session(sending.session_id)
        except NotFound:
            self._inbox.dead_letter(message, "unknown_session", now)
            return
        refund = session.refunds.get(sending.refund)
        if refund is None or attempt_of(refund) < sending.number:
            self._inbox.dead_letter(message, "unknown_refund", now)
        elif message.channel == Channel.REVERSAL_TIMEOUT:
            self._doubt(sending, "QUEUE_TIMEOUT")
            self._inbox.settle(message, None, now)
        elif message.channel == Channel.STATUS_TIMEOUT:
            self._checks.note_answer(sending.session_id, sending.refund, sending.number, "time_out")
            self._inbox.settle(message, None, now)
        else:
            self._act_on_result(message, sending, refund, now)

    def _act_on_result(
        self, message: InboxMessage, sending: RefundAttempt, refund: Refund, now: datetime
    ) -> None:
        if message.was_cut:
            self._inbox.dead_letter(message, "too_large", now)
            return
        try:
            result = parse_result(message.body)
        except MalformedResult as error:
            self._inbox.dead_letter(message, error.reason, now)
            return
        if message.channel == Channel.REVERSAL_RESULT:
            problem = self._act_on_reversal(sending, refund, result)
        else:
            problem = self._act_on_status(sending, refund, status_verdict(result))
        if problem:
            _log.warning(
                "result_set_aside",
                session_id=str(sending.session_id),
                refund=sending.refund,
                reason=problem,
            )
            self._inbox.dead_letter(message, problem, now)
        else:
            self._inbox.settle(message, None, now)

    def _act_on_reversal(self, sending: RefundAttempt, refund: Refund, result: ApiResult) -> str | None:
        """Record what a reversal came to; return why a person has to look at it, or None."""
        verdict = reversal_verdict(result)
        objection = _objection(sending, refund, result, verdict)
        if objection or verdict.kind == "unclear":
            if verdict.reason == "more_to_come":
                return None
            self._doubt(sending, "RESULT_UNCLEAR")
            return objection or "result_unclear"
        if verdict.kind == "done":
            self._done(sending, verdict.receipt)
            return None
        return self._failed(sending, refund, verdict.reason, verdict.sentence)

    def _act_on_status(self, sending: RefundAttempt, refund: Refund, verdict: StatusVerdict) -> str | None:
        """Record what the status of a payment, or of its reversal, says; return as `_act_on_reversal` does."""
        self._checks.note_answer(sending.session_id, sending.refund, sending.number, verdict.reason)
        if verdict.receipt is None or verdict.kind not in ("completed", "reversed", "not_completed"):
            return None  # It says nothing of the money: it is asked again.
        if verdict.amount_cents not in (None, refund.amount_cents):
            return "amount_differs"
        if verdict.receipt == refund.receipt:
            return self._act_on_status_of_payment(sending, refund, verdict)
        if refund.conversation_id is None:
            return "receipt_differs"  # Only the payment was asked about, and this is of another one.
        if verdict.kind == "completed":
            self._done(sending, verdict.receipt)
            return None
        if verdict.kind == "not_completed":
            return self._failed(sending, refund, f"reversal_{verdict.reason}", verdict.sentence)
        return "reversal_was_reversed"

    def _act_on_status_of_payment(
        self, sending: RefundAttempt, refund: Refund, verdict: StatusVerdict
    ) -> str | None:
        if verdict.kind == "reversed":
            self._done(sending, None)
            return None
        if verdict.kind == "not_completed":
            return "payment_not_completed"
        if refund.requested_at is not None and clock.now() - refund.requested_at < PAYMENT_TELLS_AFTER:
            return None
        description = (
            "M-Pesa says that the payment is completed and not reversed. Look at the statement before you approve "
            "again."
        )
        return self._failed(sending, refund, "not_reversed", description)

    def _done(self, sending: RefundAttempt, reversal_receipt: str | None) -> None:
        def command(session: PaymentSession) -> None:
            session.record_refund(
                sending.refund, reversal_receipt=reversal_receipt, means=REVERSAL, at=clock.now()
            )

        self._ledger.decide(sending.session_id, command)

    def _failed(self, sending: RefundAttempt, refund: Refund, reason: str, description: str) -> str | None:
        """Record a failure of this sending; it is no news where that is known, and odd where the sum is back."""
        was_under_way = sending.record(
            self._ledger,
            lambda session: session.record_refund_failure(
                sending.refund, code=reason.upper(), text=description, at=clock.now()
            ),
        )
        is_back = refund.state == RefundState.REFUNDED and attempt_of(refund) == sending.number
        return "contradicts_the_refund" if is_back and not was_under_way else None

    def _doubt(self, sending: RefundAttempt, reason: str) -> None:
        sending.record(
            self._ledger,
            lambda session: session.record_refund_uncertainty(sending.refund, reason=reason, at=clock.now()),
        )


def _objection(
    sending: RefundAttempt, refund: Refund, result: ApiResult, verdict: ReversalVerdict
) -> str | None:
    """Why a result with a good token is not believed, as a slug; None where nothing speaks against it."""
    ids = (result.conversation_id, result.originator_conversation_id)
    is_latest = attempt_of(refund) == sending.number
    if is_latest and refund.conversation_id is not None and refund.conversation_id not in ids:
        return "ids_differ"
    if verdict.original_receipt not in (None, refund.receipt):
        return "receipt_differs"
    if verdict.amount_cents not in (None, refund.amount_cents):
        return "amount_differs"
    return None
