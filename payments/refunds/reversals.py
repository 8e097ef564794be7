"""Sends approved refunds to M-Pesa. Each is written down before it is sent, and never sent again on silence."""

from datetime import datetime, timedelta

import structlog

from daraja import Acknowledged, DarajaClient, Refused, Retryable, Uncertain
from ledger import clock
from ledger.application import Ledger
from ledger.errors import Rejected, Unavailable
from ledger.money import CENTS_PER_SHILLING, Money
from ledger.session.values import Refund
from ledger.store.vault import Vault
from payments.inbox.callback_tokens import RefundMessageKind
from payments.refunds import queues
from payments.refunds.attempt import RefundAttempt, attempt_of
from payments.refunds.terms import RefundTerms
from payments.retry_schedule import RetrySchedule
from projections.refunds import UNSENT, PaymentRefund

PAUSE_AFTER_TROUBLE = timedelta(minutes=15)
"""How long nothing is sent by itself after M-Pesa refused our operator: too many tries would lock him."""

PAUSE_WHEN_AWAY = timedelta(seconds=30)
"""After M-Pesa took nothing, or said nothing; each silence in a row doubles it, up to PAUSE_AFTER_TROUBLE."""

_SCHEDULE_WHEN_AWAY = RetrySchedule.doubling(PAUSE_WHEN_AWAY, PAUSE_AFTER_TROUBLE)

LOOKED_AT = 50

_log = structlog.get_logger(__name__)


class RefundSender:
    """Takes the approved refunds to M-Pesa, one after the other."""

    def __init__(self, terms: RefundTerms, ledger: Ledger, vault: Vault, daraja: DarajaClient) -> None:
        self._endpoints_url = terms.endpoints_url
        self._ledger = ledger
        self._vault = vault
        self._daraja = daraja
        self._paused_until: datetime | None = None
        self._silences = 0

    def run(self) -> int:
        """Send the refund that has waited longest; return 1, or 0 where there is none to send now.

        One that cannot be sent is said and passed over: it must not keep the others.
        """
        now = clock.now()
        if self._paused_until is not None and now < self._paused_until:
            return 0
        database = self._ledger.database
        trouble_at = queues.trouble_with_operator(database, now - PAUSE_AFTER_TROUBLE)
        for row in queues.to_send(database, trouble_at=trouble_at, limit=LOOKED_AT):
            try:
                if self._send(row):
                    return 1
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - said here; what was requested is found in doubt, the rest met again
                _log.exception("refund_not_sent", session_id=str(row.session_id), refund=row.refund)
        return 0

    def _send(self, row: PaymentRefund) -> bool:
        """Send a refund, unless its row was late; return whether it was this process's to send."""
        try:
            session, _ = self._ledger.decide(
                row.session_id,
                lambda session: session.request_refund(row.refund, requested_by="worker", at=clock.now()),
            )
        except Rejected:
            return False
        refund = session.refunds[row.refund]
        sending = RefundAttempt(session.id, refund.number, attempt_of(refund))
        try:
            acknowledged = self._reverse(sending, refund)
        except Refused as refusal:
            self._fail(sending, refusal.code, refusal.message)
        except Retryable as refusal:
            self._fail(sending, UNSENT, refusal.message)
            wait = timedelta(seconds=refusal.retry_after_seconds or 0)
            self._paused_until = clock.now() + max(wait, PAUSE_WHEN_AWAY)
        except Uncertain as doubt:
            self._doubt(sending, doubt.code)
            self._pause_after_silence()
        else:
            self._silences = 0
            self._accept(sending, acknowledged)
        return True

    def _pause_after_silence(self) -> None:
        """Send nothing for a while: in an outage of hours every refund that is sent is one more in doubt."""
        self._silences += 1
        self._paused_until = clock.now() + _SCHEDULE_WHEN_AWAY.pause_after(self._silences)

    def _reverse(self, sending: RefundAttempt, refund: Refund) -> Acknowledged:
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
            remarks=f"Refund {refund.number} of session {sending.session_id}",
            result_url=sending.url(self._endpoints_url, sign, RefundMessageKind.REVERSAL_RESULT),
            timeout_url=sending.url(self._endpoints_url, sign, RefundMessageKind.REVERSAL_TIMEOUT),
        )

    def _accept(self, sending: RefundAttempt, acknowledged: Acknowledged) -> None:
        _log.info("refund_sent", session_id=str(sending.session_id), refund=sending.refund)
        name = acknowledged.conversation_id or acknowledged.originator_conversation_id
        sending.record(
            self._ledger,
            lambda session: session.record_refund_acceptance(
                sending.refund,
                conversation_id=name,
                originator_conversation_id=acknowledged.originator_conversation_id,
                at=clock.now(),
            ),
        )

    def _fail(self, sending: RefundAttempt, code: str, text: str) -> None:
        _log.warning("refund_refused", session_id=str(sending.session_id), refund=sending.refund, code=code)
        sending.record(
            self._ledger,
            lambda session: session.record_refund_failure(
                sending.refund, code=code, text=text, at=clock.now()
            ),
        )

    def _doubt(self, sending: RefundAttempt, reason: str) -> None:
        _log.warning("refund_uncertain", session_id=str(sending.session_id), refund=sending.refund)
        sending.record(
            self._ledger,
            lambda session: session.record_refund_uncertainty(sending.refund, reason=reason, at=clock.now()),
        )
