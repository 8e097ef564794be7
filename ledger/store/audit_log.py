"""The audit log: who decided what, or read whose personal data, when and why; append-only, each entry with a MAC.

No personal data stands in it in the clear: people are named by their numbers, and reasons must do without names and
phones. The MAC is of a key that the database never sees, so an entry that was written past the application shows.
"""

import hmac
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import msgspec
from psycopg import Connection

from ledger import clock
from ledger.errors import InvalidValue
from ledger.store import readable
from ledger.store.canonical import canonical_json
from ledger.store.database import Database
from ledger.store.key_ring import AUDIT_LOG, KeyRing
from ledger.store.listing import Key, Listing, Place

CUSTOMER_ERASED = "customer_erased"
"""The kind of the entry that belongs to each row of customer_erasures; its subject is "user:7"."""

LATEST = 50
MAX_REASON = 1_000
MAX_DETAILS_BYTES = 16_384

_FORMAT = "daftari audit entry v1"
_RECORD = "SELECT record_audit_entry(%s, %s, %s, %s, %s, %s, %s::jsonb, %s, %s)"
_COLUMNS = "entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac"
_OF_SUBJECT = """
SELECT entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac FROM audit_log
WHERE subject = %(subject)s AND kind = ANY(%(kinds)s) AND recorded_at >= %(earliest)s
  AND (recorded_at, entry_id) < (%(recorded_at)s, %(entry_id)s)
ORDER BY recorded_at DESC, entry_id DESC LIMIT 100
"""
OF_SUBJECTS = """
SELECT entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac FROM audit_log
WHERE subject = ANY(%(subjects)s) AND kind <> 'access' ORDER BY recorded_at DESC, entry_id DESC LIMIT %(limit)s
"""
# The kinds are spelt out to match the partial index.
DECISIONS = """
SELECT entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac FROM audit_log
WHERE kind IN ('decision', 'decision_approved') AND recorded_at >= %(since)s
  AND (recorded_at, entry_id) < (%(before_at)s, %(before_id)s)
ORDER BY recorded_at DESC, entry_id DESC LIMIT %(limit)s
"""
OF_KIND = """
SELECT entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac FROM audit_log
WHERE kind = %s ORDER BY recorded_at, entry_id
"""
_ALL = """
SELECT entry_id, recorded_at, kind, actor, subject, reason, details, key_id, mac FROM audit_log
ORDER BY recorded_at, entry_id
"""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One entry. `actor` is "user:42", "cli:user:42", "policy:auto" or "system"; `subject` names what it is about.

    It is not genuine if somebody else than Daftari wrote it, or altered it.
    """

    entry_id: UUID
    recorded_at: datetime
    kind: str
    actor: str
    subject: str
    reason: str
    details: dict[str, Any]
    key_id: int
    is_genuine: bool = True

    @property
    def key(self) -> Key:
        """Its place in a list."""
        return self.recorded_at, self.entry_id

    def mac(self, key: bytes) -> bytes:
        """Return the HMAC-SHA256 of the entry's content, in canonical JSON (RFC 8785)."""
        content = [
            _FORMAT,
            str(self.entry_id),
            self.recorded_at.astimezone(UTC).isoformat(),
            self.kind,
            self.actor,
            self.subject,
            self.reason,
            self.details,
            self.key_id,
        ]
        return hmac.digest(key, canonical_json(content), "sha256")


