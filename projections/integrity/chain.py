"""The chain from the first event on: blocks, heads, links between events, their content and their MACs.

What is stored is compared with itself: the blocks, the tree, each event's link to the one before it, and the moment of
its record with its neighbour's and those of the heads. What the hashes are over is recomputed event by event. Nothing
is folded, and no projection is read. Spans of the log, each read once (`spans`), are tasks for several processes, in
the order of positions, so that the first fault is the first one told.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import Connection

from ledger import clock
from ledger.errors import NotFound
from ledger.store import blocks
from ledger.store.blocks import Block, KeptName
from ledger.store.database import Database
from ledger.store.event_macs import EventMacs
from ledger.store.merkle import NODE_LEVEL
from ledger.store.positions import KNOWN_ORIGINS, read_horizon
from ledger.store.vault import Vault
from projections.integrity import log_rules, tree_rules
from projections.integrity.processes import Processes, run_apart, run_here
from projections.integrity.spans import NO_PART, Span, check_span
from projections.integrity.violations import Findings, Reader, Tally, Task, Terms, Violation, stream

EVENTS_AT_ONCE = 10_000
"""In a task: as many as a full block has."""

BEFORE_ALL = -(2**63)

PART = 1 << NODE_LEVEL
"""Events under a stored node of the lowest level."""

# A session whose row is ahead of the log lost its tail, whether a block was over it or not.
ROWS_AHEAD = """
SELECT session_id, version FROM payment_sessions AS session WHERE NOT EXISTS (
    SELECT FROM payment_events AS event WHERE event.session_id = session.session_id AND event.version = session.version
) ORDER BY session_id
"""
ORIGINS = f"{KNOWN_ORIGINS} SELECT origin FROM known WHERE origin IS NOT NULL"  # noqa: S608 - made of names of our own
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
        if start is None:
            spans, compared = _all_spans(connection), tree_rules.parts_of_blocks(connection)
            nodes = tree_rules.tasks(connection, compared)
        else:
            spans, nodes = _spans(connection, start.origin, start.number, start.until_position), iter(())
        tasks = (partial(check_span, span, stored_only=stored_only) for span in spans)
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


def _all_spans(connection: Connection[Any]) -> Iterator[Span]:
    signed = set(blocks.last_numbers(connection))
    for origin in sorted(signed | {row["origin"] for row in connection.execute(ORIGINS)}):
        yield from _spans(connection, origin, 0, BEFORE_ALL)


def _spans(connection: Connection[Any], origin: int, number: int, after: int) -> Iterator[Span]:
    """Yield the spans beyond a block, full blocks one by one and small ones together, then what no block covers."""
    first, events, last, size = number + 1, 0, number, 0
    until = after

    def span() -> Span:
        parts = (size // PART, (size + events) // PART - 1) if number == 0 else NO_PART
        return Span(origin, after, until, (first, last), parts)

    for row in stream(connection, f"blocks of {origin}", BLOCKS, (origin, number)):
        if events and events + row["events"] > EVENTS_AT_ONCE:
            yield span()
            size += events
            first, events, after = row["number"], 0, until
        last, until, events = row["number"], row["until_position"], events + row["events"]
    if events:
        yield span()
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
