"""The log of imported statements, and what each of them found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.store.database import Database
from ledger.store.listing import Key, Listing, Place

_ADD = """
INSERT INTO reconciliations (reconciliation_id, started_at, finished_at, file_sha256, found) VALUES (%s, %s, %s, %s, %s)
"""
_COLUMNS = "reconciliation_id, started_at, finished_at, file_sha256, found"
_ONE = f"SELECT {_COLUMNS} FROM reconciliations WHERE reconciliation_id = %s"  # noqa: S608 - made of a constant
_ROWS = "SELECT started_at, reconciliation_id FROM reconciliations WHERE finished_at <= %(as_of)s"
_LATEST = Listing("reconciliations", _COLUMNS, ("started_at", "reconciliation_id"), _ROWS)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One import: when, of which file, and what it found, as JSON."""

    reconciliation_id: UUID
    started_at: datetime
    finished_at: datetime
    file_sha256: str
    found: dict[str, Any]

    @property
    def key(self) -> Key:
        """Its place in a list."""
        return self.started_at, self.reconciliation_id


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

    def page(self, place: Place) -> tuple[int, list[Reconciliation]]:
        """Return (how many there were as of the place, those of a page), the latest first."""
        with self._database.connection() as connection:
            count, rows = _LATEST.read(connection, place, {})
        return count, [Reconciliation(**row) for row in rows]