class AuditLog:
    """Appends entries and reads them; nobody changes one. Safe to share between threads."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self._keys = keys

    def record(
        self,
        connection: Connection[Any] | None,
        kind: str,
        *,
        actor: str,
        subject: str = "",
        reason: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> UUID:
        """Append an entry and return its id: in the transaction of `connection`, or in one of its own.

        `details` are plain JSON values without floats. Raises InvalidValue for a reason or details that are too long.
        """
        if len(reason) > MAX_REASON:
            raise InvalidValue(f"A reason is at most {MAX_REASON} characters.")
        text = msgspec.json.encode(dict(details or {}))
        if len(text) > MAX_DETAILS_BYTES:
            raise InvalidValue(f"The details of an entry are at most {MAX_DETAILS_BYTES} bytes.")
        key_id, key = self._keys.current(AUDIT_LOG)
        plain = msgspec.json.decode(text)
        entry = AuditEntry(uuid4(), clock.now(), kind, actor, subject, reason, plain, key_id)
        values = (
            entry.entry_id,
            entry.recorded_at,
            kind,
            actor,
            subject,
            reason,
            text.decode(),
            key_id,
            entry.mac(key),
        )
        if connection is not None:
            connection.execute(_RECORD, values)
        else:
            with self._database.connection() as own:
                own.execute(_RECORD, values)
        return entry.entry_id

    def entries(
        self,
        place: Place | None = None,
        *,
        kind: str | None = None,
        actor: str | None = None,
        subject: str | None = None,
    ) -> tuple[int, list[AuditEntry]]:
        """Return (how many there are, those of a page), the latest first; without a place, the latest LATEST.

        Forged ones are among them, and say so.
        """
        wanted = {"kind": kind, "actor": actor, "subject": subject}
        filters = {name: text for name, text in wanted.items() if text is not None}
        with self._database.connection() as connection:
            count, rows = _listing(filters).read(connection, place or Place(clock.now(), LATEST), filters)
        return count, self._shown(rows)

    def about(self, subjects: Collection[str], limit: int) -> list[AuditEntry]:
        """Return what was decided or refused about any of these subjects, the latest first; no reads.

        Forged entries are among them, and say so.
        """
        values = {"subjects": list(subjects), "limit": limit}
        with self._database.connection() as connection:
            rows = connection.execute(OF_SUBJECTS, values).fetchall()
        return self._shown(rows)

    def decisions(self, since: datetime, before: Key, limit: int) -> list[AuditEntry]:
        """Return what people decided and carried out since a moment and before a key, the latest first.

        Forged entries are among them, and say so.
        """
        before_at, before_id = before
        values = {"since": since, "before_at": before_at, "before_id": before_id, "limit": limit}
        with self._database.connection() as connection:
            rows = connection.execute(DECISIONS, values).fetchall()
        return self._shown(rows)

    def latest(self, connection: Connection[Any], subject: str, kinds: Collection[str]) -> AuditEntry | None:
        """Return the latest entry of these kinds about a subject; entries without a right MAC count for nothing."""
        values = {"subject": subject, "kinds": list(kinds), "earliest": readable.EARLIEST}
        last: Mapping[str, Any] = {"recorded_at": readable.LATEST, "entry_id": UUID(int=(1 << 128) - 1)}
        while True:
            values |= {name: last[name] for name in ("recorded_at", "entry_id")}
            rows = connection.execute(_OF_SUBJECT, values).fetchall()
            if (ours := next((row for row in rows if _is_ours(row, self._keys)), None)) is not None:
                return _entry(ours)
            if not rows:
                return None
            last = rows[-1]

    def _shown(self, rows: Iterable[Mapping[str, Any]]) -> list[AuditEntry]:
        return [replace(_entry(row), is_genuine=_is_ours(row, self._keys)) for row in rows]


def _listing(filters: Collection[str]) -> Listing:
    wanted = "".join(f" AND {name} = %({name})s" for name in filters)
    rows = f"SELECT recorded_at, entry_id FROM audit_log WHERE recorded_at <= %(as_of)s{wanted}"  # noqa: S608 - made of names of our own
    return Listing("audit_log", _COLUMNS, ("recorded_at", "entry_id"), rows)


def faults(connection: Connection[Any], keys: KeyRing) -> Iterator[str]:
    """Report entries that were not written, or not left, by a holder of the key; nothing if all is well."""
    with connection.cursor(name="audit_log") as rows:
        for row in rows.execute(_ALL):
            if not _is_ours(row, keys):
                yield f"entry {row['entry_id']} was not written by Daftari, or was altered"


def genuine(connection: Connection[Any], keys: KeyRing, kind: str) -> Iterator[AuditEntry]:
    """Yield the entries of a kind that a holder of the key wrote, the oldest first."""
    for row in connection.execute(OF_KIND, (kind,)):
        if _is_ours(row, keys):
            yield _entry(row)


def _is_ours(row: Mapping[str, Any], keys: KeyRing) -> bool:
    entry = _entry(row)
    key = keys.find(AUDIT_LOG, entry.key_id)
    return key is not None and hmac.compare_digest(entry.mac(key), bytes(row["mac"]))


def _entry(row: Mapping[str, Any]) -> AuditEntry:
    return AuditEntry(**{name: value for name, value in row.items() if name != "mac"})
