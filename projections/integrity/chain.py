"""The chain from the first event on: blocks, heads, links between events, their content and their MACs.

What is stored is compared by PostgreSQL and by hashing alone: the blocks, the tree, each event's link to the one before
it, and the moment of its record with its neighbour's and those of the heads. What the hashes are over is recomputed
event by event. Nothing is folded, and no projection is read. Spans of the log are tasks for several processes, in the
order of positions, so that the first fault is the first one told.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection

from ledger import clock
from ledger.errors import NotFound
from ledger.store import blocks
from ledger.store.blocks import Block, KeptName
from ledger.store.canonical import UNREADABLE, canonical_json, chained_hash
from ledger.store.database import Database
from ledger.store.event_macs import COLUMNS, EventMacs
from ledger.store.positions import KNOWN_ORIGINS, read_horizon
from ledger.store.vault import Vault
from projections.integrity import log_rules, tree_rules
from projections.integrity.processes import Processes, run_apart, run_here
from projections.integrity.violations import Findings, Reader, Tally, Task, Terms, Violation, stream

EVENTS_AT_ONCE = 10_000
"""In a task: as many as a full block has."""

BEFORE_ALL = -(2**63)
NO_BLOCK = (1, 0)

CLOCKS_DIFFER = timedelta(hours=1)
"""By so much the clocks of the database and of the worker that signs may differ, and be set back."""
HELD_BACK = timedelta(days=1)
"""So long an event may wait below no head, while a transaction before it is left open."""

# A session whose row is ahead of the log lost its tail, whether a block was over it or not.
ROWS_AHEAD = """
SELECT session_id, version FROM payment_sessions AS session WHERE NOT EXISTS (
    SELECT FROM payment_events AS event WHERE event.session_id = session.session_id AND event.version = session.version
) ORDER BY session_id
"""
UNLINKED = """
SELECT event.position, event.session_id, event.version FROM payment_events AS event
LEFT JOIN payment_events AS earlier ON earlier.session_id = event.session_id AND earlier.version = event.version - 1
WHERE event.origin = %s AND event.position > %s AND event.position <= %s AND (
    event.previous_hash IS DISTINCT FROM
        CASE WHEN event.version = 1 THEN decode(repeat('00', 32), 'hex') ELSE earlier.hash END
    OR event.version < 1 OR event.position <= 0
    OR (earlier.origin = event.origin AND earlier.position >= event.position))
ORDER BY event.position
"""
# The event before the span tells whether its first steps back.
STEPS_BACK = """
SELECT position, session_id, version, before FROM (
    SELECT position, session_id, version, recorded_at, lag(recorded_at) OVER places AS recorded_before,
           lag(position) OVER places AS before
    FROM payment_events WHERE origin = %(origin)s AND position <= %(until)s AND position >= coalesce((
        SELECT max(position) FROM payment_events WHERE origin = %(origin)s AND position <= %(after)s), %(after)s)
    WINDOW places AS (ORDER BY position)
) AS event WHERE position > %(after)s AND recorded_at < recorded_before - %(clocks)s ORDER BY position
"""
# After a full block more was waiting already, for as long as no worker signed: its time bounds nothing.
NOT_WITHIN_HEADS = """
SELECT event.position, event.session_id, event.version, block.number, event.recorded_at > block.signed_at AS is_after
FROM signed_blocks AS block
LEFT JOIN signed_blocks AS earlier ON earlier.origin = block.origin AND earlier.number = block.number - 1
    AND earlier.events < %(full)s
JOIN payment_events AS event ON event.origin = block.origin
    AND event.position > block.after_position AND event.position <= block.until_position
WHERE block.origin = %(origin)s AND block.number BETWEEN %(first)s AND %(last)s AND (
    event.recorded_at > block.signed_at + %(clocks)s OR event.recorded_at < earlier.signed_at - %(held)s)
