"""The log of imported statements, and what each of them found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.store.database import Database

_ADD = """
INSERT INTO reconciliations (reconciliation_id, started_at, finished_at, file_sha256, found) VALUES (%s, %s, %s, %s, %s)
"""
_COLUMNS = "SELECT reconciliation_id, started_at, finished_at, file_sha256, found FROM reconciliations"
_ONE = _COLUMNS + " WHERE reconciliation_id = %s"
_COUNT = "SELECT count(*) AS count FROM reconciliations WHERE finished_at <= %s"
_PAGE = _COLUMNS + " WHERE finished_at <= %s ORDER BY started_at DESC, reconciliation_id LIMIT %s OFFSET %s"


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One import: when, of which file, and what it found, as JSON."""

    reconciliation_id: UUID
    started_at: datetime
    finished_at: datetime
    file_sha256: str
    found: dict[str, Any]


class Reconciliations:
    """The table of completed imports."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, reconciliation: Reconciliation) -> None:
        """Store a completed import."""
        with self._database.connection() as connection:
            connection.execute(
                _ADD,
                (
                    reconciliation.reconciliation_id,
                    reconciliation.started_at,
                    reconciliation.finished_at,
                    reconciliation.file_sha256,
                    Jsonb(reconciliation.found),
                ),
            )

    def find(self, reconciliation_id: UUID) -> Reconciliation | None:
        """Return one import, or None."""
        with self._database.connection() as connection:
            row = connection.execute(_ONE, (reconciliation_id,)).fetchone()
        return Reconciliation(**row) if row else None

    def page(self, *, limit: int, offset: int, as_of: datetime) -> tuple[int, list[Reconciliation]]:
        """Return (how many there were at a moment, those of a page), the latest first."""
        with self._database.connection() as connection:
            counted = connection.execute(_COUNT, (as_of,)).fetchone()
            rows = connection.execute(_PAGE, (as_of, limit, offset)).fetchall()
        assert counted is not None
        return counted["count"], [Reconciliation(**row) for row in rows]
