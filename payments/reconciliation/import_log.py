"""The log of imported statements, and what each of them found, with a MAC that the database cannot make."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from ledger.store.listing import Key, Listing, Place
from ledger.store.movement_macs import is_signed, sign

_KIND = "daftari statement report v1"
_ADD = """
INSERT INTO reconciliations (reconciliation_id, started_at, finished_at, file_sha256, found, mac)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_COLUMNS = "reconciliation_id, started_at, finished_at, file_sha256, found, mac, is_from_before"
_ONE = f"SELECT {_COLUMNS} FROM reconciliations WHERE reconciliation_id = %s"  # noqa: S608 - made of a constant
_ROWS = "SELECT started_at, reconciliation_id FROM reconciliations WHERE finished_at <= %(as_of)s"
_LATEST = Listing("reconciliations", _COLUMNS, ("started_at", "reconciliation_id"), _ROWS)


@dataclass(frozen=True, slots=True)
class Reconciliation:
    """One import: when, of which file, and what it found, as JSON; a forged one found nothing."""

    reconciliation_id: UUID
    started_at: datetime
    finished_at: datetime
    file_sha256: str
    found: dict[str, Any]
    is_genuine: bool = True

    @property
    def key(self) -> Key:
        """Its place in a list."""
        return self.started_at, self.reconciliation_id


InCommit = Callable[[Connection[Any], Reconciliation], None]
"""What is stored with a report, in its commit."""


class Reconciliations:
    """The table of completed imports."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    def add(self, reconciliation: Reconciliation, also: InCommit = lambda _, __: None) -> None:
        """Store a completed import, and in the same commit what `also` stores."""
        mac = sign(self._keys, _KIND, _facts(reconciliation))
        with self._database.transaction() as connection:
            connection.execute(
                _ADD,
                (
                    reconciliation.reconciliation_id,
                    reconciliation.started_at,
                    reconciliation.finished_at,
                    reconciliation.file_sha256,
                    Jsonb(reconciliation.found),
                    mac,
                ),
            )
            also(connection, reconciliation)

    def find(self, reconciliation_id: UUID) -> Reconciliation | None:
        """Return one import, or None."""
        with self._database.connection() as connection:
            row = connection.execute(_ONE, (reconciliation_id,)).fetchone()
        return self._read(row) if row else None

    def page(self, place: Place) -> tuple[int, list[Reconciliation]]:
        """Return (how many there were as of the place, those of a page), the latest first, forged ones too."""
        with self._database.connection() as connection:
            count, rows = _LATEST.read(connection, place, {})
        return count, list(map(self._read, rows))

    def _read(self, row: dict[str, Any]) -> Reconciliation:
        names = Reconciliation.__dataclass_fields__.keys() & row.keys()
        found = Reconciliation(**{name: row[name] for name in names})
        is_genuine = is_signed(self._keys, row, _KIND, _facts(found))
        return found if is_genuine else replace(found, found={}, is_genuine=False)


def _facts(report: Reconciliation) -> list[Any]:
    moments = (moment.astimezone(UTC).isoformat() for moment in (report.started_at, report.finished_at))
    return [str(report.reconciliation_id), *moments, report.file_sha256, report.found]
