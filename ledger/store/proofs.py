"""Proofs for a third party: that an event is under a signed head, and that one head is the start of another.

A proof is made from the stored nodes of the tree and the leaves of at most a few hundred events, and is checked against
the signed root before it is handed out: where the log is not what was signed, there is none. Its JSON form, and how to
check it with a standard library and an Ed25519 verifier, is in docs/proofs.md.
"""

from collections.abc import Callable, Collection, Sequence
from hashlib import sha256
from itertools import takewhile
from typing import Any
from uuid import UUID

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from psycopg import Connection

from ledger.errors import Conflict, NotFound, wrong_fields
from ledger.store import merkle
from ledger.store.blocks import LEAVES, Block, covering, newest_genuine, numbered
from ledger.store.database import Database
from ledger.store.merkle import LEAF_BYTES, NODE_LEVEL, Node
from ledger.store.positions import read_horizon

INCLUSION, CONSISTENCY = "daftari inclusion proof v1", "daftari consistency proof v1"

_EVENT = "SELECT session_id, version, origin, position, hash FROM payment_events "
_AT = _EVENT + "WHERE origin = %s AND position = %s"
_OF_SESSION = _EVENT + "WHERE session_id = %s ORDER BY version"
_NODES = """
SELECT level::integer, number, hash FROM merkle_nodes
JOIN unnest(%(levels)s::smallint[], %(numbers)s::bigint[]) AS wanted (level, number) USING (level, number)
WHERE origin = %(origin)s
"""
_PART_OF_POSITION = """
SELECT number FROM merkle_nodes WHERE origin = %s AND level = 8 AND until_position >= %s ORDER BY until_position LIMIT 1
"""
_LEAVES_OF_PART = f"""
SELECT coalesce({LEAVES}, ''::bytea) AS leaves FROM (
    SELECT position, hash FROM payment_events WHERE origin = %(origin)s AND position <= %(until)s
    AND position > coalesce((
        SELECT until_position FROM merkle_nodes WHERE origin = %(origin)s AND level = 8 AND number = %(part)s - 1
    ), 0)
    ORDER BY position LIMIT 256
) AS part
"""  # noqa: S608 - made of names of our own


