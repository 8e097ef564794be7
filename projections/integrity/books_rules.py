"""Invariants of the books: the journal equals a fold of the log and of M-Pesa's movements, entry for entry.

An entry that is out of balance cannot be stored: each debits one account and credits another with the same sum.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import islice
from operator import attrgetter
from typing import Any

from psycopg import Connection

from ledger.session.events import PaymentReversed, Refunded
from ledger.store.movement_macs import is_logged
from ledger.store.vault import Vault
from projections.integrity.session_log import SessionIds, SessionLog
from projections.integrity.violations import Reader, Violation, stream
from projections.journal import COLUMNS, COUNTERPARTS, CUSTOMERS_PAYMENT, DAILY_SUMS, LOGGED, TABLE
from projections.postings import (
    MONEY_TOPICS,
    STATE_TOPICS,
    Entry,
    SessionBooks,
    in_order,
    of_movement,
    posted_of,
)

ENTRIES = f"""
SELECT {", ".join(COLUMNS)} FROM {TABLE} WHERE session_id = ANY(%s) AND position IS NOT NULL
ORDER BY position, entry_id
"""  # noqa: S608 - made of names of our own
MOVEMENTS = f"""{LOGGED}
WHERE category IS NULL AND (receipt = ANY(%(receipts)s) OR linked_receipt = ANY(%(receipts)s)) ORDER BY log.ordinal
"""
OF_NO_SESSION = f"""
SELECT DISTINCT session_id FROM {TABLE} AS entry WHERE position IS NOT NULL
  AND NOT EXISTS (SELECT FROM payment_sessions AS session WHERE session.session_id = entry.session_id)
"""  # noqa: S608 - as above
MOVEMENT_LOG = f"{LOGGED} ORDER BY log.ordinal"
OF_MOVEMENTS = f"SELECT {', '.join(COLUMNS)} FROM {TABLE} WHERE movement = ANY(%s)"  # noqa: S608 - as above
NOT_LOGGED = f"""
SELECT movement AS ordinal, receipt FROM {TABLE} AS entry
WHERE movement IS NOT NULL AND NOT EXISTS (SELECT FROM movement_log AS log WHERE log.ordinal = entry.movement)
"""  # noqa: S608 - as above
LOGGED_OTHERWISE = """
SELECT log.ordinal, log.receipt FROM movement_log AS log LEFT JOIN mpesa_movements AS movement USING (movement_key)
WHERE (movement.kind, movement.category, movement.receipt, movement.money_in, movement.linked_receipt,
       movement.journal_ordinal)
      IS DISTINCT FROM (log.kind, log.category, log.receipt, log.money_in, log.linked_receipt, log.ordinal)
"""
# Asked of the log where a verdict comes after its event, and of the journal where the journal was asked.
LEFT_OUT = f"""
SELECT movement.journal_ordinal AS ordinal, movement.receipt FROM mpesa_movements AS movement
WHERE movement.journal_ordinal IS NOT NULL AND movement.amount_cents > 0
  AND NOT EXISTS (SELECT FROM movement_log AS log
                  WHERE (log.ordinal, log.movement_key) = (movement.journal_ordinal, movement.movement_key))
  AND NOT (movement.journal_ordinal = 0 AND CASE movement.kind
      WHEN 'payment' THEN EXISTS (
          SELECT FROM {TABLE} AS entry WHERE entry.receipt = movement.receipt AND {CUSTOMERS_PAYMENT})
      WHEN 'reversal' THEN EXISTS (
          SELECT FROM payment_events AS event
          WHERE event.session_id = movement.session_id AND event.topic = ANY(%s)
            AND (event.state->>'reversal_receipt' IS NULL
                 OR event.state->>'reversal_receipt' IN (movement.receipt, movement.linked_receipt)
                 OR movement.receipt = movement.linked_receipt))
      ELSE false END)
"""  # noqa: S608 - as above
# What is older than the books is posted after the upgrade that brought them.
_BOOKS_WERE_THERE = """
EXISTS (SELECT FROM schema_migrations
        WHERE (package, name) = ('projections', '0020_journal_entries.sql') AND applied_at < %(before)s)
"""
WAITING_EVENT = f"""
SELECT session_id, position, recorded_at FROM payment_events
WHERE origin = %(origin)s AND position > %(followed)s AND topic = ANY(%(topics)s) AND recorded_at < %(before)s
  AND {_BOOKS_WERE_THERE}
ORDER BY position LIMIT 1
"""  # noqa: S608 - as above
# The condition is that of the index, and of what the books take up.
WAITING_MOVEMENTS = f"""
SELECT receipt FROM mpesa_movements
WHERE journal_ordinal IS NULL AND (kind = 'payment' AND verdict = 'unknown' OR kind <> 'payment' AND verdict <> 'new')
  AND coalesce(settled_at, first_seen_at) < %(before)s AND {_BOOKS_WERE_THERE}
