"""Refunds of which M-Pesa's word does not come: they are put in doubt, and asked about, ever more rarely."""

from datetime import timedelta

import structlog

from daraja import DarajaClient, Refused, Retryable
from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.store.vault import Vault
from payments.inbox.callback_tokens import RefundMessageKind
from payments.refunds import queues
from payments.refunds.attempt import RefundAttempt
from payments.refunds.queues import InDoubt
from payments.refunds.reversals import PAUSE_AFTER_TROUBLE
from payments.refunds.status_check_log import RefundQueryLog
from payments.refunds.terms import RefundTerms

SENDER_IS_LOST_AFTER = timedelta(seconds=90)
"""Longer than any request may take: whoever was sending this is gone, and M-Pesa's answer with it."""

RESULT_IS_LATE_AFTER = timedelta(minutes=10)
"""Results came after about 85 seconds where they were watched, and sometimes not at all."""

FIRST_GAP = timedelta(minutes=1)

PAYMENT_TELLS_AFTER = timedelta(minutes=15)
"""What M-Pesa says of the payment itself proves that it was not reversed only once a reversal would be done."""

BATCH = 20

_log = structlog.get_logger(__name__)


class RefundStatusChecks:
    """Watches the refunds that are under way. Safe to repeat; of several workers one does it."""

    def __init__(
        self, terms: RefundTerms, ledger: Ledger, vault: Vault, checks: RefundQueryLog, daraja: DarajaClient
    ) -> None:
        self._endpoints_url = terms.endpoints_url
        self._ledger = ledger
        self._vault = vault
        self._checks = checks
        self._daraja = daraja

    def put_in_doubt(self) -> int:
        """Write down which refunds have waited too long for M-Pesa's word; return how many."""
        now = clock.now()
        rows = queues.unanswered(
            self._ledger.database,
            lost_before=now - SENDER_IS_LOST_AFTER,
            late_before=now - RESULT_IS_LATE_AFTER,
            limit=BATCH,
        )
        doubted = 0
        for row in rows:
            reason = "SENDER_LOST" if row.conversation_id is None else "RESULT_LATE"
            sending = RefundAttempt(row.session_id, row.refund, row.failures + 1)
            doubted += self._doubt(sending, reason)
        return doubted

    def ask(self) -> int:
        """Ask M-Pesa what became of the refunds in doubt whose turn it is; return how many were asked about.

        Nothing is asked for a while after M-Pesa refused our operator, who would be locked.
        """
        now, database = clock.now(), self._ledger.database
        if queues.trouble_with_operator(database, now - PAUSE_AFTER_TROUBLE) is not None:
            return 0
        rows = queues.to_ask_about(
            database, now, first_gap=FIRST_GAP, settled_before=now - PAYMENT_TELLS_AFTER, limit=BATCH
        )
        for row in rows:
            try:
                self._ask(row)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - said here, met again in the next round
                _log.exception("refund_not_asked_about", session_id=str(row.refund.session_id))
        return len(rows)

    def _doubt(self, sending: RefundAttempt, reason: str) -> bool:
        """Put a refund in doubt; return whether that is news: its row may be late, and must not keep us busy."""

        def command(session: PaymentSession) -> bool:
            if not sending.is_under_way(session) or session.refunds[sending.refund].in_doubt:
                return False
            session.record_refund_uncertainty(sending.refund, reason=reason, at=clock.now())
            return True

        _, is_news = self._ledger.decide(sending.session_id, command)
        if is_news:
            _log.warning(
                "refund_in_doubt", session_id=str(sending.session_id), refund=sending.refund, reason=reason
            )
        return is_news

    def _ask(self, doubt: InDoubt) -> None:
        row = doubt.refund
        sending = RefundAttempt(row.session_id, row.refund, row.failures + 1)
        sign = self._vault.sign
        answer = "asked"
        # Written down first: a question too many is harmless, and a crash must not make it one a second.
        self._note(sending, doubt.tries + 1, answer)
        try:
            self._daraja.transaction_status(
                **self._handle(doubt),
                remarks=f"Refund {row.refund} of session {row.session_id}",
                result_url=sending.url(self._endpoints_url, sign, RefundMessageKind.STATUS_RESULT),
                timeout_url=sending.url(self._endpoints_url, sign, RefundMessageKind.STATUS_TIMEOUT),
            )
        except (Refused, Retryable) as refusal:
            answer = refusal.code
            self._note(sending, doubt.tries + 1, answer)
        _log.info("refund_asked_about", session_id=str(row.session_id), refund=row.refund, answer=answer)

    def _handle(self, doubt: InDoubt) -> dict[str, str]:
        """Return what to ask by: the reversal's own id and the payment's receipt in turns, as far as they tell."""
        row = doubt.refund
        assert row.requested_at is not None
        payment_tells = clock.now() - row.requested_at >= PAYMENT_TELLS_AFTER
        by_payment = row.conversation_id is None or (payment_tells and doubt.tries % 2 == 1)
        if by_payment:
            assert row.receipt is not None
            return {"receipt": row.receipt}
        assert row.conversation_id is not None
        return {"original_conversation_id": row.conversation_id}

    def _note(self, sending: RefundAttempt, tries: int, answer: str) -> None:
        self._checks.note_asked(
            sending.session_id, sending.refund, sending.number, tries=tries, answer=answer, now=clock.now()
        )
