"""M-Pesa's messages about refunds: each is stored first, then what it proves is recorded.

The URL of a message authenticates it, and names its refund attempt. An unauthenticated message changes nothing.
"""

from datetime import datetime

import structlog

from daraja import MalformedResult, parse_result, status_verdict
from ledger import clock
from ledger.application import Ledger
from ledger.errors import NotFound
from ledger.session.session import PaymentSession
from ledger.session.values import Refund
from ledger.store.metadata import Cause, caused_by
from ledger.store.vault import Vault
from payments.inbox.callback_tokens import RefundMessageKind, read_refund_token
from payments.inbox.inbox import Channel, Inbox, InboxMessage, failure_left_to_worker, session_and_owner
from payments.refunds.refund_attempt import RefundAttempt
from payments.refunds.result_judge import ResultJudgement, judge_reversal, judge_status
from payments.refunds.status_check_log import RefundQueryLog

_CHANNELS = {
    RefundMessageKind.REVERSAL_RESULT: Channel.REVERSAL_RESULT,
    RefundMessageKind.REVERSAL_TIMEOUT: Channel.REVERSAL_TIMEOUT,
    RefundMessageKind.STATUS_RESULT: Channel.STATUS_RESULT,
    RefundMessageKind.STATUS_TIMEOUT: Channel.STATUS_TIMEOUT,
}

RESULT_CHANNELS = tuple(_CHANNELS.values())
"""The channels whose messages `ReversalResults.act_on` understands."""

_log = structlog.get_logger(__name__)


class ReversalResults:
    """Records results and time-outs. Every step may be repeated; the second time is a no-op."""

    def __init__(self, ledger: Ledger, vault: Vault, inbox: Inbox, query_log: RefundQueryLog) -> None:
        self._ledger = ledger
        self._vault = vault
        self._inbox = inbox
        self._query_log = query_log

    def receive(self, body: bytes, *, body_bytes: int, token: str | None, is_timeout: bool) -> None:
        """Store a message, then act on it; on a failure it is left to the worker.

        `is_timeout` says to which endpoint it came, for a message that its token does not authenticate. Raises
        Unavailable if the body could not be stored: then it must not be acknowledged.
        """
        target = read_refund_token(self._vault.is_signed, token) if token else None
        unauthenticated = Channel.REVERSAL_TIMEOUT if is_timeout else Channel.REVERSAL_RESULT
        session, owner = session_and_owner(self._ledger, target.session_id if target else None)
        message = self._inbox.store(
            body,
            body_bytes=body_bytes,
            channel=_CHANNELS[target.kind] if target else unauthenticated,
            is_authenticated=target is not None,
            session_id=target.session_id if target else None,
            refund=target.refund if target else None,
            refund_attempt=target.attempt if target else None,
            owner=owner,
            now=clock.now(),
        )
        with failure_left_to_worker(message):
            self.act_on(message, session)

    def act_on(self, message: InboxMessage, session: PaymentSession | None = None) -> None:
        """Record what a stored message proves, or dead-letter it.

        `session` is the one that its URL names, if the caller has loaded it.
        """
        now = clock.now()
        if message.session_id is None or message.refund is None or message.refund_attempt is None:
            self._inbox.dead_letter(message, "not_proven", now)
            return
        attempt = RefundAttempt(message.session_id, message.refund, message.refund_attempt)
        try:
            session = session or self._ledger.session(attempt.session_id)
        except NotFound:
            self._inbox.dead_letter(message, "unknown_session", now)
            return
        refund = session.refunds.get(attempt.refund)
        if refund is None or refund.attempt_number < attempt.number:
            self._inbox.dead_letter(message, "unknown_refund", now)
            return
        judgement = self._judge(message, attempt, refund, now)
        if judgement.command is not None:
            with caused_by(Cause.CALLBACK, **message.as_source, actor="mpesa"):
                self._ledger.decide(session.id, judgement.command, known=session)
        if judgement.problem is None:
            self._inbox.settle(message, None, now)
        else:
            _log.warning(
                "result_dead_lettered",
                session_id=str(session.id),
                refund=attempt.refund,
                reason=judgement.problem,
            )
            self._inbox.dead_letter(message, judgement.problem, now)

    def _judge(
        self, message: InboxMessage, attempt: RefundAttempt, refund: Refund, now: datetime
    ) -> ResultJudgement:
        if message.channel == Channel.REVERSAL_TIMEOUT:
            return ResultJudgement(attempt.uncertainty("QUEUE_TIMEOUT", at=now))
        if message.channel == Channel.STATUS_TIMEOUT:
            self._query_log.note_answer(attempt, "time_out")
            return ResultJudgement()
        if message.missing_part:
            return ResultJudgement(problem=message.missing_part)
        try:
            result = parse_result(message.body)
        except MalformedResult as error:
            return ResultJudgement(problem=error.reason)
        if message.channel == Channel.REVERSAL_RESULT:
            return judge_reversal(attempt, refund, result, now)
        verdict = status_verdict(result)
        self._query_log.note_answer(attempt, verdict.reason)
        return judge_status(attempt, refund, verdict, now)
