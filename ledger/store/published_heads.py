"""Signed heads as they were published: one JSON object a line, as `Block.shown` gives it, compared with the log."""

from collections.abc import Collection, Iterable, Iterator
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Connection

from ledger.store.blocks import Block, Fault, numbered
from ledger.store.canonical import canonical_json

MAX_LINE_BYTES = 4_000
"""Of a published head, which has less than a thousand."""

_NUMBERS = ("number", "after_position", "until_position", "tree_size")
_BINARY = ("digest", "previous_hash", "root_hash", "hash", "public_key", "signature")
_FIRST_BEYOND = "SELECT min(position) AS position FROM payment_events WHERE origin = %s AND position > %s"


def line_of(head: Block) -> bytes:
    """Return the line by which a head is published."""
    return canonical_json(head.shown()) + b"\n"


def faults(
    connection: Connection[Any], lines: Iterable[bytes], own_keys: Collection[bytes]
) -> Iterator[Fault]:
    """Report the lines that are no heads of ours, and the heads that the log does not have as they were published.

    A fault's position is the first event that no published head before it shows to be the same.
    """
    good: dict[int, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        head = _head_of(line)
        if head is None or not head.is_genuine(own_keys):
            yield Fault(f"line {number} of the published heads is no head that a key of ours signed", None)
            continue
        stored = numbered(connection, head.origin, head.number)
        if stored is not None and stored.hash == head.hash:
            good[head.origin] = max(head.until_position, good.get(head.origin, 0))
            continue
        after = good.get(head.origin, 0)
        became = "is not there any more" if stored is None else f"is block {stored.name} now"
        [first] = connection.execute(_FIRST_BEYOND, (head.origin, after))
        span = f"the log is another between the positions {after + 1} and {head.until_position}"
        detail = f"head {head.name} was published at line {number} and {became}: {span}"
        yield Fault(detail, after + 1 if first["position"] is None else first["position"])


def _head_of(line: bytes) -> Block | None:
    try:
        shown = msgspec.json.decode(line[:MAX_LINE_BYTES], type=dict[str, str | int | None])
        del shown["name"]
        values: dict[str, Any] = shown | {name: int(shown[name] or 0) for name in _NUMBERS}
        values |= {name: bytes.fromhex(str(shown[name])) for name in _BINARY}
        return Block(**values | {"signed_at": datetime.fromisoformat(str(shown["signed_at"]))})
    except (msgspec.MsgspecError, KeyError, TypeError, ValueError):
        return None
