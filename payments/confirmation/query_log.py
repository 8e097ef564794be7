"""The query log of open attempts: when each was last queried and is queried next, ever more rarely."""

from datetime import datetime
from uuid import UUID

from ledger.store.database import Database
from payments.retry_schedule import RetrySchedule

QUERY_SCHEDULE = RetrySchedule.of_seconds(15, 15, 20, 20, 60, 120, 300, 600, 1800, 3600)
"""The pauses between the queries of an attempt; the last one repeats for as long as it is open.

Five queries come within the first minute and a half: a prompt lives for one minute, so its outcome is known by then,
with a callback or without.
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


class QueryLog:
    """The log of status queries. Losing it costs some queries, and no fact."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def was_asked_since(self, session_id: UUID, attempt: int, moment: datetime) -> bool:
        """Whether the attempt was queried after a moment."""
        with self._database.connection() as connection:
            return bool(connection.execute(_ASKED_SINCE, (session_id, attempt, moment)).rowcount)

    def waiting(self, session_id: UUID, now: datetime) -> set[int]:
        """Return the attempts of a session that are not due for a query yet."""
        with self._database.connection() as connection:
            return {row["attempt"] for row in connection.execute(_WAITING, (session_id, now)).fetchall()}

    def note_asked(self, session_id: UUID, attempt: int, *, answer: str, now: datetime) -> None:
        """Note a query of an attempt and its answer; the next is due after the next pause of the schedule."""
        with self._database.connection() as connection:
            row = connection.execute(_TRIES, (session_id, attempt)).fetchone()
        tries = (row["tries"] if row else 0) + 1
        next_check_at = now + QUERY_SCHEDULE.pause_after(tries)
        self.note(session_id, attempt, tries=tries, next_check_at=next_check_at, answer=answer, now=now)

    def note_in_between(self, session_id: UUID, attempt: int, *, answer: str, now: datetime) -> None:
        """Note a query for an unauthenticated callback; the next scheduled one is due when it was."""
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
        """Note how often an attempt was queried, the last answer, and when the next query is due."""
        with self._database.connection() as connection:
            connection.execute(_NOTE, (session_id, attempt, now, tries, next_check_at, answer))
