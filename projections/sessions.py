"""Sessions as their owners, lists and sweeps see them: one row each, written by the append itself.

A read writes nothing: a pending session reads as expired from the instant its time has run out, whether or not the
sweep has recorded it.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import msgspec

from ledger.session.values import OPEN_STATES, AttemptState, MoneyBack, Status
from ledger.store.database import Database
from ledger.store.listing import Key, Listing, Place
from ledger.store.parts import Part

STATUS_NOW = """
CASE WHEN session_status = 'pending' AND open_attempts = 0 AND expires_at <= %(now)s THEN 'expired'
     ELSE session_status END
"""
COLUMNS = f"""
session_id, user_id, {STATUS_NOW} AS session_status, version, goods_cents, delivery_fee_cents, total_cents,
received_cents, refund_due_cents, refunded_cents, attempts, open_attempts, transaction_id, receipt, failure_code,
failure_reason, order_id, order_number, created_at, expires_at, initiated_at, paid_at, order_created_at, ended_at,
updated_at, last_attempt_state, last_requested_at,
CASE WHEN open_attempts > 0 THEN
    (SELECT min(query.next_check_at) FROM attempt_checks AS query
      WHERE query.session_id = payment_sessions.session_id AND query.next_check_at > %(now)s)
END AS next_check_at,
CASE WHEN last_attempt_state = 'refused' AND session_status IN ('pending', 'payment_initiated') THEN
    (SELECT event.state FROM payment_events AS event
      WHERE event.session_id = payment_sessions.session_id AND event.topic = 'payment_session.payment_refused.v1'
      ORDER BY event.version DESC LIMIT 1)
END AS refusal,
CASE WHEN session_status = 'pending' AND open_attempts = 0 AND expires_at > %(now)s THEN
    (SELECT event.state->>'phone_sealed' FROM payment_events AS event
      WHERE event.session_id = payment_sessions.session_id AND event.version = 1)
END AS phone_sealed
"""  # noqa: S608 - made of this file's constants only
ONE = f"""
SELECT {COLUMNS} FROM payment_sessions
WHERE session_id = %(session_id)s AND (%(user_id)s::bigint IS NULL OR user_id = %(user_id)s)
"""  # noqa: S608 - made of this file's constants only
ROWS_OF_USER = """
SELECT created_at, session_id FROM payment_sessions WHERE user_id = %(user_id)s AND created_at <= %(as_of)s
"""
IN_STATUS = f"AND {STATUS_NOW} = %(status)s"
OF_USER, OF_USER_IN_STATUS = (
    Listing("payment_sessions", COLUMNS, ("created_at", "session_id"), rows)
    for rows in (ROWS_OF_USER, f"{ROWS_OF_USER} {IN_STATUS}")
)
# One plan for each connection: the array comes by SELECT, as PostgreSQL would plan anew for each length that it knows,
# and each row is looked up by itself, as a table that is small while the plan is made would be read whole ever after.
OF_IDS = f"""
SELECT session.* FROM unnest((SELECT %(session_ids)s::uuid[])) AS wanted (session_id), LATERAL (
    SELECT {COLUMNS} FROM payment_sessions WHERE session_id = wanted.session_id OFFSET 0
) AS session
"""  # noqa: S608 - as above
BEYOND = """
SELECT session.session_id, session.version
FROM payment_sessions AS session
JOIN unnest(%(session_ids)s::uuid[], %(versions)s::integer[]) AS known (session_id, version) USING (session_id)
WHERE session.version > known.version
"""
OWNER = "SELECT user_id FROM payment_sessions WHERE session_id = %s"
# In the log, not in the row, which knows the latest attempt only. The topic is spelt out to match its partial index.
BY_CHECKOUT = """
SELECT session_id FROM payment_events
WHERE topic = 'payment_session.payment_initiated.v1' AND state->>'checkout_digest' = %s LIMIT 1
"""
OPEN_PART = """(
    SELECT json_build_array(count(*), min(expires_at))::text FROM payment_sessions
    WHERE user_id = %s AND created_at > %s AND session_status IN ('pending', 'payment_initiated') AND expires_at > %s
)"""
TO_EXPIRE = """
SELECT session_id FROM payment_sessions
WHERE session_status = 'pending' AND open_attempts = 0 AND expires_at <= %s
ORDER BY expires_at LIMIT %s
"""
# An attempt within a period was requested no later than the session's latest, and no earlier than the session.
OPEN_BETWEEN = """
SELECT session_id FROM payment_sessions
WHERE open_attempts > 0 AND last_requested_at >= %s AND created_at <= %s ORDER BY last_requested_at LIMIT %s
"""
# Rows may be of attempts that have ended since, so they are counted against the open ones. What has been due for the
# longest comes first: by age alone those at the head would be queried again before the others had a turn.
ATTEMPTS_DUE = """
SELECT session_id, attempts, open_attempts FROM payment_sessions AS session
WHERE open_attempts > 0 AND last_requested_at <= %(asked_before)s
  AND ((SELECT count(*) FROM attempt_checks AS query
         WHERE query.session_id = session.session_id AND query.next_check_at > %(now)s) < open_attempts
    OR (last_attempt_state = ANY(%(open_states)s) AND NOT EXISTS
        (SELECT FROM attempt_checks AS query WHERE query.session_id = session.session_id
            AND query.attempt = session.attempts AND query.next_check_at > %(now)s)))
