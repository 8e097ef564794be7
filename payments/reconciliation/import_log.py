"""The log of imported statements, and what each of them found, with a MAC that the database cannot make."""

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from ledger.store.canonical import canonical_json
from ledger.store.database import Database
from ledger.store.key_ring import MOVEMENTS, KeyRing
from ledger.store.listing import Key, Listing, Place

_FORMAT = "daftari statement report v1"
_NUMBER = re.compile(r"[0-9]{1,10}", re.ASCII)
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
        key_id, key = self._keys.current(MOVEMENTS)
        with self._database.transaction() as connection:
            connection.execute(
                _ADD,
                (
                    reconciliation.reconciliation_id,
                    reconciliation.started_at,
                    reconciliation.finished_at,
                    reconciliation.file_sha256,
                    Jsonb(reconciliation.found),
                    _mac(key_id, key, reconciliation),
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
        mac, is_from_before = row.pop("mac"), row.pop("is_from_before")
        found = Reconciliation(**row)
        is_genuine = is_from_before if mac is None else self._is_signed(mac, found)
        return found if is_genuine else replace(found, found={}, is_genuine=False)

    def _is_signed(self, mac: str, found: Reconciliation) -> bool:
        number = mac.partition(".")[0]
        key = self._keys.find(MOVEMENTS, int(number)) if _NUMBER.fullmatch(number) else None
        try:
            return key is not None and hmac.compare_digest(
                _mac(int(number), key, found).encode(), mac.encode()
            )
        except RecursionError:
            return False


def _mac(key_id: int, key: bytes, report: Reconciliation) -> str:
    moments = (moment.astimezone(UTC).isoformat() for moment in (report.started_at, report.finished_at))
    content = [_FORMAT, key_id, str(report.reconciliation_id), *moments, report.file_sha256, report.found]
    return f"{key_id}.{hmac.digest(key, canonical_json(content), 'sha256').hex()}"
