"""Up to when M-Pesa's list of transactions was pulled, and the gaps that can be pulled no more."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from ledger.store.database import Database

_READ = "SELECT pulled_until, next_at FROM pull_progress WHERE shortcode = %s"
_PUT_OFF = """
INSERT INTO pull_progress (shortcode, pulled_until, next_at) VALUES (%s, NULL, %s)
ON CONFLICT (shortcode) DO UPDATE SET next_at = excluded.next_at
"""
_DONE = """
INSERT INTO pull_progress (shortcode, pulled_until, next_at) VALUES (%s, %s, %s)
ON CONFLICT (shortcode) DO UPDATE SET
    pulled_until = greatest(pull_progress.pulled_until, excluded.pulled_until), next_at = excluded.next_at
"""
_ADD_GAP = "INSERT INTO pull_gaps (gap_id, since, until, found_at) VALUES (%s, %s, %s, %s)"
_GAPS = "SELECT gap_id, since, until, found_at FROM pull_gaps WHERE closed_at IS NULL ORDER BY since"
_CLOSE_GAP = "UPDATE pull_gaps SET closed_at = %s, closed_by = %s WHERE gap_id = %s AND closed_at IS NULL"
_CLOSE_GAPS = """
UPDATE pull_gaps SET closed_at = %s, closed_by = %s WHERE closed_at IS NULL AND since >= %s AND until <= %s
"""


@dataclass(frozen=True, slots=True)
class PullGap:
    """A period that was never pulled, and that M-Pesa lists no more. A statement that covers it closes it."""

    gap_id: UUID
    since: datetime
    until: datetime
    found_at: datetime


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Up to when the list was pulled, None before the first time, and when to pull again."""

    pulled_until: datetime | None
    next_at: datetime | None


class PullProgressStore:
    """The table of the progress of the hourly pull, and that of its gaps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def progress(self, shortcode: str) -> PullProgress:
        """Return the progress of a shortcode."""
        with self._database.connection() as connection:
            row = connection.execute(_READ, (shortcode,)).fetchone()
        return PullProgress(**row) if row else PullProgress(None, None)

    def put_off(self, shortcode: str, until: datetime) -> None:
        """Store when to pull again after a pull that failed or was incomplete."""
        with self._database.connection() as connection:
            connection.execute(_PUT_OFF, (shortcode, until))

    def done(
        self,
        shortcode: str,
        pulled_until: datetime,
        next_at: datetime,
        *,
        gap: tuple[datetime, datetime] | None = None,
    ) -> None:
        """Store that everything up to a moment was pulled and matched, except for a gap."""
        with self._database.transaction() as connection:
            connection.execute(_DONE, (shortcode, pulled_until, next_at))
            if gap is not None:
                connection.execute(_ADD_GAP, (uuid4(), *gap, pulled_until))

    def gaps(self) -> list[PullGap]:
        """Return the open gaps, the oldest first."""
        with self._database.connection() as connection:
            return [PullGap(**row) for row in connection.execute(_GAPS).fetchall()]

    def close_gap(self, gap_id: UUID, *, closed_by: str, now: datetime) -> bool:
        """Close one gap for an operator; return whether it was open."""
        with self._database.connection() as connection:
            return connection.execute(_CLOSE_GAP, (now, closed_by, gap_id)).rowcount == 1

    def close_gaps_within(self, since: datetime, until: datetime, *, closed_by: str, now: datetime) -> int:
        """Close the gaps within a period that a statement covers; return how many."""
        with self._database.connection() as connection:
            return connection.execute(_CLOSE_GAPS, (now, closed_by, since, until)).rowcount
