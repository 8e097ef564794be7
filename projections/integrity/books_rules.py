"""Invariants of the books: the journal equals a fold of the log and of M-Pesa's movements, entry for entry.

An entry that is out of balance cannot be stored: each debits one account and credits another with the same sum.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from projections.integrity.session_log import SessionLog
from projections.integrity.violations import Reader, Violation, stream
from projections.journal import COLUMNS, TABLE
from projections.postings import STATE_TOPICS, Entry, SessionBooks, in_order

ENTRIES = f"""
SELECT {", ".join(COLUMNS)} FROM {TABLE} WHERE session_id = ANY(%s) AND position IS NOT NULL
ORDER BY position, entry_id
"""  # noqa: S608 - made of names of our own
MOVEMENTS = """
SELECT log.*, CASE WHEN log.origin = node.origin THEN log.after_position ELSE 0 END AS posted_after
FROM movement_log AS log, ledger_node AS node
WHERE category IS NULL AND (receipt = ANY(%(receipts)s) OR linked_receipt = ANY(%(receipts)s)) ORDER BY log.ordinal
"""
OF_NO_SESSION = f"""
SELECT DISTINCT session_id FROM {TABLE} AS entry WHERE position IS NOT NULL
  AND NOT EXISTS (SELECT FROM payment_sessions AS session WHERE session.session_id = entry.session_id)
"""  # noqa: S608 - as above
MOVEMENTS_APART = f"""
SELECT coalesce(entry.movement, log.ordinal) AS ordinal, coalesce(entry.receipt, log.receipt) AS receipt
FROM (SELECT * FROM {TABLE} WHERE movement IS NOT NULL) AS entry
FULL JOIN movement_log AS log ON log.ordinal = entry.movement
WHERE (entry.receipt, entry.amount_cents, entry.occurred_at, entry.recorded_at)
      IS DISTINCT FROM (log.receipt, log.amount_cents, log.occurred_at, log.recorded_at)
   OR (CASE WHEN log.money_in THEN entry.debit_account ELSE entry.credit_account END) <> 'mpesa_clearing'
"""  # noqa: S608 - as above
LOGGED_OTHERWISE = """
SELECT log.ordinal, log.receipt FROM movement_log AS log LEFT JOIN mpesa_movements AS movement USING (movement_key)
WHERE (movement.kind, movement.receipt, movement.money_in, movement.linked_receipt, movement.journal_ordinal)
      IS DISTINCT FROM (log.kind, log.receipt, log.money_in, log.linked_receipt, log.ordinal)
"""


def entries_of_sessions(logs: Sequence[SessionLog], reader: Reader) -> Iterator[Violation]:
    """The entries of a session are what its followed events come to, in their order."""
    until = reader.terms.followed[TABLE]
    stored = defaultdict[UUID, list[Entry]](list)
    for row in reader.connection.execute(ENTRIES.encode(), ([log.session_id for log in logs],)):
        stored[row["session_id"]].append(Entry(**row))
    movements_of_all = _movements(logs, reader.connection)
    for log in logs:
        if log.is_readable:
            receipts = _receipts(log)
            of_session = [
                row for row in movements_of_all if receipts & {row["receipt"], row["linked_receipt"]}
            ]
            if list(_expected(log, until, of_session)) != stored[log.session_id]:
                yield log.violation("books", "its entries in the journal are not what its events come to")


def _movements(logs: Iterable[SessionLog], connection: Connection[Any]) -> list[dict[str, Any]]:
    receipts = sorted({receipt for log in logs for receipt in _receipts(log)})
    return connection.execute(MOVEMENTS, {"receipts": receipts}).fetchall() if receipts else []


def _receipts(log: SessionLog) -> set[str]:
    names = ("receipt", "reversal_receipt")
    of_events = (event.state.get(name) for event in log.recorded for name in names)
    return {receipt for receipt in of_events if receipt is not None}


def _expected(log: SessionLog, until: int, movements: Sequence[dict[str, Any]]) -> Iterator[Entry]:
    events = [event for event in log.recorded if event.topic in STATE_TOPICS and event.position <= until]
    books = defaultdict[UUID, SessionBooks](SessionBooks)
    entries = in_order(events, movements, books, {})
    return (entry for entry in entries if entry.position is not None)


def movements(connection: Connection[Any], *, is_whole: bool) -> Iterator[Violation]:
    """Each movement that the books took up has one entry of its sum, and is a movement that M-Pesa reported."""
    for statement, detail in (
        (MOVEMENTS_APART, "movement {} of receipt {} is not in the journal as it was logged, once"),
        (LOGGED_OTHERWISE, "movement {} of receipt {} was logged otherwise than M-Pesa reported it"),
    ):
        for row in stream(connection, "journal_movements", statement):
            yield Violation("books", detail.format(row["ordinal"], row["receipt"]))
    if is_whole:
        for row in stream(connection, "journal_sessions", OF_NO_SESSION):
            yield Violation("books", "the journal has entries of it, and it is no session", row["session_id"])