ORDER BY coalesce((SELECT max(query.next_check_at) FROM attempt_checks AS query
                    WHERE query.session_id = session.session_id AND query.next_check_at <= %(now)s),
                  last_requested_at + %(first_gap)s), session_id
LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session as it reads at a moment; amounts are cents, `order_id` and `order_number` its order's, if any.

    `last_attempt_state` and `last_requested_at` are of the attempt that paid, else of the latest. `next_check_at` is
    when the next status query of an open attempt is due, if one is scheduled. `refusal` is the code and the moment of
    M-Pesa's refusal, if that ended the latest attempt. `phone_sealed` is the session's own phone, while a prompt
    could be sent.
    """

    session_id: UUID
    user_id: int
    session_status: Status
    version: int
    goods_cents: int
    delivery_fee_cents: int
    total_cents: int
    received_cents: int
    refund_due_cents: int
    refunded_cents: int
    attempts: int
    open_attempts: int
    transaction_id: int | None
    receipt: str | None
    failure_code: str | None
    failure_reason: str | None
    order_id: int | None
    order_number: str | None
    created_at: datetime
    expires_at: datetime
    initiated_at: datetime | None
    paid_at: datetime | None
    order_created_at: datetime | None
    ended_at: datetime | None
    updated_at: datetime
    last_attempt_state: AttemptState | None
    last_requested_at: datetime | None
    next_check_at: datetime | None
    refusal: tuple[str, datetime] | None
    phone_sealed: str | None

    @property
    def key(self) -> Key:
        """Its place in a list."""
        return self.created_at, self.session_id

    @property
    def money(self) -> MoneyBack:
        """What of its money goes back, or went."""
        return MoneyBack(self.received_cents, self.refund_due_cents, self.refunded_cents)


@dataclass(frozen=True, slots=True)
class DueSession:
    """A session with attempts that are due for a status query; `attempts` counts all, `open_attempts` the open ones."""

    session_id: UUID
    attempts: int
    open_attempts: int


def status_of(database: Database, session_id: UUID, user_id: int | None, now: datetime) -> SessionRow | None:
    """Return a session as it reads now, or None if there is none, or it is not of `user_id` where that is given."""
    values = {"session_id": session_id, "user_id": user_id, "now": now}
    with database.connection() as connection:
        row = connection.execute(ONE, values, prepare=True, binary=True).fetchone()
    return _session(row) if row else None


def rows_of(database: Database, session_ids: Collection[UUID], now: datetime) -> list[SessionRow]:
    """Return these sessions as they read now, in no order; unknown ones are left out."""
    values = {"session_ids": list(session_ids), "now": now}
    with database.connection() as connection:
        rows = connection.execute(OF_IDS, values, prepare=True, binary=True).fetchall()
    return [_session(row) for row in rows]


def versions_beyond(database: Database, versions: Mapping[UUID, int]) -> dict[UUID, int]:
    """Return, by session, the versions of those that are beyond their given versions."""
    values = {"session_ids": list(versions), "versions": list(versions.values())}
    with database.connection() as connection:
        rows = connection.execute(BEYOND, values, prepare=True).fetchall()
    return {row["session_id"]: row["version"] for row in rows}


def list_of_user(
    database: Database, user_id: int, place: Place, *, now: datetime, status: Status | None = None
) -> tuple[int, list[SessionRow]]:
    """Return (how many there are, those of a page), newest first; keys are of `SessionRow.key`.

    The place's `as_of` leaves out what was created after that moment: pages asked for with the moment of the first one
    do not shift while sessions are being created.
    """
    listing = OF_USER_IN_STATUS if status else OF_USER
    values = {"user_id": user_id, "status": status and str(status), "now": now}
    with database.connection() as connection:
        count, rows = listing.read(connection, place, values)
    return count, [_session(row) for row in rows]


def owner_of(database: Database, session_id: UUID) -> int | None:
    """Return the id of the session's user, or None if there is no such session."""
    with database.connection() as connection:
        row = connection.execute(OWNER, (session_id,)).fetchone()
    return row["user_id"] if row else None


