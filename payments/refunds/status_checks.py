"""Refund status checks: refunds without a result are put in doubt, and M-Pesa is asked about them, ever more rarely."""

from datetime import timedelta

import structlog

from daraja import DarajaClient, Refused, Retryable
from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.store.vault import Vault
from payments.inbox.callback_tokens import RefundMessageKind
from payments.refunds import queues
from payments.refunds.queues import RefundInDoubt
from payments.refunds.refund_attempt import RefundAttempt
from payments.refunds.reversals import PAUSE_AFTER_TROUBLE
from payments.refunds.status_check_log import RefundQueryLog
from payments.refunds.terms import RefundTerms

SENDER_IS_LOST_AFTER = timedelta(seconds=90)
"""Longer than any request may take: the process that sent the refund has died, and M-Pesa's answer is lost."""

RESULT_IS_LATE_AFTER = timedelta(minutes=10)
"""Results came after about 85 seconds where they were observed, and sometimes not at all."""

FIRST_GAP = timedelta(minutes=1)

PAYMENT_TELLS_AFTER = timedelta(minutes=15)
"""The status of the payment proves that it was not reversed only once a reversal would be complete."""

BATCH = 20

_log = structlog.get_logger(__name__)


class RefundStatusChecks:
    """Watches the refunds that are under way. Safe to repeat; of several workers one does it."""

    def __init__(
        self,
        terms: RefundTerms,
        ledger: Ledger,
        vault: Vault,
        query_log: RefundQueryLog,
        daraja: DarajaClient,
    ) -> None:
        self._endpoints_url = terms.endpoints_url
        self._ledger = ledger
        self._vault = vault
        self._query_log = query_log
        self._daraja = daraja

    def put_in_doubt(self) -> int:
        """Put refunds in doubt whose answer or result is overdue; return how many."""
        now = clock.now()
        rows = queues.unanswered(
            self._ledger,
            lost_before=now - SENDER_IS_LOST_AFTER,
            late_before=now - RESULT_IS_LATE_AFTER,
            limit=BATCH,
        )
        doubted = 0
        for row in rows:
            reason = "SENDER_LOST" if row.conversation_id is None else "RESULT_LATE"
            attempt = RefundAttempt(row.session_id, row.refund, row.attempt_number)
            # The row may be late: only what is news to the session counts as done.
            _, is_news = self._ledger.decide(row.session_id, attempt.uncertainty(reason, at=clock.now()))
            if is_news:
                doubted += 1
                _log.warning(
                    "refund_in_doubt", session_id=str(row.session_id), refund=row.refund, reason=reason
                )
        return doubted

    def ask(self) -> int:
        """Ask M-Pesa about the refunds in doubt that are due for it; return how many.

        Nothing is asked for a while after M-Pesa refused the initiator, because errors would lock it.
        """
        now = clock.now()
        if queues.initiator_trouble_at(self._ledger, since=now - PAUSE_AFTER_TROUBLE) is not None:
            return 0
        rows = queues.to_ask_about(
            self._ledger, now, first_gap=FIRST_GAP, settled_before=now - PAYMENT_TELLS_AFTER, limit=BATCH
        )
        for row in rows:
            try:
                self._ask(row)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - logged here, tried again in the next round
                _log.exception("refund_not_queried", session_id=str(row.refund.session_id))
        return len(rows)

    def _ask(self, in_doubt: RefundInDoubt) -> None:
        row, tries = in_doubt.refund, in_doubt.tries + 1
        attempt = RefundAttempt(row.session_id, row.refund, row.attempt_number)
        sign = self._vault.sign
        answer = "asked"
        # Noted first: one query too many is harmless, but a crash must not repeat it every second.
        self._query_log.note_asked(attempt, tries=tries, answer=answer, now=clock.now())
        try:
            self._daraja.transaction_status(
                **self._transaction(in_doubt),
                remarks=f"Refund {row.refund} of session {row.session_id}",
                result_url=attempt.url(self._endpoints_url, sign, RefundMessageKind.STATUS_RESULT),
                timeout_url=attempt.url(self._endpoints_url, sign, RefundMessageKind.STATUS_TIMEOUT),
            )
        except (Refused, Retryable) as refusal:
            answer = refusal.code
            self._query_log.note_asked(attempt, tries=tries, answer=answer, now=clock.now())
        _log.info("refund_queried", session_id=str(row.session_id), refund=row.refund, answer=answer)

    def _transaction(self, in_doubt: RefundInDoubt) -> dict[str, str]:
        """Return what to ask about: in turns the reversal, by its conversation id, and the payment, by its receipt."""
        row = in_doubt.refund
        assert row.requested_at is not None
        payment_tells = clock.now() - row.requested_at >= PAYMENT_TELLS_AFTER
        if row.conversation_id is not None and not (payment_tells and in_doubt.tries % 2 == 1):
            return {"original_conversation_id": row.conversation_id}
        assert row.receipt is not None
        return {"receipt": row.receipt}
