"""How often M-Pesa was asked about a refund in doubt, and when to ask again: ever more rarely, and not for ever."""

from datetime import datetime
from uuid import UUID

from ledger.store.database import Database
from payments.retry_schedule import RetrySchedule

_MINUTE = 60
_HOUR = 60 * _MINUTE

QUERY_SCHEDULE = RetrySchedule.of_seconds(
    2 * _MINUTE, 5 * _MINUTE, 10 * _MINUTE, 30 * _MINUTE, 2 * _HOUR, 6 * _HOUR, 12 * _HOUR, 24 * _HOUR
)
"""From one question about a refund to the next; after the last one a person or the statement must tell."""

_NOTE_ASKED = """
INSERT INTO refund_checks (session_id, refund, sending, asked_at, tries, next_check_at, last_answer)
VALUES (%(session_id)s, %(refund)s, %(sending)s, %(now)s, %(tries)s, %(next_check_at)s, %(answer)s)
ON CONFLICT (session_id, refund, sending) DO UPDATE SET asked_at = excluded.asked_at, tries = excluded.tries,
    next_check_at = excluded.next_check_at, last_answer = excluded.last_answer
"""
_NOTE_ANSWER = """
UPDATE refund_checks SET last_answer = %s WHERE session_id = %s AND refund = %s AND sending = %s
"""
_ANSWERED_SINCE = "SELECT FROM refund_checks WHERE asked_at > %s AND last_answer = ANY(%s) LIMIT 1"
_FORGET = "DELETE FROM refund_checks WHERE asked_at <= %s"


class RefundQueryLog:
    """The notes of whoever asks M-Pesa about refunds. Losing them costs some questions, never a fact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def note_asked(
        self, session_id: UUID, refund: int, sending: int, *, tries: int, answer: str, now: datetime
    ) -> None:
        """Write down that a refund was asked about for the `tries`th time, and how that went."""
        values = {
            "session_id": session_id,
            "refund": refund,
            "sending": sending,
            "now": now,
            "tries": tries,
            "next_check_at": now + QUERY_SCHEDULE.pause_after(tries),
            "answer": answer,
        }
        with self._database.connection() as connection:
            connection.execute(_NOTE_ASKED, values)

    def note_answer(self, session_id: UUID, refund: int, sending: int, answer: str) -> None:
        """Write down what M-Pesa said in the end."""
        with self._database.connection() as connection:
            connection.execute(_NOTE_ANSWER, (answer, session_id, refund, sending))

    def was_answered_since(self, moment: datetime, *answers: str) -> bool:
        """Whether a question that was asked after a moment had one of these answers."""
        with self._database.connection() as connection:
            return connection.execute(_ANSWERED_SINCE, (moment, list(answers))).rowcount > 0

    def forget_before(self, moment: datetime) -> int:
        """Remove notes on questions that were asked long ago; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_FORGET, (moment,)).rowcount
