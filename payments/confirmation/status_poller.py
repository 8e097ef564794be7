"""The query ladder: ask M-Pesa about attempts whose callback has not come, gently and ever more rarely."""

from datetime import datetime, timedelta

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState
from payments.confirmation.query_log import QueryLog
from payments.confirmation.stk_callback import Settlement
from projections import sessions
from projections.sessions import DueSession

ANSWER_IS_LOST_AFTER = timedelta(seconds=90)
"""Longer than any push may take: whoever was sending this attempt is gone, and its answer with it."""

BATCH = 50

NOT_ASKED = "not_asked"
"""The answer that is noted where a fault of ours kept M-Pesa from being asked."""

_log = structlog.get_logger(__name__)


class StatusPoller:
    """Asks about open attempts that are due, and writes down what is known by then."""

    def __init__(
        self, ledger: Ledger, settlement: Settlement, checks: QueryLog, *, first_query_seconds: int
    ) -> None:
        self._first_query_seconds = first_query_seconds
        self._ledger = ledger
        self._settlement = settlement
        self._checks = checks

    def run(self) -> int:
        """Look at the attempts that are due; return how many were looked at.

        What cannot be looked at is said, and waits for its next turn like the rest: it must not keep the others from
        their answer.
        """
        now, looked_at = clock.now(), 0
        for row in sessions.open_attempts_due(self._ledger.database, now, self._first_query_seconds, BATCH):
            try:
                session = self._ledger.session(row.session_id)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - said here, met again at its next turn
                _log.exception("session_not_asked_about", session_id=str(row.session_id))
                self._put_off(row)
                continue
            waiting = self._checks.waiting(session.id, now)
            for attempt in session.open_attempts:
                if attempt.number not in waiting:
                    if not self._look_at(session, attempt):
                        return looked_at  # M-Pesa may not be asked at this moment, about whatever else is due either.
                    looked_at += 1
        return looked_at

    def _look_at(self, session: PaymentSession, attempt: Attempt) -> bool:
        """Return whether there was anything to be done: not where M-Pesa may not be asked at this moment."""
        if attempt.checkout_sealed is None:
            self._no_handle(session, attempt, clock.now())
            return True
        try:
            verdict = self._settlement.settle_by_query(session, attempt)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - as above; an erased customer's attempt has no name that could be asked by
            _log.exception("attempt_not_asked_about", session_id=str(session.id), attempt=attempt.number)
            self._checks.note_asked(session.id, attempt.number, answer=NOT_ASKED, now=clock.now())
            return True
        if verdict is None:
            return False
        self._checks.note_asked(session.id, attempt.number, answer=verdict.kind, now=clock.now())
        _log.info(
            "attempt_asked_about", session_id=str(session.id), attempt=attempt.number, answer=verdict.kind
        )
        return True

    def _put_off(self, row: DueSession) -> None:
        """Note a look at as many attempts as are open; which they are cannot be read."""
        for number in range(row.attempts - row.open_attempts + 1, row.attempts + 1):
            self._checks.note_asked(row.session_id, number, answer=NOT_ASKED, now=clock.now())

    def _no_handle(self, session: PaymentSession, attempt: Attempt, now: datetime) -> None:
        """Without M-Pesa's id there is nothing to ask by: only the callback's own URL can settle the attempt."""
        lost = now - attempt.requested_at >= ANSWER_IS_LOST_AFTER
        if attempt.state == AttemptState.REQUESTED and lost:
            self._ledger.decide(
                session.id,
                lambda session: session.record_uncertainty(
                    attempt.number, reason="SENDER_LOST", at=clock.now()
                ),
            )
        self._checks.note_asked(session.id, attempt.number, answer="no_handle", now=now)
