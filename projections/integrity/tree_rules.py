"""The stored nodes of the Merkle tree are those of the log: what proofs are made from."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from psycopg import Connection

from ledger.store.block_faults import Nodes
from ledger.store.blocks import LEAVES
from ledger.store.merkle import NODE_LEVEL, Peaks
from projections.integrity.guards import run_guarded
from projections.integrity.violations import Reader, Tally, Task, Violation

PARTS_AT_ONCE = 40

PARTS = "SELECT origin, max(number) AS last FROM merkle_nodes WHERE level = 8 GROUP BY origin ORDER BY origin"
COMPARED = "SELECT origin, sum(events) / 256 AS parts FROM signed_blocks GROUP BY origin"
STORED = """
SELECT number, hash, until_position FROM merkle_nodes
WHERE origin = %s AND level = 8 AND number BETWEEN %s AND %s ORDER BY number
"""
LEAVES_OF_PARTS = f"""
SELECT node.number, node.hash, coalesce(log.leaves, ''::bytea) AS leaves FROM merkle_nodes AS node
CROSS JOIN LATERAL (
    SELECT {LEAVES} AS leaves FROM payment_events AS event
    WHERE event.origin = node.origin AND position <= node.until_position AND position > CASE node.number WHEN 0 THEN 0
        ELSE (SELECT until_position FROM merkle_nodes AS earlier
              WHERE earlier.origin = node.origin AND earlier.level = 8 AND earlier.number = node.number - 1) END
) AS log
WHERE node.origin = %s AND node.level = 8 AND node.number BETWEEN %s AND %s ORDER BY node.number
"""  # noqa: S608 - made of names of our own
UNLED = """
SELECT node.origin, node.level, node.number FROM merkle_nodes AS node
LEFT JOIN merkle_nodes AS lefthand ON (lefthand.origin, lefthand.level, lefthand.number)
    = (node.origin, node.level - 1, node.number * 2)
LEFT JOIN merkle_nodes AS righthand ON (righthand.origin, righthand.level, righthand.number)
    = (node.origin, node.level - 1, node.number * 2 + 1)
WHERE node.level > 8 AND (node.until_position IS DISTINCT FROM righthand.until_position
    OR node.hash IS DISTINCT FROM sha256('\\x01'::bytea || lefthand.hash || righthand.hash))
ORDER BY origin, level, number
"""
# Above its last part, each origin has less than a part under its blocks.
MISSING = """
SELECT block.origin, wanted.level FROM (
    SELECT origin, max(until_position) AS until_position FROM signed_blocks GROUP BY origin
) AS block
CROSS JOIN LATERAL (
    SELECT coalesce(max(number) + 1, 0) AS parts, coalesce(max(until_position), 0) AS until_position
    FROM merkle_nodes WHERE origin = block.origin AND level = 8
) AS stored
CROSS JOIN LATERAL (
    SELECT stored.parts + count(*) / 256 AS parts FROM (
        SELECT FROM payment_events AS event WHERE event.origin = block.origin
        AND position > stored.until_position AND position <= block.until_position LIMIT 256) AS beyond
) AS whole
CROSS JOIN LATERAL (
    SELECT level FROM generate_series(8, 62) AS level
    WHERE whole.parts >> level - 8
        <> (SELECT count(*) FROM merkle_nodes AS node WHERE node.origin = block.origin AND node.level = level.level)
) AS wanted ORDER BY origin, level
"""


def tasks(connection: Connection[Any], compared: Mapping[int, int] | None = None) -> Iterator[Task]:
    """Return what compares the stored nodes over 256 events with the log, a few at a time.

    Of each origin in `compared`, the first so many are left out.
    """
    for row in connection.execute(PARTS).fetchall():
        begin = (compared or {}).get(row["origin"], 0)
        for first in range(begin, row["last"] + 1, PARTS_AT_ONCE):
            check = partial(check_parts, row["origin"], first, first + PARTS_AT_ONCE - 1)
            yield partial(run_guarded, check, "tree")


def parts_of_blocks(connection: Connection[Any]) -> dict[int, int]:
    """Return over how many times 256 events there are signed blocks, by origin."""
    return {row["origin"]: row["parts"] for row in connection.execute(COMPARED)}


def check_computed(origin: int, first: int, last: int, computed: Nodes, reader: Reader) -> Tally:
    """Compare as `check_parts` does, where the hashes and last positions were computed from the log already."""
    stored = reader.connection.execute(STORED, (origin, first, last), binary=True)
    others = [
        row["number"] for row in stored if computed.get(row["number"]) != (row["hash"], row["until_position"])
    ]
    return check_parts(origin, others[0], others[-1], reader) if others else Tally()


def check_parts(origin: int, first: int, last: int, reader: Reader) -> Tally:
    """Compare the nodes of these numbers over 256 events with those of the log."""
    tally = Tally()
    for row in reader.connection.execute(LEAVES_OF_PARTS, (origin, first, last), binary=True):
        tree = Peaks()
        tree.grow(bytes(row["leaves"]))
        if tree.size != 1 << NODE_LEVEL or tree.hashes != [row["hash"]]:
            tally.findings.add(
                [_violation(f"node {NODE_LEVEL}-{row['number']} of origin {origin} is not that of the log")]
            )
    return tally


def nodes(connection: Connection[Any]) -> Iterator[Violation]:
    """Each further node is over the two below it, and none is missing up to the last block."""
    for row in connection.execute(UNLED):
        yield _violation(
            f"node {row['level']}-{row['number']} of origin {row['origin']} is not that of the two below it"
        )
    for row in connection.execute(MISSING):
        yield _violation(f"nodes of level {row['level']} of origin {row['origin']} are missing, or needless")


def _violation(detail: str) -> Violation:
    return Violation("tree", f"{detail}; docs/proofs.md says how to have the nodes made anew")
