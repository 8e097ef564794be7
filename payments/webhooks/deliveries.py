"""The deliveries of webhook endpoints: what is due, what came of it, and the log of it all.

Of the events of a session that are pending for an endpoint only the first is ever due. The later ones are sent after
it once it was taken: a failing delivery holds back those of its session, and no others.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

from ledger import clock
from ledger.errors import NotFound
from ledger.store.database import Database

MAX_OF_A_PAGE = 101
"""One more than a page shows, which tells whether there is another."""

PENDING, DELIVERED, FAILED = "pending", "delivered", "failed"
STATES = (PENDING, DELIVERED, FAILED)

_COLUMNS = """
    delivery_id, endpoint_id, session_id, version, type, queued_at, state, attempts, tried_since, next_attempt_at,
    last_attempt_at, last_status, last_error, settled_at
"""
# Of endpoints that may be sent to now, each looked up in the index: the table may hold thousands for one that is away.
_ENDPOINTS_DUE = """
SELECT endpoint_id FROM webhook_endpoints AS endpoint
WHERE endpoint_id = ANY(%(endpoints)s) AND state = 'enabled' AND (paused_until IS NULL OR paused_until <= %(now)s)
  AND EXISTS (SELECT FROM webhook_deliveries AS due WHERE due.endpoint_id = endpoint.endpoint_id
              AND due.state = 'pending' AND due.next_attempt_at <= %(now)s)
"""
# What waits behind a delivery that is due goes with it. A session has but a few.
_DUE = f"""
WITH due AS (
    SELECT session_id FROM webhook_deliveries
    WHERE endpoint_id = %(endpoint_id)s AND state = 'pending' AND next_attempt_at <= %(now)s
    ORDER BY next_attempt_at LIMIT %(limit)s
)
SELECT {_COLUMNS} FROM webhook_deliveries
WHERE endpoint_id = %(endpoint_id)s AND state = 'pending' AND session_id = ANY(ARRAY(SELECT session_id FROM due))
ORDER BY version
"""  # noqa: S608 - made of constants
_PAGE = f"""
SELECT {_COLUMNS} FROM webhook_deliveries
WHERE endpoint_id = %(endpoint_id)s AND (%(before)s::bigint IS NULL OR delivery_id < %(before)s)
ORDER BY delivery_id DESC LIMIT %(limit)s
"""  # noqa: S608 - as above
LOCK_ENDPOINTS = """
SELECT endpoint_id, failing_since, paused_until FROM webhook_endpoints
WHERE endpoint_id = ANY(%s) ORDER BY endpoint_id FOR NO KEY UPDATE
"""
# What was delivered anew meanwhile, or marked by another worker, stays as it is.
_MARK = """
UPDATE webhook_deliveries AS delivery
SET state = marked.state, attempts = delivery.attempts + 1, tried_since = coalesce(delivery.tried_since, %(now)s),
    next_attempt_at = marked.next_attempt_at, last_attempt_at = %(now)s, last_status = marked.status,
    last_error = marked.error, settled_at = CASE WHEN marked.state <> 'pending' THEN %(now)s END
FROM jsonb_to_recordset(%(marks)s) AS marked (
    delivery_id bigint, attempts integer, state text, next_attempt_at timestamptz, status integer, error text)
WHERE delivery.delivery_id = marked.delivery_id AND delivery.state = 'pending'
  AND delivery.attempts = marked.attempts
"""
_PUT_IN_ORDER = """
UPDATE webhook_deliveries AS delivery SET next_attempt_at = CASE WHEN place.is_first THEN %(now)s END
FROM (SELECT delivery_id, next_attempt_at,
             row_number() OVER (PARTITION BY endpoint_id, session_id ORDER BY version) = 1 AS is_first
      FROM webhook_deliveries
      WHERE state = 'pending' AND endpoint_id = ANY(%(endpoints)s) AND session_id = ANY(%(sessions)s)) AS place
WHERE delivery.delivery_id = place.delivery_id AND (place.next_attempt_at IS NOT NULL) <> place.is_first
"""
_WAKE = """
UPDATE webhook_deliveries SET next_attempt_at = %(now)s
WHERE endpoint_id = %(endpoint_id)s AND state = 'pending' AND next_attempt_at > %(now)s
"""
_AGAIN = """
UPDATE webhook_deliveries SET queued_at = %(now)s, state = 'pending', attempts = 0, tried_since = NULL,
    next_attempt_at = %(now)s, settled_at = NULL