class Proofs:
    """Makes proofs for the heads that were signed by one of `own_keys`."""

    def __init__(self, database: Database, own_keys: Callable[[], Collection[Ed25519PublicKey]]) -> None:
        self._database = database
        self._own_keys = own_keys

    def of_position(self, position: int, head: int | None = None) -> dict[str, Any]:
        """Return the proof, as plain JSON, that the event at a position of this machine's log is under a head.

        That is the block of the number `head`, by default the last. Raises NotFound, and Conflict if the log is not
        what was signed.
        """
        with self._database.connection() as connection:
            origin, _ = read_horizon(connection)
            event = connection.execute(_AT, (origin, position)).fetchone()
            if event is None:
                raise NotFound("There is no event at this position.")
            return self._inclusion(connection, event, self._head(connection, origin, head))

    def of_session(
        self, session_id: UUID, version: int | None = None, head: int | None = None
    ) -> list[dict[str, Any]]:
        """Return the proofs of a session's events, or of that of one version, oldest first; see `of_position`."""
        with self._database.connection() as connection:
            rows = connection.execute(_OF_SESSION, (session_id,)).fetchall()
            events = [row for row in rows if version in (None, row["version"])]
            if not events:
                raise NotFound("There is no such event.")
            signed_in = self._head(connection, events[0]["origin"], head)
            return [self._inclusion(connection, event, signed_in) for event in events]

    def under_head(self, session_id: UUID, head: int) -> list[dict[str, Any]]:
        """Return the proofs of as many of a session's events, from the first on, as the block of a number covers.

        Raises as `of_position` does, also if it covers none.
        """
        with self._database.connection() as connection:
            events = connection.execute(_OF_SESSION, (session_id,)).fetchall()
            if not events:
                raise NotFound("There is no such event.")
            signed_in = self._head(connection, events[0]["origin"], head)
            covered = takewhile(lambda event: event["position"] <= signed_in.until_position, events)
            return [self._inclusion(connection, event, signed_in) for event in [*covered] or events[:1]]

    def of_heads(self, first: int, second: int | None = None) -> dict[str, Any]:
        """Return the proof that the block of the number `first` is the start of a later one, by default the last.

        Raises NotFound, InvalidValue if the second is the earlier, and Conflict if the log is not what was signed.
        """
        with self._database.connection() as connection:
            origin, _ = read_horizon(connection)
            old, new = self._head(connection, origin, first), self._head(connection, origin, second)
            assert old.tree_size is not None
            assert new.tree_size is not None
            if old.number > new.number:
                raise wrong_fields({"second": ["Name a head that is later than the first."]})
            path = merkle.consistency_path(old.tree_size, new.tree_size)
            hashes = self._hashes(connection, new, path)
            old_root, root = bytes(old.root_hash or b""), bytes(new.root_hash or b"")
            if not merkle.is_consistent(old.tree_size, old_root, new.tree_size, root, hashes):
                raise _not_as_signed()
            path_text = [hashed.hex() for hashed in hashes]
            return {"format": CONSISTENCY, "first": old.shown(), "second": new.shown(), "path": path_text}

    def _head(self, connection: Connection[Any], origin: int, number: int | None) -> Block:
        own = {key.public_bytes_raw() for key in self._own_keys()}
        head = (
            newest_genuine(connection, origin, own)
            if number is None
            else numbered(connection, origin, number)
        )
        if head is None or head.root_hash is None or not head.is_genuine(own):
            raise NotFound(
                "There is no such signed head, or it was signed before there was a tree.", "HEAD_NOT_FOUND"
            )
        return head

    def _inclusion(self, connection: Connection[Any], event: dict[str, Any], head: Block) -> dict[str, Any]:
        if event["position"] > head.until_position:
            raise NotFound(self._why_not_under(connection, event, head), "NOT_SIGNED_YET")
        assert head.tree_size is not None
        index = self._index(connection, event, head)
        if index is None:
            raise _not_as_signed()
        hashes = self._hashes(connection, head, merkle.inclusion_path(index, head.tree_size))
        leaf = merkle.leaf_hash(event["position"], event["hash"])
        if merkle.root_by_inclusion(leaf, index, head.tree_size, hashes) != head.root_hash:
            raise _not_as_signed()
        return {
            "format": INCLUSION,
            "session_id": str(event["session_id"]),
            "version": event["version"],
            "position": str(event["position"]),
            "hash": event["hash"].hex(),
            "leaf_index": str(index),
            "audit_path": [hashed.hex() for hashed in hashes],
            "head": head.shown(),
        }

    def _why_not_under(self, connection: Connection[Any], event: dict[str, Any], head: Block) -> str:
        """Say which head covers an event that is above this one: the first that does, or the next to be signed."""
        last = self._head(connection, head.origin, None)
        own = {key.public_bytes_raw() for key in self._own_keys()}
        first = covering(connection, head.origin, event["position"], own)
        if first is None or last.until_position < event["position"]:
            return "No signed head covers this event yet; the next one will, in seconds."
        return (
            f"Head {head.number} is older than this event; head {first.number} is the first that covers it."
        )

    def _index(self, connection: Connection[Any], event: dict[str, Any], head: Block) -> int | None:
        """Return the number of an event's leaf, from 0; None if it is not where a leaf under the head can be."""
        assert head.tree_size is not None
        row = connection.execute(_PART_OF_POSITION, (head.origin, event["position"])).fetchone()
        part = row["number"] if row else head.tree_size >> NODE_LEVEL
        leaves = _leaves_of_part(connection, head, part)
        position = event["position"].to_bytes(8)
        starts = range(0, len(leaves), LEAF_BYTES)
        found = (at // LEAF_BYTES for at in starts if leaves[at : at + 8] == position)
        index = next(found, None)
        in_tree = index is not None and (part << NODE_LEVEL) + index < head.tree_size
        return (part << NODE_LEVEL) + (index or 0) if in_tree else None

    def _hashes(
        self, connection: Connection[Any], head: Block, path: Sequence[Sequence[Node]]
    ) -> list[bytes]:
        """Return the hashes of a path in the tree of a head. Raises Conflict if one cannot be computed."""
        wanted = {node for peaks in path for node in peaks}
        stored = [node for node in wanted if node[0] >= NODE_LEVEL]
        levels, numbers = ([node[each] for node in stored] for each in (0, 1))
        values = {"origin": head.origin, "levels": levels, "numbers": numbers}
        rows = connection.execute(_NODES, values)
        hashes = {(row["level"], row["number"]): bytes(row["hash"]) for row in rows}
        for part in {number >> NODE_LEVEL - level for level, number in wanted.difference(stored)}:
            hashes |= _nodes_of_part(part, _leaves_of_part(connection, head, part))
        if not hashes.keys() >= wanted:
            raise _not_as_signed()
        return merkle.hashes_of(path, hashes)


def _leaves_of_part(connection: Connection[Any], head: Block, part: int) -> bytes:
    values = {"origin": head.origin, "until": head.until_position, "part": part}
    row = connection.execute(_LEAVES_OF_PART, values).fetchone()
    assert row is not None
    return bytes(row["leaves"])


def _nodes_of_part(part: int, leaves: bytes) -> dict[Node, bytes]:
    """Return all complete nodes below NODE_LEVEL over the leaves of a part of the tree."""
    starts = range(0, len(leaves), LEAF_BYTES)
    row = [sha256(b"\x00" + leaves[at : at + LEAF_BYTES]).digest() for at in starts]
    nodes: dict[Node, bytes] = {}
    for level in range(NODE_LEVEL):
        first = part << NODE_LEVEL - level
        nodes |= {(level, first + number): hashed for number, hashed in enumerate(row)}
        row = [merkle.node_hash(left, right) for left, right in zip(row[::2], row[1::2], strict=False)]
    return nodes


def _not_as_signed() -> Conflict:
    return Conflict(
        "The log is not what was signed, so that this cannot be proved. `daftari verify --chain` names what differs.",
        code="NOT_AS_SIGNED",
    )
