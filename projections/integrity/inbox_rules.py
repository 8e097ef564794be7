"""Invariants of the inbox: what was acknowledged is in it, and leads to a session."""

from collections.abc import Iterator
from typing import Any

from psycopg import Connection

from projections.integrity.violations import MAX_PER_RULE, Violation

PAYMENTS_WITHOUT_MESSAGE = """
SELECT DISTINCT session_id FROM payment_events AS event
WHERE topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1') AND state->>'evidence' = 'callback'
  AND (origin <> %s OR position > %s)
  AND NOT EXISTS (SELECT FROM daraja_inbox AS message WHERE message.session_id = event.session_id
                                                        AND message.channel = 'stk' AND message.is_proven)
LIMIT %s
"""
MESSAGES_WITHOUT_SESSION = """
SELECT DISTINCT session_id FROM daraja_inbox AS message
WHERE session_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM payment_events AS event WHERE event.session_id = message.session_id)
LIMIT %s
"""


# Of events from before they named what caused them nothing of the kind can be asked.
EVENTS_WITHOUT_SOURCE = """
SELECT session_id, version, event.state->>'evidence' AS evidence FROM payment_events AS event
WHERE event.metadata IS NOT NULL AND (event.origin <> %s OR event.position > %s)
  AND topic IN ('payment_session.paid.v1', 'payment_session.surplus_received.v1', 'payment_session.receipt_recorded.v1',
                'payment_session.evidence_upgraded.v1', 'payment_session.payment_reversed.v1')
  AND CASE WHEN event.state->>'evidence' IN ('callback', 'query') THEN NOT EXISTS (
          SELECT FROM daraja_inbox AS message
          WHERE message.inbox_id = CASE WHEN event.metadata->>'source' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                                   THEN (event.metadata->>'source')::uuid END
            AND message.session_id = event.session_id AND message.is_proven
            AND message.channel = CASE event.state->>'evidence' WHEN 'query' THEN 'status_query' ELSE 'stk' END)
      ELSE NOT EXISTS (SELECT FROM mpesa_movements AS movement
                       WHERE CASE topic WHEN 'payment_session.payment_reversed.v1'
                             THEN movement.linked_receipt = event.state->>'receipt' AND movement.kind = 'reversal'
                             ELSE movement.receipt = event.state->>'receipt' AND movement.kind = 'payment' END) END
ORDER BY session_id, version LIMIT %s
"""


def sources(connection: Connection[Any], origin: int, after: int) -> Iterator[Violation]:
    """Money that arrived names what proves it: a stored callback, M-Pesa's stored answer, or a movement."""
    for row in connection.execute(EVENTS_WITHOUT_SOURCE, (origin, after, MAX_PER_RULE)):
        detail = f"version {row['version']} is known by a {row['evidence']}, and what proves it is not stored"
        yield Violation("sources", detail, row["session_id"])


def messages(connection: Connection[Any], origin: int, after: int) -> Iterator[Violation]:
    """A payment known by a callback has its callback in the inbox, and a session with messages has events."""
    for row in connection.execute(PAYMENTS_WITHOUT_MESSAGE, (origin, after, MAX_PER_RULE)):
        detail = "its payment is known by a callback, and none is in the inbox"
        yield Violation("letters", detail, row["session_id"])
    for row in connection.execute(MESSAGES_WITHOUT_SESSION, (MAX_PER_RULE,)):
        detail = "the inbox has a message about it, and it has no event"
        yield Violation("letters", detail, row["session_id"])
