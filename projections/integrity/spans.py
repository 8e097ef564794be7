"""One span of the chain: its events are read once, and compared with each other, their blocks, content and MACs.

What Python can tell in passing is told there. An event whose link it cannot see, because the one before it is in
another span or because something is wrong, is judged by PostgreSQL.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from itertools import pairwise
from typing import Any
from uuid import UUID

import msgspec
from psycopg import Connection
from psycopg.rows import tuple_row

from ledger.store import block_faults, blocks
from ledger.store.block_faults import Nodes
from ledger.store.blocks import Block
from ledger.store.canonical import GENESIS, UNREADABLE, chained_hash, event_content
from ledger.store.event_macs import EventMacs
from projections.integrity import tree_rules
from projections.integrity.guards import run_guarded
from projections.integrity.violations import Reader, Tally, Violation

NO_BLOCK = (1, 0)
NO_PART = (0, -1)

CLOCKS_DIFFER = timedelta(hours=1)
"""By so much the clocks of the database and of the worker that signs may differ, and be set back."""
HELD_BACK = timedelta(days=1)
"""So long an event may wait below no head, while a transaction before it is left open."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
"""From where PostgreSQL counts microseconds; its infinities are the first and the last number of 64 bits."""

# Moments as PostgreSQL keeps them: -infinity and infinity are none of Python's.
STORED = "position, hash, previous_hash, session_id::text, version, timestamptz_send(recorded_at)"
CONTENT = "topic, state::text, metadata::text, key_id, mac"
EVENTS = """
SELECT {columns} FROM payment_events WHERE origin = %s AND position > %s AND position <= %s ORDER BY position
"""
BEFORE_SPAN = """
SELECT position, timestamptz_send(recorded_at) FROM payment_events WHERE origin = %s AND position <= %s
ORDER BY position DESC LIMIT 1
"""
UNLINKED = """
SELECT event.position, event.session_id, event.version FROM payment_events AS event
LEFT JOIN payment_events AS earlier ON earlier.session_id = event.session_id AND earlier.version = event.version - 1
WHERE event.origin = %s AND event.position = ANY(%s) AND (
    event.previous_hash IS DISTINCT FROM
        CASE WHEN event.version = 1 THEN decode(repeat('00', 32), 'hex') ELSE earlier.hash END
    OR event.version < 1 OR event.position <= 0
    OR (earlier.origin = event.origin AND earlier.position >= event.position))
ORDER BY event.position
"""

Row = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Span:
    """Events of an origin with after < position <= until, and the numbers of the blocks over them, from and to.

    `parts` are the numbers, from and to, of the nodes over 256 events that are compared with them.
    """

    origin: int
    after: int
    until: int
    blocks: tuple[int, int] = NO_BLOCK
    parts: tuple[int, int] = NO_PART


@dataclass(frozen=True, slots=True)
class Events:
    """The events of a span in the order of positions: their rows, of STORED and perhaps CONTENT."""

    rows: Sequence[Row]
    positions: list[int]
    moments: list[int]
    """When each says it was recorded, in microseconds since 2000."""

    def under(self, block: Block) -> slice:
        """Return which of them a block is over."""
        start = bisect_right(self.positions, block.after_position)
        return slice(start, bisect_right(self.positions, block.until_position, lo=start))

    def leaves(self, block: Block) -> bytes:
        """Return their leaves that a block is over, as `blocks.LEAVES` does."""
        rows = self.rows[self.under(block)]
        return b"".join([row[0].to_bytes(8, signed=True) + row[1] for row in rows])

    def fault(self, index: int, detail: str, rule: str = "hash chain") -> Violation:
        """Return what is wrong with one of them."""
        position, _, _, session_id, version, *_ = self.rows[index]
        return violation(position, session_id, version, detail, rule)


def check_span(span: Span, reader: Reader, *, stored_only: bool) -> Tally:
    """Check one span: its blocks and their tree, links, recorded times, and the content and MACs of its events."""
    connection, tally = reader.connection, Tally()
    events = read_events(span, connection, stored_only=stored_only)
    tally.events = len(events.rows)
    before = blocks.numbered(connection, span.origin, span.blocks[0] - 1)
    signed = block_faults.with_leaves(connection, span.origin, *span.blocks)
    nodes: Nodes = {}
    if all(span.after <= block.after_position and block.until_position <= span.until for _, block in signed):
        found = ((events.leaves(each[1]), each) for each in signed)
        faults = block_faults.faults_of_leaves(connection, before, found, nodes)
    else:  # They say to be over events of another span.
        faults = block_faults.faults_of_events(connection, span.origin, *span.blocks, with_tree=True)
    tally.findings.add(Violation("blocks", fault.detail, position=fault.position) for fault in faults)
    tally.findings.add(_unlinked(span, events, connection))
    tally.findings.add(
        recorded_at_odd_times(span, events, before, [block for _, block in signed], connection)
    )
    if span.parts != NO_PART:
        compare = partial(tree_rules.check_computed, span.origin, *span.parts, nodes)
        tally.findings.merge(run_guarded(compare, "tree", reader).findings)
    if not stored_only:
        tally.findings.add(_altered(span, events, reader.macs))
    return tally