WHERE delivery_id = %(delivery_id)s AND endpoint_id = %(endpoint_id)s RETURNING session_id
"""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one endpoint, and what came of it so far."""

    delivery_id: int
    endpoint_id: UUID
    session_id: UUID
    version: int
    type: str
    queued_at: datetime
    state: str
    attempts: int
    tried_since: datetime | None
    next_attempt_at: datetime | None
    last_attempt_at: datetime | None
    last_status: int | None
    last_error: str | None
    settled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Mark:
    """What came of an attempt at a delivery, which is told by its number and the attempts before."""

    delivery_id: int
    attempts: int
    state: str
    next_attempt_at: datetime | None
    status: int | None
    error: str | None

    @property
    def row(self) -> dict[str, Any]:
        """The mark as plain JSON."""
        due = self.next_attempt_at
        return asdict(self) | {"next_attempt_at": due.isoformat() if due else None}


class WebhookDeliveries:
    """Reads and marks deliveries. Safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def endpoints_due(self, endpoints: Sequence[UUID], now: datetime) -> list[UUID]:
        """Return those of some endpoints that something is due for."""
        with self._database.connection() as connection:
            rows = connection.execute(_ENDPOINTS_DUE, {"endpoints": list(endpoints), "now": now}).fetchall()
        return [row["endpoint_id"] for row in rows]

    def due(self, endpoint_id: UUID, now: datetime, limit: int) -> list[list[Delivery]]:
        """Return what is due for an endpoint by its sessions, `limit` of them at most.

        Of each, what is pending behind the delivery that is due comes after it.
        """
        values = {"endpoint_id": endpoint_id, "now": now, "limit": limit}
        sessions: dict[UUID, list[Delivery]] = {}
        with self._database.connection() as connection:
            for row in connection.execute(_DUE.encode(), values):
                sessions.setdefault(row["session_id"], []).append(Delivery(**row))
        return list(sessions.values())

    def page(self, endpoint_id: UUID, *, before: int | None = None, limit: int = 20) -> list[Delivery]:
        """Return deliveries of an endpoint, the latest first: those before a number, where that is given."""
        values = {"endpoint_id": endpoint_id, "before": before, "limit": min(limit, MAX_OF_A_PAGE)}
        with self._database.connection() as connection:
            rows = connection.execute(_PAGE.encode(), values).fetchall()
        return [Delivery(**row) for row in rows]

    def deliver_again(self, endpoint_id: UUID, delivery_id: int) -> None:
        """Have one event delivered once more. Raises NotFound WEBHOOK_DELIVERY_NOT_FOUND."""
        now = clock.now()
        with self._database.transaction() as connection:
            connection.execute(LOCK_ENDPOINTS, ([endpoint_id],))
            values = {"now": now, "delivery_id": delivery_id, "endpoint_id": endpoint_id}
            row = connection.execute(_AGAIN, values).fetchone()
            if row is None:
                raise NotFound("There is no such delivery.", code="WEBHOOK_DELIVERY_NOT_FOUND")
            put_in_order(connection, [endpoint_id], [row["session_id"]], now)


def mark(
    connection: Connection[Any], endpoint_id: UUID, marks: Sequence[tuple[UUID, Mark]], now: datetime
) -> None:
    """Store what came of attempts at deliveries, each with its session, and make due what waited for them.

    The caller has locked the row of their endpoint.
    """
    connection.execute(_MARK, {"marks": Jsonb([each.row for _, each in marks]), "now": now})
    put_in_order(connection, [endpoint_id], [session_id for session_id, _ in marks], now)


def wake(connection: Connection[Any], endpoint_id: UUID, now: datetime) -> None:
    """Make due at once what is to be tried again later."""
    connection.execute(_WAKE, {"endpoint_id": endpoint_id, "now": now})


def put_in_order(
    connection: Connection[Any], endpoints: Sequence[UUID], sessions: Sequence[UUID], now: datetime
) -> None:
    """See that of what is pending for each of these endpoints, the first event of each of these sessions alone is due.

    The caller holds the locks of LOCK_ENDPOINTS, so that nobody adds or settles a delivery meanwhile.
    """
    values = {"endpoints": list(endpoints), "sessions": list(sessions), "now": now}
    connection.execute(_PUT_IN_ORDER, values)
