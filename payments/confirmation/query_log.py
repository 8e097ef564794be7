"""How often M-Pesa was asked about an attempt, and when to ask again: ever more rarely, for as long as it is open."""

from datetime import datetime
from uuid import UUID

from ledger.store.database import Database
from payments.retry_schedule import RetrySchedule

QUERY_SCHEDULE = RetrySchedule.of_seconds(15, 15, 20, 20, 60, 120, 300, 600, 1800, 3600)
"""From one question about an attempt to the next; the last one for as long as there is something to ask.

Five questions within the first minute and a half: a prompt lives for one minute, so whatever its buyer did is known by
then, callback or not.
"""

_ASKED_SINCE = "SELECT FROM attempt_checks WHERE session_id = %s AND attempt = %s AND asked_at > %s"
_TRIES = "SELECT tries FROM attempt_checks WHERE session_id = %s AND attempt = %s"
_NOTE = """
INSERT INTO attempt_checks (session_id, attempt, asked_at, tries, next_check_at, last_answer)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (session_id, attempt) DO UPDATE SET asked_at = excluded.asked_at, tries = excluded.tries,
    next_check_at = excluded.next_check_at, last_answer = excluded.last_answer
"""
_NOTE_IN_BETWEEN = """
INSERT INTO attempt_checks (session_id, attempt, asked_at, tries, next_check_at, last_answer)
VALUES (%s, %s, %s, 0, %s, %s)
ON CONFLICT (session_id, attempt) DO UPDATE SET asked_at = excluded.asked_at, last_answer = excluded.last_answer
"""
_WAITING = "SELECT attempt FROM attempt_checks WHERE session_id = %s AND next_check_at > %s"
_FORGET = "DELETE FROM attempt_checks WHERE next_check_at <= %s"


class QueryLog:
    """The notes of whoever asks M-Pesa about attempts. Losing them costs a question, never a fact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def was_asked_since(self, session_id: UUID, attempt: int, moment: datetime) -> bool:
        """Whether M-Pesa was asked about the attempt after a moment."""
        with self._database.connection() as connection:
            return bool(connection.execute(_ASKED_SINCE, (session_id, attempt, moment)).rowcount)

    def waiting(self, session_id: UUID, now: datetime) -> set[int]:
        """Return the attempts of a session whose next look is still to come."""
        with self._database.connection() as connection:
            return {row["attempt"] for row in connection.execute(_WAITING, (session_id, now)).fetchall()}

    def note_asked(self, session_id: UUID, attempt: int, *, answer: str, now: datetime) -> None:
        """Write down that the attempt was looked at, what came of it, and that it wants a look after the next gap."""
        with self._database.connection() as connection:
            row = connection.execute(_TRIES, (session_id, attempt)).fetchone()
        tries = (row["tries"] if row else 0) + 1
        next_check_at = now + QUERY_SCHEDULE.pause_after(tries)
        self.note(session_id, attempt, tries=tries, next_check_at=next_check_at, answer=answer, now=now)

    def note_in_between(self, session_id: UUID, attempt: int, *, answer: str, now: datetime) -> None:
        """Write down that somebody's hint made us ask; when the attempt's turn comes stays as it was."""
        with self._database.connection() as connection:
            connection.execute(_NOTE_IN_BETWEEN, (session_id, attempt, now, now, answer))

    def note(
        self,
        session_id: UUID,
        attempt: int,
        *,
        tries: int,
        next_check_at: datetime,
        answer: str,
        now: datetime,
    ) -> None:
        """Write down how often the attempt was looked at, what came of it, and when to look again."""
        with self._database.connection() as connection:
            connection.execute(_NOTE, (session_id, attempt, now, tries, next_check_at, answer))

    def forget_before(self, moment: datetime) -> int:
        """Remove notes whose next check is long past, because their attempts have ended; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_FORGET, (moment,)).rowcount
