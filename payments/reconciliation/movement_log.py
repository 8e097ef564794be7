"""What the books take from M-Pesa's movements, in an order of its own: money that no event accounts for."""

from typing import Any

from psycopg import Connection

from ledger.session.events import PaymentReversed
from ledger.store.database import Database
from ledger.store.key_ring import KeyRing
from ledger.store.movement_macs import COLUMNS, genuine
from projections.follower import TRY_TO_BE_ACTIVE, position_of, read_end
from projections.journal import CUSTOMERS_PAYMENT, TABLE, Journal

MAX_AT_ONCE = 500

# The matcher holds its rows while it works; they are looked at in the next round.
_PENDING = f"""
SELECT verdict, {COLUMNS} FROM mpesa_movements
WHERE journal_ordinal IS NULL AND (kind = 'payment' AND verdict = 'unknown' OR kind <> 'payment' AND verdict <> 'new')
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
_LOG = """
INSERT INTO movement_log (ordinal, movement_key, kind, category, receipt, linked_receipt, money_in, amount_cents,
                          occurred_at, recorded_at, session_id, origin, after_position)
SELECT (SELECT coalesce(max(ordinal), 0) FROM movement_log) + row_number() OVER (ORDER BY number), movement_key, kind,
       category, receipt, linked_receipt, money_in, amount_cents, happened_at, first_seen_at, session_id, %(origin)s,
       %(after)s
FROM unnest(%(keys)s::text[]) WITH ORDINALITY AS wanted (movement_key, number)
JOIN mpesa_movements USING (movement_key)
WHERE NOT EXISTS (SELECT FROM movement_log AS logged WHERE logged.movement_key = wanted.movement_key)
"""
_MARK = """
UPDATE mpesa_movements AS movement
SET journal_ordinal = coalesce((SELECT ordinal FROM movement_log AS log
                                WHERE log.movement_key = movement.movement_key), 0)
WHERE movement_key = ANY(%(keys)s)
"""
_ACCOUNTED_FOR = ("refund_settled", "posted")
"""Verdicts of reversals that an event of their session tells of, or that an earlier row told of."""


def post_movements(database: Database, keys: KeyRing, limit: int = MAX_AT_ONCE) -> int:
    """Take up to `limit` movements into the movement log, and post them; return how many were looked at.

    It works under the lock of the journal, so that each has its place among the events, and is posted once whether its
    event or it comes first. One that is forged is marked and not posted, so that no other waits behind it; what M-Pesa
    tells of it later is looked at anew. Raises Unavailable.
    """
    with database.transaction() as connection:
        if not connection.execute(TRY_TO_BE_ACTIVE, (TABLE,)).fetchone()["active"]:
            return 0
        pending = connection.execute(_PENDING.encode(), {"limit": limit}).fetchall()
        if not pending:
            return 0
        origin = read_end(connection).origin
        values: dict[str, Any] = {"origin": origin, "after": position_of(connection, TABLE, origin)}
        connection.execute(_LOG, values | {"keys": _unaccounted(connection, list(genuine(keys, pending)))})
        connection.execute(_MARK, {"keys": [row["movement_key"] for row in pending]})
        Journal().post_movements(connection)
    return len(pending)


def _unaccounted(connection: Connection[Any], pending: list[dict[str, Any]]) -> list[str]:
    """Return the keys of the movements that no event accounts for, in their order."""
    payments = [row["receipt"] for row in pending if row["kind"] == "payment"]
    reversals = [row["movement_key"] for row in pending if row["verdict"] == "reversal_unexpected"]
    booked = {row["receipt"] for row in connection.execute(_IN_THE_BOOKS, {"receipts": payments})}
    values = {"keys": reversals, "topic": PaymentReversed.TOPIC}
    told = {row["movement_key"] for row in connection.execute(_REVERSED_BY_EVENT, values)}
    return [
        row["movement_key"]
        for row in pending
        if row["amount_cents"]
        and not (row["kind"] == "payment" and row["receipt"] in booked)
        and not (row["kind"] == "reversal" and row["verdict"] in _ACCOUNTED_FOR)
        and row["movement_key"] not in told
    ]
