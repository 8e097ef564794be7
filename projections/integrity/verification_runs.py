"""What each verification run found."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from ledger.store.database import Database

RUNS_KEPT = 1_000

_ADD = """
INSERT INTO verification_runs (run_id, started_at, finished_at, events, version, violations)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_LAST = """
SELECT run_id, started_at, finished_at, events, version, violations FROM verification_runs
ORDER BY finished_at DESC, events DESC LIMIT 1
"""
_FORGET = "SELECT purge_verification_runs(%s)"
_EVENTS = "SELECT count(*) AS events FROM (SELECT FROM payment_events LIMIT %s) AS counted"


@dataclass(frozen=True, slots=True)
class VerificationRun:
    """One run over `events` events, by a version of Daftari; each violation is {"rule", "told", "session_id"}."""

    run_id: UUID
    started_at: datetime
    finished_at: datetime
    events: int
    version: str
    violations: list[dict[str, Any]]


def keep(database: Database, run: VerificationRun) -> None:
    """Store a run, and delete the oldest beyond RUNS_KEPT."""
    with database.transaction() as connection:
        connection.execute(
            _ADD,
            (run.run_id, run.started_at, run.finished_at, run.events, run.version, Jsonb(run.violations)),
        )
        connection.execute(_FORGET, (RUNS_KEPT,))


def last(database: Database) -> VerificationRun | None:
    """Return the latest run, None before the first."""
    with database.connection() as connection:
        row = connection.execute(_LAST).fetchone()
    return VerificationRun(**row) if row else None


def count_events(database: Database, *, at_most: int) -> int:
    """Return the number of events in the log, or `at_most` if there are more."""
    with database.connection() as connection:
        row = connection.execute(_EVENTS, (at_most,)).fetchone()
    assert row is not None
    return int(row["events"])
