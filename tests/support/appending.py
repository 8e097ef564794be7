"""Append to the log inside a transaction that the test holds, which the ledger itself never does."""

from typing import Any

import msgspec
from psycopg import Connection
from psycopg.types.json import Jsonb

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store.canonical import event_digest

APPEND = "SELECT append_events(%s, %s, %s, %s::jsonb[], %s, %s) AS position"


def append(connection: Connection[Any], ledger: Ledger, session: PaymentSession) -> int:
    """Append the pending events of a session on this connection; return the last position."""
    row = status_row(session)
    events = [ledger.mapper.to_stored_event(event) for event in session.collect_events()]
    digests = [
        event_digest(session.id, event.originator_version, event.topic, msgspec.json.decode(event.state))
        for event in events
    ]
    values = (
        session.id,
        events[0].originator_version,
        [event.topic for event in events],
        [event.state.decode() for event in events],
        digests,
        Jsonb(row),
    )
    [row] = connection.execute(APPEND, values).fetchall()
    return int(row["position"])
