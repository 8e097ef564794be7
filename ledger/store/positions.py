"""Positions in the log, and how far a reader may go.

A position is (epoch + transaction id) << 20 | ordinal in the transaction, stamped where the row lands. Transactions
commit in another order than they start, so a reader that asked for all events above its position would miss those of
a slow writer for ever. The horizon is the position of the oldest transaction that is still running: nothing new can
appear below it. It is read in a statement of its own, before the rows.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

KNOWN_ORIGINS = """
WITH RECURSIVE known AS (
    SELECT min(origin) AS origin FROM payment_events
    UNION ALL SELECT (SELECT min(origin) FROM payment_events WHERE origin > known.origin)
              FROM known WHERE known.origin IS NOT NULL
)
"""
"""The origins of a log and a last row of NULL, by as many look-ups in an index as there are."""

_HORIZON = "SELECT origin, horizon FROM ledger_horizon()"

# Since when another role's transaction runs may be hidden: the oldest event that it holds back says it then.
_HOLDER = """
SELECT holder.pid, holder.database, holder.application_name, holder.role, holder.prepared,
       extract(epoch FROM clock_timestamp() - coalesce(holder.since, (
           SELECT held.recorded_at FROM payment_events AS held
           WHERE held.origin = log.origin AND held.position >= log.horizon ORDER BY held.position LIMIT 1
       )))::float8 AS seconds
FROM horizon_holder() AS holder, ledger_horizon() AS log
"""


@dataclass(frozen=True, slots=True)
class HorizonHolder:
    """The oldest transaction with an id in the whole cluster, and for how many seconds it has held the log back.

    `prepared` is its name if it was prepared for a two-phase commit; then it has no process.
    """

    pid: int | None
    database: str
    application_name: str | None
    role: str
    prepared: str | None
    seconds: float

    def __str__(self) -> str:
        who = f"process {self.pid}" if self.prepared is None else "a prepared transaction"
        application = f", application {self.application_name}" if self.application_name else ""
        return f"{who} of role {self.role} in database {self.database}{application}"

    @property
    def ended_by(self) -> str:
        """What a superuser types to end it; a prepared transaction can be ended in its own database only."""
        if self.prepared is None:
            return f"SELECT pg_terminate_backend({self.pid});"
        name = self.prepared.replace("'", "''")
        return f"ROLLBACK PREPARED '{name}';"


def read_horizon_holder(connection: Connection[Any]) -> HorizonHolder | None:
    """Return who holds the log back now, None if nobody does; an ordinary write does so for a moment."""
    row = connection.execute(_HOLDER).fetchone()
    return None if row is None or row["seconds"] is None else HorizonHolder(**row)


def read_horizon(connection: Connection[Any]) -> tuple[int, int]:
    """Return (origin, horizon): read rows of this origin with a position strictly below the horizon."""
    row = connection.execute(_HORIZON).fetchone()
    assert row is not None
    return row["origin"], row["horizon"]