def read_events(span: Span, connection: Connection[Any], *, stored_only: bool) -> Events:
    """Read the events of a span."""
    columns = STORED if stored_only else f"{STORED}, {CONTENT}"
    with connection.cursor(row_factory=tuple_row) as cursor:
        values = (span.origin, span.after, span.until)
        rows = cursor.execute(EVENTS.format(columns=columns).encode(), values, binary=True).fetchall()
    return Events(rows, [row[0] for row in rows], [_moment(row[5]) for row in rows])


def recorded_at_odd_times(
    span: Span, events: Events, before: Block | None, signed: Sequence[Block], connection: Connection[Any]
) -> Iterator[Violation]:
    """Report the events whose recorded_at, which no hash is over, cannot be what the clocks said.

    It steps back against the event before, is after the head over the event was signed, or before the head before.
    """
    clocks, moments = CLOCKS_DIFFER // _MICROSECOND, events.moments
    last = _last_before(span, connection)
    for index, (earlier, later) in enumerate(pairwise([last[1], *moments] if last else moments)):
        if later < earlier - clocks:
            at = index if last else index + 1
            position = events.positions[at - 1] if at else last and last[0]
            fault = f"says to be recorded more than an hour before the one at position {position}"
            yield events.fault(at, fault, "recorded times")
    for block in signed:
        yield from _not_within_heads(span, events, before, block)
        before = block


def _last_before(span: Span, connection: Connection[Any]) -> tuple[int, int] | None:
    """Return the position and the moment of the event before a span, which tells whether its first steps back."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(BEFORE_SPAN, (span.origin, span.after), binary=True).fetchone()
    return None if row is None else (row[0], _moment(row[1]))


def _not_within_heads(span: Span, events: Events, before: Block | None, block: Block) -> Iterator[Violation]:
    under = events.under(block)
    moments = events.moments[under]
    latest = _microseconds(block.signed_at + CLOCKS_DIFFER)
    earliest = None
    # After a full block more was waiting already, for as long as no worker signed: its time bounds nothing.
    if before is not None and before.number == block.number - 1 and before.events < blocks.MAX_EVENTS:
        earliest = _microseconds(before.signed_at - HELD_BACK)
    if not moments or (max(moments) <= latest and (earliest is None or min(moments) >= earliest)):
        return
    for index, moment in enumerate(moments, under.start):
        if moment > latest:
            fault = f"after block {span.origin}-{block.number} was signed, which is over it"
        elif earliest is not None and moment < earliest:
            fault = f"before block {span.origin}-{block.number - 1} was signed, which is not over it"
        else:
            continue
        yield events.fault(index, f"says to be recorded {fault}", "recorded times")


def _unlinked(span: Span, events: Events, connection: Connection[Any]) -> Iterator[Violation]:
    """Report the events that do not follow the one before them in their session."""
    last: dict[str, tuple[int, bytes, int]] = {}
    doubtful = []
    for position, hashed, previous, session_id, version, *_ in events.rows:
        if version == 1:
            follows = previous == GENESIS
        else:
            before = last.get(session_id)
            follows = before is not None and version > 1 and before[:2] == (version - 1, previous)
            follows = follows and before is not None and before[2] < position
        if not follows or position <= 0:
            doubtful.append(position)
        last[session_id] = (version, hashed, position)
    if doubtful:
        for row in connection.execute(UNLINKED, (span.origin, doubtful)):
            yield violation(**row, detail="does not follow the one before it in its session")


def _altered(span: Span, events: Events, macs: EventMacs | None) -> Iterator[Violation]:
    """Report the events whose hash is not that of their content, or whose MAC is not ours."""
    for index, row in enumerate(events.rows):
        position, hashed, previous, session_id, version, _, topic, state, metadata, key_id, mac = row
        content = _content(session_id, version, topic, state, metadata)
        if chained_hash(previous, sha256(content).digest()) != hashed:
            yield events.fault(index, "was altered: its hash is not that of its content")
        elif macs is not None and not macs.is_signed(span.origin, position, hashed, key_id, mac):
            yield events.fault(index, "does not carry our MAC: somebody else wrote it")


def _content(session_id: str, version: int, topic: str, state: str, metadata: str | None) -> bytes:
    """Return what `canonical.event_digest` hashes; nothing for what no event of ours has."""
    texts = f"[{state}]" if metadata is None else f"[{state},{metadata}]"  # An event of format 1 has none.
    try:
        return event_content(session_id, version, topic, _decoded(texts))
    except UNREADABLE:  # A number that no event of ours has, or more depth.
        return b""


def violation(
    position: int, session_id: UUID | str, version: int, detail: str, rule: str = "hash chain"
) -> Violation:
    """Return what is wrong with an event."""
    detail = f"the event at position {position} (version {version}) {detail}"
    return Violation(rule, detail, UUID(str(session_id)), position)


_decoded: Callable[[str], Any] = msgspec.json.Decoder().decode


def _moment(sent: bytes) -> int:
    return int.from_bytes(sent, signed=True)


def _microseconds(moment: datetime) -> int:
    return (moment - _EPOCH) // _MICROSECOND