"""  # noqa: S608 - as above

_VALUES_OF = attrgetter(*COLUMNS)
_STATE_TOPICS = frozenset(STATE_TOPICS)

MOVEMENTS_AT_ONCE = 1_000

POSTING_MAY_TAKE = timedelta(minutes=15)
"""What moves money is in the books by then."""


def entries_of_sessions(ids: SessionIds, logs: Sequence[SessionLog], reader: Reader) -> Iterator[Violation]:
    """The entries of a session are what its followed events come to, in their order."""
    until = reader.terms.followed[TABLE]
    stored = defaultdict[int, list[tuple[Any, ...]]](list)
    for row in reader.connection.execute(ENTRIES.encode(), (ids,), binary=True):
        stored[row["session_id"].int].append(tuple(row.values()))
    receipts = [_receipts(log) for log in logs]
    movements_of_all = _movements(receipts, reader)
    for log, of_log in zip(logs, receipts, strict=True):
        if log.is_readable:
            named = {row["ordinal"]: row for receipt in of_log for row in movements_of_all.get(receipt, ())}
            of_session = [named[ordinal] for ordinal in sorted(named)]
            if list(_expected(log, until, of_session)) != stored[log.session_id.int]:
                yield log.violation("books", "its entries in the journal are not what its events come to")


def _movements(receipts: Iterable[set[str]], reader: Reader) -> defaultdict[str, list[dict[str, Any]]]:
    """Return the rows of the movement log that are ours and name these receipts, by receipt."""
    wanted, by_receipt = sorted(set().union(*receipts)), defaultdict[str, list[dict[str, Any]]](list)
    rows = reader.connection.execute(MOVEMENTS, {"receipts": wanted}) if wanted else ()
    for row in rows:
        if _is_ours(reader.vault, row):
            for receipt in _named(row):
                by_receipt[receipt].append(row)
    return by_receipt


def _is_ours(vault: Vault | None, row: Mapping[str, Any]) -> bool:
    """Say whether the books post a row of the movement log, or would without keys to tell."""
    return vault is None or is_logged(vault.keys, row)


def _receipts(log: SessionLog) -> set[str]:
    states = (event.state for event in log.recorded)
    return {
        receipt
        for state in states
        for receipt in (state.get("receipt"), state.get("reversal_receipt"))
        if receipt is not None
    }


def _expected(log: SessionLog, until: int, movements: Sequence[dict[str, Any]]) -> Iterator[tuple[Any, ...]]:
    events = [event for event in log.followed(until) if event.topic in _STATE_TOPICS]
    books = SessionBooks()
    entries = in_order(events, movements, lambda _: books, {})
    return (_VALUES_OF(entry) for entry in entries if entry.position is not None)


def posted_in_time(
    connection: Connection[Any], origin: int, horizon: int, followed: int, now: datetime
) -> Iterator[Violation]:
    """The books have followed the log, not beyond its horizon, and taken up what was matched: but for a while."""
    values = {
        "origin": origin,
        "followed": followed,
        "topics": list(MONEY_TOPICS),
        "before": now - POSTING_MAY_TAKE,
    }
    if followed >= horizon:
        yield Violation(
            "books", f"they are marked as following the log to {followed}, where no event can be yet"
        )
    for row in connection.execute(WAITING_EVENT.encode(), values):
        detail = f"they stand still at {followed}: position {row['position']} moved money over {POSTING_MAY_TAKE} ago"
        yield Violation("books", detail, row["session_id"], row["position"])
    for row in stream(connection, "waiting_movements", WAITING_MOVEMENTS, values):
        detail = f"a movement of receipt {row['receipt']} has waited for them for over {POSTING_MAY_TAKE}"
        yield Violation("books", detail)


def movements(connection: Connection[Any], vault: Vault | None, *, is_whole: bool) -> Iterator[Violation]:
    """Each movement that the books took up has its one entry, and each that they left out an event that tells of it."""
    apart = "movement {} of receipt {} is not in the journal as it was logged, once"
    for row in _posted_otherwise(connection, vault):
        yield Violation("books", apart.format(row["ordinal"], row["receipt"]))
    for statement, values, detail in (
        (NOT_LOGGED, None, apart),
        (LOGGED_OTHERWISE, None, "movement {} of receipt {} was logged otherwise than M-Pesa reported it"),
        (
            LEFT_OUT,
            ([Refunded.TOPIC, PaymentReversed.TOPIC],),
            "movement {} of receipt {} is not in the books, and no event tells of it",
        ),
    ):
        for row in stream(connection, "journal_movements", statement, values):
            yield Violation("books", detail.format(row["ordinal"], row["receipt"]))
    if is_whole:
        for row in stream(connection, "journal_sessions", OF_NO_SESSION):
            yield Violation("books", "the journal has entries of it, and it is no session", row["session_id"])
        for row in stream(connection, "journal_days", DAILY_SUMS):
            yield Violation(
                "daily sums", f"those of {row['day']} are not what the entries of that day come to"
            )


def _posted_otherwise(connection: Connection[Any], vault: Vault | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of the movement log that are not ours, or whose entries are not what the books before come to."""
    rows = stream(connection, "movement_log", MOVEMENT_LOG)
    while some := list(islice(rows, MOVEMENTS_AT_ONCE)):
        ordinals = [row["ordinal"] for row in some]
        found = connection.execute(OF_MOVEMENTS, (ordinals,))
        stored = {row["movement"]: Entry(**row) for row in found}
        receipts = {receipt for row in some for receipt in _named(row)}
        before = defaultdict[str, list[dict[str, Any]]](list)
        for entry in connection.execute(COUNTERPARTS.format(table=TABLE).encode(), (sorted(receipts),)):
            before[entry["receipt"]].append(entry)
        for row in some:
            known = (each for receipt in _named(row) for each in before[receipt] if _is_before(each, row))
            is_posted = stored.get(row["ordinal"]) == of_movement(row, posted_of(known))
            if not is_posted or not _is_ours(vault, row):
                yield row


def _named(row: Mapping[str, Any]) -> set[str]:
    return {receipt for receipt in (row["receipt"], row["linked_receipt"]) if receipt is not None}


def _is_before(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    """Whether an entry was posted before a row of the movement log."""
    if entry["movement"] is not None:
        return bool(entry["movement"] < row["ordinal"])
    return bool(entry["position"] <= row["posted_after"])
