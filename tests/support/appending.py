"""Append to the log inside a transaction that the test holds, which the ledger itself never does."""

from typing import Any

import msgspec
from psycopg import Connection

from ledger.application import Ledger
from ledger.session.session import PaymentSession
from ledger.session.status_row import status_row
from ledger.store.canonical import chained_hashes
from ledger.store.recorder import _append


def append(connection: Connection[Any], ledger: Ledger, session: PaymentSession, **changed: Any) -> int:
    """Append the pending events of a session on this connection; return the last position.

    `changed` replaces what `append_events` is given: session_id, first_version, topics, states, metadata, hashes,
    key_id, macs or row.
    """
    row = status_row(session)
    events = [ledger.mapper.to_stored_event(event) for event in session.collect_events()]
    hashes = chained_hashes(events, b"{}", session.last_hash)
    session.last_hash = hashes[-1]
    key_id, macs = ledger.macs.sign(hashes)
    given: dict[str, Any] = {
        "session_id": session.id,
        "first_version": events[0].originator_version,
        "topics": [event.topic for event in events],
        "states": [event.state.decode() for event in events],
        "metadata": ["{}"] * len(events),
        "hashes": hashes,
        "key_id": key_id,
        "macs": macs,
        "row": msgspec.json.encode(row).decode(),
    } | changed
    values = [part for value in given.values() for part in (value if isinstance(value, list) else [value])]
    call = f"SELECT {_append(len(events))} AS position"
    [appended] = connection.execute(call.encode(), values).fetchall()
    return int(appended["position"])
