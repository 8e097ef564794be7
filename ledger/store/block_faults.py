"""Whether signed blocks fit the events that are stored under them: digests, lists of leaves, and roots of the tree."""

from collections.abc import Iterable, Iterator
from hashlib import sha256
from typing import Any

from psycopg import Connection

from ledger.store.blocks import COLUMNS, LEAVES, Block, Fault, grown, numbered
from ledger.store.merkle import LEAF_BYTES, NODE_LEVEL, Peaks

_WITH_LEAVES = (
    f"SELECT {COLUMNS}, leaves FROM signed_blocks "  # noqa: S608 - made of names of our own
    "WHERE origin = %s AND number BETWEEN %s AND %s ORDER BY number"
)
_SIGNED_AND_FOUND = f"""
SELECT {COLUMNS}, leaves, coalesce(log.found, ''::bytea) AS found FROM signed_blocks AS block
CROSS JOIN LATERAL (
    SELECT {LEAVES} AS found FROM payment_events AS event
    WHERE event.origin = block.origin AND position > block.after_position AND position <= block.until_position
) AS log
WHERE origin = %s AND number BETWEEN %s AND %s ORDER BY number
"""  # noqa: S608 - made of names of our own


Signed = tuple[bytes | None, Block]
"""The leaves that a block was signed over, None if it lists none, and the block."""

Nodes = dict[int, tuple[bytes, int | None]]
"""The hashes and last positions of nodes over 256 events, by number."""


def with_leaves(connection: Connection[Any], origin: int, first: int, last: int) -> list[Signed]:
    """Return the blocks of these numbers, and of each the leaves that it was signed over, None if it lists none."""
    rows = connection.execute(_WITH_LEAVES, (origin, first, last), binary=True)
    return [(row.pop("leaves"), Block(**row)) for row in rows]


def faults_of_events(
    connection: Connection[Any], origin: int, first: int, last: int, *, with_tree: bool = False
) -> Iterator[Fault]:
    """Report the blocks of these numbers that do not fit the stored positions and hashes of their events.

    `with_tree` asks as well whether their roots are those of the tree over these events.
    """
    before = numbered(connection, origin, first - 1)
    rows = connection.execute(_SIGNED_AND_FOUND, (origin, first, last), binary=True)
    found = ((row.pop("found"), (row.pop("leaves"), Block(**row))) for row in rows)
    return faults_of_leaves(connection, before, found, {}, with_tree=with_tree)


def faults_of_leaves(
    connection: Connection[Any],
    before: Block | None,
    found: Iterable[tuple[bytes, Signed]],
    nodes: Nodes,
    *,
    with_tree: bool = True,
) -> Iterator[Fault]:
    """Report as `faults_of_events` does, by the leaves that were found of each block; `before` is the block before.

    `nodes` is given those that the blocks complete.
    """
    tree = before.tree() if before else Peaks()
    for there, (leaves, block) in found:
        name = f"block {block.origin}-{block.number}"
        if sha256(there).digest() != block.digest:
            yield _changed(block, leaves, there)
        elif leaves is not None and leaves != there:
            yield Fault(f"{name} has another list of its events than it was signed over", None)
        elif with_tree and block.tree_size is not None:
            size_before = block.tree_size - block.events
            if tree is None or tree.size != size_before:
                tree = grown(connection, block.origin, Peaks(), 0, block.after_position)
            completed = tree.grow(there)
            if (tree.size, tree.root()) != (block.tree_size, block.root_hash):
                yield Fault(
                    f"{name} has a root that is not that of the events up to it", block.until_position
                )
            for number, node in completed.items():
                last = (number + 1 << NODE_LEVEL) - size_before - 1
                nodes[number] = node, _position_at(there, LEAF_BYTES * last)
        tree = block.tree()


def _changed(block: Block, leaves: bytes | None, found: bytes) -> Fault:
    """Return what is wrong with a block whose events changed, and the first position where they did."""
    begin = (
        f"block {block.origin}-{block.number} was signed over {block.events} events, and what is there now "
        f"({len(found) // LEAF_BYTES} events) is not the same"
    )
    if leaves is None or sha256(leaves).digest() != block.digest:
        span = f"between the positions {block.after_position + 1} and {block.until_position}"
        return Fault(f"{begin}: something {span}", block.after_position + 1)
    starts = range(0, max(len(leaves), len(found)), LEAF_BYTES)
    start = next(at for at in starts if leaves[at : at + LEAF_BYTES] != found[at : at + LEAF_BYTES])
    signed, there = (_position_at(each, start) for each in (leaves, found))
    if signed == there:
        return Fault(f"{begin}: the event at position {signed} has another hash", signed)
    if there is None or (signed is not None and signed < there):
        return Fault(f"{begin}: the event at position {signed} is gone", signed)
    return Fault(f"{begin}: the event at position {there} was added", there)


def _position_at(leaves: bytes, start: int) -> int | None:
    return int.from_bytes(leaves[start : start + 8], signed=True) if start < len(leaves) else None