def open_part(user_id: int, *, since: datetime, now: datetime) -> Part:
    """Return the part of a statement that counts a user's sessions, created since a moment, that can be paid."""
    return Part(OPEN_PART, (user_id, since, now))


def open_of(value: str) -> tuple[int, datetime | None]:
    """Return, of the value of an `open_part`, how many sessions can be paid, and when the first of them expires."""
    count, next_end = msgspec.json.decode(value)
    return count, next_end and datetime.fromisoformat(next_end)


def find_by_checkout_digest(database: Database, digest: str) -> UUID | None:
    """Return the session that has an attempt with the checkout id of this digest."""
    with database.connection() as connection:
        row = connection.execute(BY_CHECKOUT, (digest,)).fetchone()
    return row["session_id"] if row else None


def sessions_to_expire(database: Database, now: datetime, limit: int) -> list[UUID]:
    """Return pending sessions whose time has run out, the longest first."""
    with database.connection() as connection:
        rows = connection.execute(TO_EXPIRE, (now, limit)).fetchall()
    return [row["session_id"] for row in rows]


def with_open_attempts(database: Database, since: datetime, until: datetime, limit: int) -> list[UUID]:
    """Return sessions with open attempts, some of which may have been requested between two moments."""
    with database.connection() as connection:
        rows = connection.execute(OPEN_BETWEEN, (since, until, limit)).fetchall()
    return [row["session_id"] for row in rows]


def open_attempts_due(
    database: Database, now: datetime, first_check_after_seconds: int, limit: int
) -> list[DueSession]:
    """Return sessions with open attempts that are due for a status query, those due for longest first.

    The first query of an attempt is due `first_check_after_seconds` after it was sent, the next as scheduled.
    """
    first_gap = timedelta(seconds=first_check_after_seconds)
    values = {
        "now": now,
        "asked_before": now - first_gap,
        "first_gap": first_gap,
        "open_states": sorted(OPEN_STATES),
        "limit": limit,
    }
    with database.connection() as connection:
        rows = connection.execute(ATTEMPTS_DUE, values).fetchall()
    return [DueSession(**row) for row in rows]


def _session(row: dict[str, Any]) -> SessionRow:
    state, refusal = row["last_attempt_state"], row["refusal"]
    return SessionRow(
        **row
        | {
            "session_status": Status(row["session_status"]),
            "last_attempt_state": state and AttemptState(state),
            "refusal": refusal and (refusal["code"], datetime.fromisoformat(refusal["timestamp"])),
        }
    )
