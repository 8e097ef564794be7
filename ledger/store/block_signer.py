"""The signing of new blocks: what follows the last one, below the horizon."""

from collections.abc import Callable, Collection
from dataclasses import replace
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from psycopg import Connection

from ledger import clock
from ledger.store import blocks
from ledger.store.blocks import Block, grown, newest, newest_genuine, next_leaves
from ledger.store.canonical import GENESIS
from ledger.store.database import Database
from ledger.store.merkle import Peaks
from ledger.store.positions import read_horizon

_ADD = """
SELECT number FROM add_signed_head(%s::smallint, %s, %s, %s, %s::integer, %s, %s, %s, %s, %s, %s, %s, %s, %s) AS number
"""


class BlockSigner:
    """Signs new events of the log. Two at once do no harm: the second finds the block's number taken.

    `own_keys` are those by which earlier blocks may be signed, by default the present one.
    """

    def __init__(
        self,
        database: Database,
        key: Callable[[], Ed25519PrivateKey],
        own_keys: Callable[[], Collection[Ed25519PublicKey]] | None = None,
    ) -> None:
        self._database = database
        self._key = key
        self._own_keys = own_keys or (lambda: [key().public_key()])

    def run(self) -> int:
        """Sign the next block, below the horizon; return its number of events if it is full, and the next may follow.

        Return 0 otherwise: the events until the next round go into one block.
        """
        with self._database.connection() as connection:
            origin, horizon = read_horizon(connection)
            last = newest(connection, origin)
            until = last.until_position if last else 0
            found = next_leaves(connection, origin, until, horizon)
            if not found["events"]:
                return 0
            tree = self._tree_until(connection, origin, until)
            tree.grow(found["leaves"])
            block = self._sign(origin, last, found, tree)
            taken = connection.execute(_ADD, _values(block)).rowcount
        return block.events if taken and block.events == blocks.MAX_EVENTS else 0

    def _tree_until(self, connection: Connection[Any], origin: int, until: int) -> Peaks:
        """Return the tree over all events up to a position.

        That is more than what the last block says if that was signed without a tree, or by somebody else.
        """
        head = newest_genuine(connection, origin, {key.public_bytes_raw() for key in self._own_keys()})
        after, tree = (head.until_position, head.tree()) if head else (0, None)
        return grown(connection, origin, tree or Peaks(), after, until)

    def _sign(self, origin: int, last: Block | None, found: dict[str, Any], tree: Peaks) -> Block:
        key = self._key()
        block = Block(
            origin=origin,
            number=last.number + 1 if last else 1,
            after_position=last.until_position if last else 0,
            until_position=found["until_position"],
            events=found["events"],
            digest=sha256(found["leaves"]).digest(),
            previous_hash=last.hash if last else GENESIS,
            hash=b"",
            public_key=key.public_key().public_bytes_raw(),
            signature=b"",
            signed_at=clock.now(),
            tree_size=tree.size,
            root_hash=tree.root(),
            peaks=b"".join(tree.hashes),
        )
        hashed = replace(block, hash=block.computed_hash())
        return replace(hashed, signature=key.sign(hashed.hash))


def _values(block: Block) -> tuple[object, ...]:
    return (
        block.origin,
        block.number,
        block.after_position,
        block.until_position,
        block.events,
        block.digest,
        block.previous_hash,
        block.hash,
        block.public_key,
        block.signature,
        block.signed_at,
        block.tree_size,
        block.root_hash,
        block.peaks,
    )
