"""The status poller: queries M-Pesa about attempts whose callback has not come, ever more rarely."""

from datetime import datetime, timedelta
from functools import partial
from threading import Event

import structlog

from ledger import clock
from ledger.application import Ledger
from ledger.errors import Unavailable
from ledger.session.session import PaymentSession
from ledger.session.values import Attempt, AttemptState
from payments.confirmation.query_log import QueryLog
from payments.confirmation.status_query import MAX_ROUND, StatusQueries
from payments.thread_groups import act_in_groups
from projections import sessions
from projections.sessions import DueSession

ANSWER_IS_LOST_AFTER = timedelta(seconds=90)
"""Longer than any push may take: the process that sent the attempt has died, and M-Pesa's answer is lost."""

BATCH = 50

NOT_ASKED = "not_asked"
"""The answer that is noted if an error of ours kept us from asking M-Pesa."""

_log = structlog.get_logger(__name__)


class StatusPoller:
    """Queries the status of open attempts that are due, of `max_workers` sessions at once, and records the answers."""

    def __init__(
        self,
        ledger: Ledger,
        status_queries: StatusQueries,
        query_log: QueryLog,
        *,
        first_query_seconds: int,
        max_workers: int,
    ) -> None:
        self._max_workers = max_workers
        self._first_query_seconds = first_query_seconds
        self._ledger = ledger
        self._status_queries = status_queries
        self._query_log = query_log

    def run(self) -> int:
        """Look at the attempts that are due; return how many were looked at.

        One that fails is logged and due again later, so it does not hold up the others.
        """
        now = clock.now()
        looked_at = act_in_groups(
            partial(self._look_at_session, now=now, limited=Event()),
            sessions.open_attempts_due(self._ledger.database, now, self._first_query_seconds, BATCH),
            lambda row: row.session_id,
            self._max_workers,
            begins_before=now + MAX_ROUND,
        )
        return sum(looked_at)

    def _look_at_session(self, row: DueSession, *, now: datetime, limited: Event) -> int:
        """Look at the attempts of a session that are due, and return at how many.

        Once the rate limit allows no query, `limited` is set: it holds for every other attempt that is due, too.
        """
        if limited.is_set():
            return 0
        try:
            session = self._ledger.session(row.session_id)
        except Unavailable:
            raise
        except Exception:  # noqa: BLE001 - logged here, tried again when it is due again
            _log.exception("session_not_queried", session_id=str(row.session_id))
            self._note_unreadable(row)
            return 0
        waiting, looked_at = self._query_log.waiting(session.id, now), 0
        for attempt in session.open_attempts:
            if attempt.number not in waiting:
                if not self._look_at(session, attempt):
                    limited.set()
                    break
                looked_at += 1
        return looked_at

    def _look_at(self, session: PaymentSession, attempt: Attempt) -> bool:
        """Query an attempt; return False if the rate limit does not allow it now."""
        if attempt.checkout_sealed is None:
            answer = "no_handle"
            self._record_lost_answer(session, attempt)
        else:
            try:
                verdict = self._status_queries.ask(session, attempt)
            except Unavailable:
                raise
            except Exception:  # noqa: BLE001 - as above; an erased customer's CheckoutRequestID cannot be decrypted
                _log.exception("attempt_not_queried", session_id=str(session.id), attempt=attempt.number)
                answer = NOT_ASKED
            else:
                if verdict is None:
                    return False
                answer = verdict.kind
                _log.info(
                    "attempt_queried", session_id=str(session.id), attempt=attempt.number, answer=answer
                )
        self._query_log.note_asked(session.id, attempt.number, answer=answer, now=clock.now())
        return True

    def _note_unreadable(self, row: DueSession) -> None:
        """Note a query for as many attempts as are open: without the session, it is unknown which they are."""
        for number in range(row.attempts - row.open_attempts + 1, row.attempts + 1):
            self._query_log.note_asked(row.session_id, number, answer=NOT_ASKED, now=clock.now())

    def _record_lost_answer(self, session: PaymentSession, attempt: Attempt) -> None:
        """Put an attempt without a CheckoutRequestID in doubt: only the URL of its callback can settle it."""
        now = clock.now()
        if attempt.state == AttemptState.REQUESTED and now - attempt.requested_at >= ANSWER_IS_LOST_AFTER:
            command = partial(
                PaymentSession.record_uncertainty, attempt=attempt.number, reason="SENDER_LOST", at=now
            )
            self._ledger.decide(session.id, command)
