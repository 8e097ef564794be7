"""What each verification run found, with a MAC: a later run starts where a genuine one found nothing wrong."""

import hmac
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.store.canonical import canonical_json
from ledger.store.database import Database
from ledger.store.key_ring import VERIFICATION_RUNS, KeyRing

RUNS_KEPT = 1_000
RUNS_LOOKED_AT = 100
"""Of a form, for the latest genuine one: behind more forged ones than that it is not found, and a whole run is due."""

_FORMAT = "daftari verification run v1"
_COLUMNS = "run_id, started_at, finished_at, events, version, violations, form, verified_block"
_ADD = f"""
INSERT INTO verification_runs ({_COLUMNS}, key_id, mac) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s)
"""  # noqa: S608 - made of names of our own
_SIGNED = f"""
SELECT {_COLUMNS}, key_id, mac FROM verification_runs WHERE mac IS NOT NULL AND form = %s
ORDER BY finished_at DESC LIMIT %s
"""  # noqa: S608 - as above
_FORGET = "SELECT purge_verification_runs(%s)"
_EVENTS = "SELECT count(*) AS events FROM (SELECT FROM payment_events LIMIT %s) AS counted"


class Form(StrEnum):
    """What a run reads: every event, or the sessions that changed since a run that found nothing wrong."""

    WHOLE = "whole"
    INCREMENTAL = "incremental"


@dataclass(frozen=True, slots=True)
class VerificationRun:
    """One run that read `events` events, by a version of Daftari; each violation is {"rule", "told", "session_id"}.

    `verified_block` names the last signed block of its snapshot, None unless all invariants held.
    """

    run_id: UUID
    started_at: datetime
    finished_at: datetime
    events: int
    version: str
    violations: list[dict[str, Any]]
    form: str
    verified_block: str | None

    def mac(self, key: bytes, key_id: int) -> bytes:
        """Return the HMAC-SHA256 of the run, in canonical JSON (RFC 8785)."""
        moments = [moment.astimezone(UTC).isoformat() for moment in (self.started_at, self.finished_at)]
        content = [_FORMAT, key_id, asdict(self) | {"started_at": moments[0], "finished_at": moments[1]}]
        return hmac.digest(key, canonical_json(content), "sha256")


def keep(database: Database, keys: KeyRing, run: VerificationRun) -> None:
    """Store a run, and delete the oldest beyond RUNS_KEPT."""
    key_id, key = keys.current(VERIFICATION_RUNS)
    values = asdict(run) | {"violations": Jsonb(run.violations)}
    with database.transaction() as connection:
        connection.execute(_ADD, (*values.values(), key_id, run.mac(key, key_id)))
        connection.execute(_FORGET, (RUNS_KEPT,))


def genuine(database: Database, keys: KeyRing, form: Form) -> Iterator[VerificationRun]:
    """Yield the latest runs of a form that carry our MAC, the last one first."""
    with database.connection() as connection:
        rows = connection.execute(_SIGNED, (form, RUNS_LOOKED_AT)).fetchall()
    for row in rows:
        key_id, mac = row.pop("key_id"), bytes(row.pop("mac"))
        run = VerificationRun(**row)
        key = keys.find(VERIFICATION_RUNS, key_id)
        if key is not None and hmac.compare_digest(mac, run.mac(key, key_id)):
            yield run


def count_events(database: Database, *, at_most: int) -> int:
    """Return the number of events in the log, or `at_most` if there are more."""
    with database.connection() as connection:
        row = connection.execute(_EVENTS, (at_most,)).fetchone()
    assert row is not None
    return int(row["events"])
