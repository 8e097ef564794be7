"""The query log of refunds in doubt: when M-Pesa was last asked, and when it is asked next, for a time."""

from datetime import datetime

from ledger.store.database import Database
from payments.refunds.refund_attempt import RefundAttempt
from payments.retry_schedule import RetrySchedule

_MINUTE = 60
_HOUR = 60 * _MINUTE

QUERY_SCHEDULE = RetrySchedule.of_seconds(
    2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR
)
"""From one status check of a refund to the next; after the last, a person or the statement settles it."""

_NOTE_ASKED = """
INSERT INTO refund_checks (session_id, refund, sending, asked_at, tries, next_check_at, last_answer)
VALUES (%(session_id)s, %(refund)s, %(sending)s, %(now)s, %(tries)s, %(next_check_at)s, %(answer)s)
ON CONFLICT (session_id, refund, sending) DO UPDATE SET asked_at = excluded.asked_at, tries = excluded.tries,
    next_check_at = excluded.next_check_at, last_answer = excluded.last_answer
"""
_NOTE_ANSWER = """
UPDATE refund_checks SET last_answer = %s WHERE session_id = %s AND refund = %s AND sending = %s
"""


class RefundQueryLog:
    """The log of refund status checks. Losing it costs some checks, and no fact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_asked(self, attempt: RefundAttempt, *, tries: int, answer: str, now: datetime) -> None:
        """Note that an attempt was asked about for the `tries`th time, and M-Pesa's answer."""
        values = {
            "session_id": attempt.session_id,
            "refund": attempt.refund,
            "sending": attempt.number,
            "now": now,
            "tries": tries,
            "next_check_at": now + QUERY_SCHEDULE.pause_after(tries),
            "answer": answer,
        }
        with self._database.connection() as connection:
            connection.execute(_NOTE_ASKED, values)

    def note_answer(self, attempt: RefundAttempt, answer: str) -> None:
        """Note the result that M-Pesa reported for the last check of an attempt."""
        values = (answer, attempt.session_id, attempt.refund, attempt.number)
        with self._database.connection() as connection:
            connection.execute(_NOTE_ANSWER, values)
