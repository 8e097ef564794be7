"""How often the order of a paid session could not be made, and when to give it up."""

from datetime import datetime, timedelta
from uuid import UUID

from ledger.store.database import Database

MAX_FAILURES = 8
GIVE_UP_AFTER = timedelta(minutes=2)
"""An order is given up at its MAX_FAILURES-th failure or a later one, and not before this long after its first."""

_COUNT = """
INSERT INTO order_failures AS known (session_id, failures, error, first_failed_at, last_failed_at)
VALUES (%(session_id)s, 1, %(error)s, %(now)s, %(now)s)
ON CONFLICT (session_id) DO UPDATE
SET failures = known.failures + 1, error = excluded.error, last_failed_at = excluded.last_failed_at
RETURNING failures, first_failed_at
"""


class OrderFailures:
    """Counts the failures of every process together. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def count(self, session_id: UUID, error: str, now: datetime) -> bool:
        """Count a failure of a session's order, for which `error` is a word; return whether to give the order up."""
        values = {"session_id": session_id, "error": error, "now": now}
        with self._database.connection() as connection:
            [row] = connection.execute(_COUNT, values).fetchall()
        return bool(row["failures"] >= MAX_FAILURES and now - row["first_failed_at"] >= GIVE_UP_AFTER)
