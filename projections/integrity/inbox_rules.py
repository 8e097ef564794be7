"""Invariants of the inbox: what was acknowledged is in it, and leads to a session."""

from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from psycopg import Connection

from ledger.store.customer_keys import Erased
from ledger.store.key_ring import WrongKey
from ledger.store.message_bodies import OPENED, open_body
from ledger.store.vault import SYSTEM_USER_ID, Vault
from projections.integrity.violations import MAX_PER_RULE, Violation, stream

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


# Nothing acts on a closed one any more, and an operator looked at it.
STORED = f"""
SELECT {OPENED} FROM daraja_inbox
WHERE received_at >= %(since)s AND sealed_body <> 'erased' AND state <> 'closed'
"""  # noqa: S608 - made of names of our own


BODIES_AT_ONCE = 200
"""Anyone may post bodies of 64 KiB."""


def genuine(connection: Connection[Any], vault: Vault | None, since: datetime) -> Iterator[Violation]:
    """Each message received from `since` on is as Daftari stored it: channel, authentication and what its URL named."""
    if vault is None:
        return
    rows = stream(connection, "stored_messages", STORED, {"since": since}, BODIES_AT_ONCE)
    while some := list(islice(rows, BODIES_AT_ONCE)):
        vault.read_ahead({row["key_owner"] for row in some if row["key_owner"] != SYSTEM_USER_ID})
        for row in some:
            try:
                open_body(vault, row)
            except Erased:
                continue
            except WrongKey:
                detail = (
                    f"message {row['inbox_id']} was not stored by Daftari as it stands, or was altered since"
                )
                yield Violation("messages", detail, row["session_id"])


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
