"""What the books take from M-Pesa's movements, in an order of its own: money that no event accounts for."""

from typing import Any

from psycopg import Connection

from ledger.session.events import PaymentReversed
from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from ledger.store.movement_macs import COLUMNS, LOGGED, genuine, is_logged, logged_mac
from projections.follower import TRY_TO_BE_ACTIVE, position_of, read_end
from projections.journal import CUSTOMERS_PAYMENT, TABLE, Journal

MAX_AT_ONCE = 500

_IS_PENDING = """journal_ordinal IS NULL
  AND (kind = 'payment' AND verdict = 'unknown' OR kind <> 'payment' AND verdict <> 'new')"""
_ONE_PENDING = f"SELECT kind FROM mpesa_movements WHERE {_IS_PENDING} LIMIT 1"  # noqa: S608 - made of names of our own
# The matcher holds its rows while it works; they are looked at in the next round.
_PENDING = f"""
SELECT verdict, first_seen_at, session_id, {COLUMNS} FROM mpesa_movements WHERE {_IS_PENDING}
ORDER BY first_seen_at, movement_key LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED
"""  # noqa: S608 - made of names of our own
_IN_THE_BOOKS = f"SELECT receipt FROM {TABLE} WHERE receipt = ANY(%(receipts)s) AND {CUSTOMERS_PAYMENT}"  # noqa: S608 - as above
# Asked of the log, and not of the journal, which may be behind: a verdict comes after its event.
_REVERSED_BY_EVENT = """
SELECT pending.movement_key FROM unnest(%(keys)s::text[]) AS pending (movement_key)
JOIN mpesa_movements AS movement USING (movement_key)
WHERE EXISTS (SELECT FROM payment_events AS event
              WHERE event.session_id = movement.session_id AND event.topic = %(topic)s
                AND coalesce(event.state->>'reversal_receipt', event.state->>'receipt')
                    IN (movement.receipt, movement.linked_receipt))
"""
_LOGGED = "SELECT * FROM movement_log WHERE movement_key = ANY(%(keys)s)"
_LAST = "SELECT coalesce(max(ordinal), 0) AS ordinal FROM movement_log"
_LOG = f"""
INSERT INTO movement_log ({", ".join(LOGGED)}, mac)
SELECT ordinal, movement_key, kind, category, receipt, linked_receipt, money_in, amount_cents, occurred_at, recorded_at,
       session_id, %(origin)s, %(after)s, mac
FROM unnest(%(ordinal)s::bigint[], %(movement_key)s::text[], %(kind)s::text[], %(category)s::text[],
            %(receipt)s::text[], %(linked_receipt)s::text[], %(money_in)s::boolean[], %(amount_cents)s::bigint[],
            %(occurred_at)s::timestamptz[], %(recorded_at)s::timestamptz[], %(session_id)s::uuid[], %(mac)s::text[])
    AS logged (ordinal, movement_key, kind, category, receipt, linked_receipt, money_in, amount_cents, occurred_at,
               recorded_at, session_id, mac)
"""  # noqa: S608 - as above
_MARK = """
UPDATE mpesa_movements AS movement SET journal_ordinal = looked_at.ordinal
FROM unnest(%(keys)s::text[], %(ordinals)s::bigint[]) AS looked_at (movement_key, ordinal)
WHERE movement.movement_key = looked_at.movement_key
"""
_ACCOUNTED_FOR = ("refund_settled", "posted")
"""Verdicts of reversals that an event of their session tells of, or that an earlier row told of."""


def post_movements(database: Database, keys: KeyRing, limit: int = MAX_AT_ONCE) -> int:
    """Take up to `limit` movements into the movement log, and post them; return how many were looked at.

    It works under the lock of the journal, so that each has its place among the events, and is posted once whether its
    event or it comes first. While there is none, the lock is left to the journal's rounds. One that is forged is marked
    and not posted, so that no other waits behind it; what M-Pesa tells of it later is looked at anew. A row that
    somebody else logged for a movement counts for nothing. Raises Unavailable.
    """
    with database.connection() as connection:
        if connection.execute(_ONE_PENDING.encode()).fetchone() is None:
            return 0
    with database.transaction() as connection:
        if not connection.execute(TRY_TO_BE_ACTIVE, (TABLE,)).fetchone()["active"]:
            return 0
        pending = connection.execute(_PENDING.encode(), {"limit": limit}).fetchall()
        if not pending:
            return 0
        keys_of_pending = [row["movement_key"] for row in pending]
        found = connection.execute(_LOGGED, {"keys": keys_of_pending}).fetchall()
        logged = {row["movement_key"]: row["ordinal"] for row in found if is_logged(keys, row)}
        unaccounted = _unaccounted(connection, list(genuine(keys, pending)))
        new = [row for row in unaccounted if row["movement_key"] not in logged]
        logged |= _log(connection, keys, new)
        ordinals = [logged.get(key, 0) for key in keys_of_pending]
        connection.execute(_MARK, {"keys": keys_of_pending, "ordinals": ordinals})
        Journal(keys).post_movements(connection)
    return len(pending)


def _log(connection: Connection[Any], keys: KeyRing, movements: list[dict[str, Any]]) -> dict[str, int]:
    """Log movements as they are, each with a MAC, and return their ordinals by key."""
    if not movements:
        return {}
    origin = read_end(connection).origin
    place = {"origin": origin, "after_position": position_of(connection, TABLE, origin)}
    last = connection.execute(_LAST).fetchone() or {"ordinal": 0}
    rows = [
        {
            **row,
            "ordinal": number,
            "occurred_at": row["happened_at"],
            "recorded_at": row["first_seen_at"],
            **place,
        }
        for number, row in enumerate(movements, last["ordinal"] + 1)
    ]
    columns = {name: [row[name] for row in rows] for name in LOGGED if name not in place}
    macs = [logged_mac(keys, row) for row in rows]
    values = columns | {"origin": origin, "after": place["after_position"], "mac": macs}
    connection.execute(_LOG, values)
    return {row["movement_key"]: row["ordinal"] for row in rows}


def _unaccounted(connection: Connection[Any], pending: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the movements that no event accounts for, in their order."""
    payments = [row["receipt"] for row in pending if row["kind"] == "payment"]
    reversals = [row["movement_key"] for row in pending if row["verdict"] == "reversal_unexpected"]
    booked = {row["receipt"] for row in connection.execute(_IN_THE_BOOKS, {"receipts": payments})}
    values = {"keys": reversals, "topic": PaymentReversed.TOPIC}
    told = {row["movement_key"] for row in connection.execute(_REVERSED_BY_EVENT, values)}
    return [
        row
        for row in pending
        if row["amount_cents"]
        and not (row["kind"] == "payment" and row["receipt"] in booked)
        and not (row["kind"] == "reversal" and row["verdict"] in _ACCOUNTED_FOR)
        and row["movement_key"] not in told
    ]
