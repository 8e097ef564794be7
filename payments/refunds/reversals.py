"""Approved refunds, sent to M-Pesa as reversals: each is recorded before it is sent, and never again on silence."""

from datetime import datetime, timedelta
from functools import partial

import structlog

from daraja import Acknowledged, DarajaClient, Refused, Retryable, Uncertain
from ledger import clock
from ledger.application import Ledger
from ledger.errors import Rejected, Unavailable
from ledger.money import CENTS_PER_SHILLING, Money
from ledger.session.session import PaymentSession
from ledger.session.values import Refund
from ledger.store.vault import Vault
from payments.inbox.callback_tokens import RefundMessageKind
from payments.operators.switches import Switch, Switches
from payments.refunds import queues
from payments.refunds.refund_attempt import RefundAttempt
from payments.refunds.terms import RefundTerms
from payments.retry_schedule import RetrySchedule
from projections.refunds import UNSENT, PaymentRefund

PAUSE_AFTER_TROUBLE = timedelta(minutes=15)
"""How long nothing is sent after M-Pesa refused the initiator, unless a person approves: errors would lock it."""

PAUSE_WHEN_AWAY = timedelta(seconds=30)
"""After M-Pesa took nothing, or did not answer; each further silence in a row doubles it."""

_SCHEDULE_WHEN_AWAY = RetrySchedule.doubling(PAUSE_WHEN_AWAY, PAUSE_AFTER_TROUBLE)

BATCH = 50

_log = structlog.get_logger(__name__)


class RefundSender:
    """Sends the approved refunds to M-Pesa, one after the other."""

    def __init__(
        self, terms: RefundTerms, ledger: Ledger, vault: Vault, daraja: DarajaClient, switches: Switches
    ) -> None:
        self._endpoints_url = terms.endpoints_url
        self._ledger = ledger
        self._vault = vault
        self._daraja = daraja
        self._switches = switches
        self._paused_until: datetime | None = None
        self._silences = 0

    def run(self) -> int:
        """Send the refund that was approved first; return 1, or 0 if there is none to send now, or refunds are off.

        A refund that fails is logged and skipped, so that it does not hold up the others.
        """
        now = clock.now()
        if self._paused_until is not None and now < self._paused_until:
            return 0
        if self._switches.off(Switch.REFUNDS) is not None:
            return 0
        trouble_at = queues.initiator_trouble_at(self._ledger, since=now - PAUSE_AFTER_TROUBLE)
        for row in queues.to_send(self._ledger, trouble_at=trouble_at, limit=BATCH):
            try:
                if self._send(row):
                    return 1
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - logged; a requested refund is put in doubt later, any other is tried again
                _log.exception("refund_not_sent", session_id=str(row.session_id), refund=row.refund)
        return 0

    def _send(self, row: PaymentRefund) -> bool:
        """Request a refund, then send it; return False if its row was late, or another process requested it."""
        session = self._ledger.session(row.session_id)
        request = partial(
            PaymentSession.request_refund, refund=row.refund, requested_by="worker", at=clock.now()
        )
        try:
            session, _ = self._ledger.decide(session.id, request, known=session)
        except Rejected:
            return False
        refund = session.refunds[row.refund]
        attempt = RefundAttempt(session.id, refund.number, refund.attempt_number)
        try:
            acknowledged = self._reverse(attempt, refund)
        except Refused as refusal:
            self._fail(attempt, refusal.code, refusal.message)
        except Retryable as refusal:
            self._fail(attempt, UNSENT, refusal.message)
            wait = timedelta(seconds=refusal.retry_after_seconds or 0)
            self._paused_until = clock.now() + max(wait, PAUSE_WHEN_AWAY)
        except Uncertain as error:
            self._doubt(attempt, error.code)
            self._pause_after_silence()
        else:
            self._silences = 0
            self._accept(attempt, acknowledged)
        return True

    def _pause_after_silence(self) -> None:
        """Send nothing for a while: in an outage of hours every refund that is sent is one more in doubt."""
        self._silences += 1
        self._paused_until = clock.now() + _SCHEDULE_WHEN_AWAY.pause_after(self._silences)

    def _reverse(self, attempt: RefundAttempt, refund: Refund) -> Acknowledged:
        if refund.amount_cents % CENTS_PER_SHILLING:
            raise Refused(
                "AMOUNT_NOT_WHOLE",
                "M-Pesa gives back whole shillings only. Return this sum by other means, and record that.",
            )
        assert refund.receipt is not None
        sign = self._vault.sign
        return self._daraja.reverse(
            receipt=refund.receipt,
            amount_shillings=Money(refund.amount_cents).shillings,
            remarks=f"Refund {refund.number} of session {attempt.session_id}",
            result_url=attempt.url(self._endpoints_url, sign, RefundMessageKind.REVERSAL_RESULT),
            timeout_url=attempt.url(self._endpoints_url, sign, RefundMessageKind.REVERSAL_TIMEOUT),
        )

    def _accept(self, attempt: RefundAttempt, acknowledged: Acknowledged) -> None:
        _log.info("refund_sent", session_id=str(attempt.session_id), refund=attempt.refund)
        originator_id = acknowledged.originator_conversation_id
        command = partial(
            PaymentSession.record_refund_acceptance,
            refund=attempt.refund,
            attempt_number=attempt.number,
            conversation_id=acknowledged.conversation_id or originator_id,
            originator_conversation_id=originator_id,
            at=clock.now(),
        )
        self._ledger.decide(attempt.session_id, command)

    def _fail(self, attempt: RefundAttempt, code: str, text: str) -> None:
        _log.warning("refund_refused", session_id=str(attempt.session_id), refund=attempt.refund, code=code)
        self._ledger.decide(attempt.session_id, attempt.failure(code, text, at=clock.now()))

    def _doubt(self, attempt: RefundAttempt, reason: str) -> None:
        _log.warning("refund_uncertain", session_id=str(attempt.session_id), refund=attempt.refund)
        self._ledger.decide(attempt.session_id, attempt.uncertainty(reason, at=clock.now()))