ORDER BY event.position
"""
COUNTED = (
    "SELECT count(*) AS events FROM payment_events WHERE origin = %s AND position > %s AND position <= %s"
)
CONTENT = f"""
SELECT session_id::text, version, topic, state::text AS state, metadata::text AS metadata, previous_hash, {COLUMNS}
FROM payment_events WHERE origin = %s AND position > %s AND position <= %s ORDER BY position
"""  # noqa: S608 - made of names of our own
ORIGINS = f"{KNOWN_ORIGINS} SELECT origin FROM known WHERE origin IS NOT NULL"  # noqa: S608 - as above
BLOCKS = "SELECT number, until_position, events FROM signed_blocks WHERE origin = %s AND number > %s ORDER BY number"
NEXT_UNTIL = """
SELECT max(position) AS until FROM (
    SELECT position FROM payment_events WHERE origin = %s AND position > %s ORDER BY position LIMIT %s
) AS unsigned
"""


@dataclass(frozen=True, slots=True)
class ChainFound:
    """What was found over so many events; `first` is the first broken position, None if no fault has one."""

    violations: list[Violation]
    events: int
    first: int | None
    last_block: Block | None


@dataclass(frozen=True, slots=True)
class Span:
    """Events of an origin with after < position <= until, and the numbers of the blocks over them, from and to."""

    origin: int
    after: int
    until: int
    blocks: tuple[int, int] = NO_BLOCK


def check_chain(
    database: Database,
    vault: Vault,
    *,
    since: KeptName | None = None,
    stored_only: bool = False,
    kept_blocks: Iterable[KeptName] = (),
    published: Iterable[bytes] = (),
    processes: Processes | None = None,
    on_progress: Callable[[int], None] = lambda _: None,
    also: Callable[[Connection[Any]], Iterator[Violation]] = lambda _: iter(()),
) -> ChainFound:
    """Follow the chain in one snapshot, from the first event or `since` a block that is known to be genuine.

    `stored_only` leaves out what has to be recomputed from content. `kept_blocks`, `published`, `also`, `processes` and
    `on_progress` are as for `invariants.examine`. Raises Unavailable, and NotFound if the block is not there.
    """
    with database.snapshot() as connection:
        origin, _ = read_horizon(connection)
        start = blocks.find(connection, since) if since is not None else None
        if since is not None and start is None:
            raise NotFound(f"Block {since.origin}-{since.number} is not in the log with that hash.")
        reader = Reader(connection, vault, EventMacs(database, vault.keys), Terms(0, clock.now(), {}))
        spans = (
            _all_spans(connection)
            if start is None
            else _spans(connection, start.origin, start.number, start.until_position)
        )
        tasks = (partial(check_span, span, stored_only=stored_only) for span in spans)
        nodes = tree_rules.tasks(connection) if start is None else ()
        findings, events = Findings(), 0
        findings.add(log_rules.signed_blocks(connection, vault, kept_blocks, since, published))
        for tally in _run(processes, reader, itertools.chain(tasks, nodes)):
            events += tally.events
            findings.merge(tally.findings)
            on_progress(events)
        if start is None:
            findings.add(_rows_ahead(connection))
            findings.add(tree_rules.nodes(connection))
        findings.add(also(connection))
        broken = [each.position for each in findings.listed if each.position is not None]
        return ChainFound(
            findings.all(), events, min(broken, default=None), blocks.newest(connection, origin)
        )


def check_span(span: Span, reader: Reader, *, stored_only: bool) -> Tally:
    """Check one span: its blocks and their tree, links, and the content and MACs of its events."""
    connection, tally = reader.connection, Tally()
    found = blocks.faults_of_events(connection, span.origin, *span.blocks, with_tree=True)
    tally.findings.add(Violation("blocks", fault.detail, position=fault.position) for fault in found)
    values = (span.origin, span.after, span.until)
    unlinked = connection.execute(UNLINKED, values)
    tally.findings.add(
        _violation(row, "does not follow the one before it in its session") for row in unlinked
    )
    tally.findings.add(_recorded_at_odd_times(span, connection))
    if stored_only:
        [counted] = connection.execute(COUNTED, values)
        tally.events = counted["events"]
        return tally
    rows = connection.execute(CONTENT, values, binary=True).fetchall()
    tally.events = len(rows)
    for row in rows:
        if fault := _fault_of_content(row, reader.macs):
            tally.findings.add([_violation(row, fault)])
    return tally


def _recorded_at_odd_times(span: Span, connection: Connection[Any]) -> Iterator[Violation]:
    """Report the events whose recorded_at, which no hash is over, cannot be what the clocks said.

    It steps back against the event before, is after the head over the event was signed, or before the head before.
    """
    first, last = span.blocks
    values = {
        "origin": span.origin,
        "after": span.after,
        "until": span.until,
        "first": first,
        "last": last,
        "full": blocks.MAX_EVENTS,
        "clocks": CLOCKS_DIFFER,
        "held": HELD_BACK,
    }
    for row in connection.execute(STEPS_BACK, values):
        fault = f"says to be recorded more than an hour before the one at position {row['before']}"
        yield _violation(row, fault, "recorded times")
    for row in connection.execute(NOT_WITHIN_HEADS, values):
        head, side = (row["number"], "after") if row["is_after"] else (row["number"] - 1, "before")
        fault = f"says to be recorded {side} block {span.origin}-{head} was signed"
        fault += ", which is over it" if row["is_after"] else ", which is not over it"
        yield _violation(row, fault, "recorded times")


def _fault_of_content(row: dict[str, Any], macs: EventMacs | None) -> str | None:
    metadata = row["metadata"]
    head = f'["{row["session_id"]}",{row["version"]},{_spelled(row["topic"])},'.encode()
    try:
        content = head + canonical_json(msgspec.json.decode(row["state"]))
        if metadata is not None:  # An event of format 1 has none.
            content += b"," + canonical_json(msgspec.json.decode(metadata))
    except UNREADABLE:  # A number that no event of ours has, or more depth.
        content = b""
    if chained_hash(row["previous_hash"], sha256(content + b"]").digest()) != row["hash"]:
        return "was altered: its hash is not that of its content"
    if macs is not None and not macs.is_genuine(row):
        return "does not carry our MAC: somebody else wrote it"
    return None


def _violation(row: dict[str, Any], fault: str, rule: str = "hash chain") -> Violation:
    detail = f"the event at position {row['position']} (version {row['version']}) {fault}"
    return Violation(rule, detail, UUID(str(row["session_id"])), row["position"])


@lru_cache(maxsize=200)
def _spelled(topic: str) -> str:
    return canonical_json(topic).decode()


def _all_spans(connection: Connection[Any]) -> Iterator[Span]:
    signed = set(blocks.last_numbers(connection))
    for origin in sorted(signed | {row["origin"] for row in connection.execute(ORIGINS)}):
        yield from _spans(connection, origin, 0, BEFORE_ALL)


def _spans(connection: Connection[Any], origin: int, number: int, after: int) -> Iterator[Span]:
    """Yield the spans beyond a block, full blocks one by one and small ones together, then what no block covers."""
    first, events, last = number + 1, 0, number
    until = after
    for row in stream(connection, f"blocks of {origin}", BLOCKS, (origin, number)):
        if events and events + row["events"] > EVENTS_AT_ONCE:
            yield Span(origin, after, until, (first, last))
            first, events, after = row["number"], 0, until
        last, until, events = row["number"], row["until_position"], events + row["events"]
    if events:
        yield Span(origin, after, until, (first, last))
    while (beyond := _next_until(connection, origin, until)) is not None:
        yield Span(origin, until, beyond)
        until = beyond


def _next_until(connection: Connection[Any], origin: int, after: int) -> int | None:
    [row] = connection.execute(NEXT_UNTIL, (origin, after, EVENTS_AT_ONCE))
    until: int | None = row["until"]
    return until


def _run(processes: Processes | None, reader: Reader, tasks: Iterable[Task]) -> Iterator[Tally]:
    if processes is None:
        return run_here(reader, tasks)
    return run_apart(processes, reader.connection, reader.terms, tasks)


def _rows_ahead(connection: Connection[Any]) -> Iterator[Violation]:
    for row in stream(connection, "rows ahead", ROWS_AHEAD):
        detail = f"its row is at version {row['version']}, which the log does not have: its tail is gone"
        yield Violation("hash chain", detail, row["session_id"])
