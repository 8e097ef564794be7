"""The journal: the books' entries, folded from the log and from the movement log, each of which is posted once.

The log says in which order its events are posted. A row of the movement log names the position that the journal had
reached when the row was added, under the journal's own lock, so that a rebuild posts it between the same two events.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from operator import attrgetter
from typing import Any
from uuid import UUID

import msgspec
import structlog
from psycopg import Connection

from ledger.session.events import Paid, SurplusReceived
from ledger.store.event_macs import EventMacs
from ledger.store.key_ring import KeyRing
from ledger.store.movement_macs import is_logged
from projections.follower import Recorded
from projections.postings import (
    MONEY_OF_CUSTOMERS,
    MONEY_TOPICS,
    STATE_TOPICS,
    Account,
    Entry,
    Posted,
    SessionBooks,
    in_order,
    posted_of,
)
from projections.rebuild import BATCH_SIZE, rebuild_table
from projections.rebuild_runs import Rebuilt, Run

TABLE = "journal_entries"
VERSION = 1
"""Of what is made of events and movements: with another one, the worker rebuilds the journal."""
DAYS_TABLE = "journal_days"
"""Sums of the entries by day, which the database keeps."""
COLUMNS = tuple(column.name for column in fields(Entry))

_NAMES = ", ".join(COLUMNS)
# A command that wrote a later event had checked these, and that later one carries our MAC. Each session is looked up by
# itself, and the arrays come by SELECT, so that one plan is kept, and it never reads the log whole.
EARLIER = """
SELECT event.*
FROM unnest((SELECT %b::uuid[]), (SELECT %b::integer[])) AS wanted (session_id, before), LATERAL (
    SELECT session_id, version, topic, recorded_at, position,
           (CASE WHEN version = 1 THEN jsonb_build_object('totals', state->'totals') ELSE state END)::text AS state
    FROM payment_events WHERE session_id = wanted.session_id AND version < wanted.before AND topic = ANY(%s) OFFSET 0
) AS event ORDER BY session_id, version
"""
LOGGED = """
SELECT log.*, CASE WHEN log.origin = node.origin THEN log.after_position ELSE 0 END AS posted_after
FROM movement_log AS log, ledger_node AS node
"""
"""The movement log with the position of this node's log that each row comes after. None is posted without our MAC."""

MOVEMENTS = f"""{LOGGED}
WHERE log.ordinal > (SELECT coalesce(max(movement), 0) FROM {{table}} WHERE movement IS NOT NULL)
  AND (%(until)s::bigint IS NULL OR log.origin <> node.origin OR log.after_position < %(until)s)
ORDER BY log.ordinal
"""  # noqa: S608 - made of names of our own
_CREDITED = ", ".join(f"'{account}'" for account in MONEY_OF_CUSTOMERS)
CUSTOMERS_PAYMENT = f"debit_account = '{Account.MPESA_CLEARING}' AND credit_account IN ({_CREDITED})"
"""Of an entry: that it is the money of a customer's payment, once for each receipt."""

COUNTERPARTS = """
SELECT receipt, debit_account, credit_account, position, movement FROM {table}
WHERE receipt = ANY((SELECT %b)::text[]) AND (movement IS NOT NULL OR credit_account = 'refunded_otherwise')
  AND debit_account NOT IN ('charges', 'bank_settlement') AND credit_account NOT IN ('charges', 'bank_settlement')
ORDER BY entry_id
"""
DAILY_SUMS = f"""
SELECT DISTINCT day::text FROM {DAYS_TABLE} AS kept FULL JOIN (
    SELECT (occurred_at AT TIME ZONE 'UTC' + interval '3 hours')::date AS day, debit_account, credit_account,
           count(*) AS entries, sum(amount_cents) AS amount_cents, min(recorded_at) AS first_recorded_at,
           max(recorded_at) AS last_recorded_at
    FROM {TABLE} GROUP BY 1, 2, 3) AS summed USING (day, debit_account, credit_account)
WHERE (kept.entries, kept.amount_cents, kept.first_recorded_at, kept.last_recorded_at)
      IS DISTINCT FROM (summed.entries, summed.amount_cents, summed.first_recorded_at, summed.last_recorded_at)
"""  # noqa: S608 - made of names of our own
"""Days whose kept sums are not what their entries come to."""
_TYPES = "text", "text", "text", "bigint", "timestamptz", "timestamptz", "bigint", "bigint", "text", "uuid"
# A receipt that is in the books already was forged there, which `daftari verify` names: it must not stop the books.
ADD = f"""
INSERT INTO {{table}} (entry_id, {_NAMES})
SELECT (SELECT coalesce(max(entry_id), 0) FROM {{table}}) + row_number() OVER (ORDER BY number), {_NAMES}
FROM unnest({", ".join(f"(SELECT %b::{kind}[])" for kind in _TYPES)}) WITH ORDINALITY AS entry ({_NAMES}, number)
WHERE NOT ({CUSTOMERS_PAYMENT} AND EXISTS (
    SELECT FROM {{table}} AS booked WHERE booked.receipt = entry.receipt AND {CUSTOMERS_PAYMENT}))
RETURNING entry_id
"""  # noqa: S608 - made of names of our own

_log = structlog.get_logger(__name__)
_VALUES_OF = attrgetter(*COLUMNS)
_KNOWN_WHOLE = (Paid.TOPIC, SurplusReceived.TOPIC)
"""Events that are posted by themselves alone."""


class Journal:
    """Posts events, and between them what the movement log has to say there."""

    topics = MONEY_TOPICS

    def __init__(self, keys: KeyRing, table: str = TABLE) -> None:
        self.name = table
        self._keys = keys
        self._movements, self._counterparts, self._add = (
            statement.format(table=table).encode() for statement in (MOVEMENTS, COUNTERPARTS, ADD)
        )

    def apply(self, connection: Connection[Any], batch: Sequence[Recorded]) -> None:
        """Post these events, in their order, and the movements before the last of them."""
        self._post(connection, batch, batch[-1].position)

    def post_movements(self, connection: Connection[Any]) -> None:
        """Post what is left of the movement log, after all events that were applied."""
        self._post(connection, (), None)

    def _post(self, connection: Connection[Any], batch: Sequence[Recorded], until: int | None) -> None:
        rows = connection.execute(self._movements, {"until": until})
        movements = [row for row in rows if is_logged(self._keys, row)]
        sessions = _sessions_before(connection, batch)
        known = (receipt for books in sessions.values() for receipt in books.receipts)
        posted = self._posted(connection, {*known, *_receipts(batch), *_receipts_of_rows(movements)})
        posting = in_order(batch, movements, lambda event: sessions[event.session_id], posted)
        entries = [_VALUES_OF(entry) for entry in posting]
        if entries:
            columns = [list(column) for column in zip(*entries, strict=True)]
            added = connection.execute(self._add, columns).fetchall()
            if len(added) < len(entries):
                _log.error("receipts_booked_otherwise", entries=len(entries) - len(added))

    def _posted(self, connection: Connection[Any], receipts: set[str]) -> Posted:
        if not receipts:
            return {}
        return posted_of(connection.execute(self._counterparts, (sorted(receipts),)))


def rebuild(run: Run, macs: EventMacs, batch_size: int = BATCH_SIZE) -> Rebuilt:
    """Fold both logs anew and put right the live entries that differ, and the sums of days. Raises Unavailable."""
    return rebuild_table(
        run,
        macs,
        partial(Journal, macs.keys),
        key="entry_id",
        batch_size=batch_size,
        finish=lambda connection, shadow: Journal(macs.keys, shadow).post_movements(connection),
        differs_otherwise=lambda connection: connection.execute(DAILY_SUMS).fetchone() is not None,
    )


def _receipts(batch: Iterable[Recorded]) -> Iterator[str]:
    for event in batch:
        for name in ("receipt", "reversal_receipt"):
            if event.state.get(name) is not None:
                yield event.state[name]


def _receipts_of_rows(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield row["receipt"]
        if row["linked_receipt"] is not None:
            yield row["linked_receipt"]


def _sessions_before(connection: Connection[Any], batch: Sequence[Recorded]) -> dict[UUID, SessionBooks]:
    """Return what the sessions of a batch were before it, as far as its events ask for it."""
    first: dict[UUID, int] = {}
    for event in batch:
        if event.topic not in _KNOWN_WHOLE:
            first.setdefault(event.session_id, event.version)
    sessions = defaultdict[UUID, SessionBooks](SessionBooks)
    if first:
        values = list(first), list(first.values()), list(STATE_TOPICS)
        for row in connection.execute(EARLIER, values):
            row["state"] = msgspec.json.decode(row["state"])
            for _ in sessions[row["session_id"]].post(Recorded(**row), {}):
                pass
    return sessions
