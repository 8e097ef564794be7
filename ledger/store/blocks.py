"""Signed blocks over the log, each chained to the one before, which show an auditor that nothing is gone.

A block is also a head of the Merkle tree over all events up to its last (`ledger.store.merkle`), see `proofs`.

The hashes inside a session show an altered event, and not a session that was removed whole, nor a chain that was
computed anew. A block covers all events between two positions of one origin, so neither can be done below the last
block without forging every block since, and the key for that is derived from the master key, which the database never
sees. Removing the last blocks together with their events shows only if somebody kept the name of one elsewhere.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from psycopg import Connection

from ledger.errors import InvalidValue
from ledger.store.canonical import GENESIS, canonical_json
from ledger.store.database import Database
from ledger.store.listing import Key, Listing, Place
from ledger.store.merkle import HASH_BYTES, Peaks
from ledger.store.positions import read_horizon

MAX_EVENTS = 10_000
"""In one block: what is signed at once while the signer catches up, and what an auditor folds at a time."""

HEADS_LOOKED_AT = 100
"""For the last one of ours; behind more forged ones than that the tree is made from the first event."""

_FORMAT, _FORMAT_WITH_TREE = "daftari block v1", "daftari block v2"

COLUMNS = """
origin, number, after_position, until_position, events, digest, previous_hash, hash, public_key, signature, signed_at,
tree_size, root_hash, peaks
"""
LEAVES = "string_agg(int8send(position) || hash, ''::bytea ORDER BY position)"
"""The leaves of the tree over some events, see `ledger.store.merkle`; their SHA-256 is the digest of a block."""
_BLOCKS = f"SELECT {COLUMNS} FROM signed_blocks "  # noqa: S608 - made of this file's constants only
_LAST = _BLOCKS + "WHERE origin = %s ORDER BY number DESC LIMIT 1"
_ONE = _BLOCKS + "WHERE origin = %s AND number = %s"
_COVERING = (
    _BLOCKS
    + "WHERE origin = %s AND until_position >= %s AND public_key = ANY(%s) ORDER BY until_position LIMIT %s"
)
_ROWS = "SELECT signed_at, origin, number FROM signed_blocks WHERE signed_at <= %(as_of)s"
_LATEST = Listing("signed_blocks", COLUMNS, ("signed_at", "origin", "number"), _ROWS)
_LATEST_WITH_TREE = _BLOCKS + "WHERE origin = %s AND tree_size IS NOT NULL ORDER BY number DESC LIMIT %s"
_NEXT = f"""
SELECT max(position) AS until_position, count(*)::integer AS events, {LEAVES} AS leaves
FROM (SELECT position, hash FROM payment_events
      WHERE origin = %(origin)s AND position > %(after)s AND position < %(horizon)s ORDER BY position LIMIT %(most)s
     ) AS unsigned
"""  # noqa: S608 - as above
_IN_ORDER = _BLOCKS + "ORDER BY origin, number"
_LAST_NUMBERS = "SELECT origin, max(number) AS number FROM signed_blocks GROUP BY origin ORDER BY origin"


@dataclass(frozen=True, slots=True)
class Block:
    """One signed block: the events of `origin` with after_position < position <= until_position, and their digest.

    Unless it is older than the tree, it is the head of that over all `tree_size` events up to `until_position`.
    """

    origin: int
    number: int
    after_position: int
    until_position: int
    events: int
    digest: bytes
    previous_hash: bytes
    hash: bytes
    public_key: bytes
    signature: bytes
    signed_at: datetime
    tree_size: int | None = None
    root_hash: bytes | None = None
    peaks: bytes | None = None

    @property
    def key(self) -> Key:
        """Its place in a list."""
        return self.signed_at, self.origin, self.number

    @property
    def name(self) -> str:
        """ORIGIN-NUMBER-HASH: kept elsewhere, it shows later that the log up to it is still the same."""
        return f"{self.origin}-{self.number}-{self.hash.hex()}"

    def computed_hash(self) -> bytes:
        """Return the SHA-256 of the block's content, in canonical JSON (RFC 8785)."""
        content = [
            _FORMAT,
            self.origin,
            str(self.number),
            str(self.after_position),
            str(self.until_position),
            self.events,
            self.digest.hex(),
            self.previous_hash.hex(),
            self.public_key.hex(),
            self.signed_at.astimezone(UTC).isoformat(),
        ]
        if self.root_hash is not None:
            content = [_FORMAT_WITH_TREE, *content[1:], str(self.tree_size), self.root_hash.hex()]
        return sha256(canonical_json(content)).digest()

    def is_genuine(self, own_keys: Collection[bytes]) -> bool:
        """Say whether it is as one of these public keys signed it."""
        return self.public_key in own_keys and self.computed_hash() == self.hash and self.is_signed()

    def tree(self) -> Peaks | None:
        """Return the tree that the block is the head of, None if it has none, or its peaks do not lead to its root."""
        if self.peaks is None or self.tree_size is None or self.tree_size <= 0:
            return None
        hashes = [self.peaks[at : at + HASH_BYTES] for at in range(0, len(self.peaks), HASH_BYTES)]
        tree = Peaks(self.tree_size, hashes)
        is_whole = len(hashes) == self.tree_size.bit_count() and tree.root() == self.root_hash
        return tree if is_whole else None

    def shown(self) -> dict[str, Any]:
        """Return the block as plain JSON: what its hash is over as it is there, binary values as hex digits."""
        return {
            "name": self.name,
            "origin": self.origin,
            "number": str(self.number),
            "after_position": str(self.after_position),
            "until_position": str(self.until_position),
            "events": self.events,
            "digest": self.digest.hex(),
            "previous_hash": self.previous_hash.hex(),
            "tree_size": None if self.tree_size is None else str(self.tree_size),
            "root_hash": None if self.root_hash is None else self.root_hash.hex(),
            "hash": self.hash.hex(),
            "public_key": self.public_key.hex(),
            "signature": self.signature.hex(),
            "signed_at": self.signed_at.astimezone(UTC).isoformat(),
        }

    def is_signed(self) -> bool:
        """Say whether the signature is that of its public key over its hash."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public_key).verify(self.signature, self.hash)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class KeptName:
    """The name of a block, as somebody kept it outside the database."""

    origin: int
    number: int
    hash: bytes

    @staticmethod
    def parse(text: str) -> "KeptName":
        """Read ORIGIN-NUMBER-HASH. Raises InvalidValue."""
        origin, _, rest = text.strip().partition("-")
        number, _, digits = rest.partition("-")
        try:
            name = KeptName(int(origin), int(number), bytes.fromhex(digits))
        except ValueError:
            name = None
        if name is None or len(name.hash) != len(GENESIS) or name.number.bit_length() > 63:
            raise InvalidValue(
                "This is not the name of a signed block. It looks like 1-12-4f3a…, with 64 hex digits at the end."
            )
        return name


class Fault(NamedTuple):
    """What is wrong with a block, in a sentence, and the first position where it is, None if it has none."""

    detail: str
    position: int | None


class Blocks:
    """Reads the signed blocks."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last(self) -> Block | None:
        """Return the last block of this machine's log, None before the first."""
        with self._database.connection() as connection:
            origin, _ = read_horizon(connection)
            return newest(connection, origin)

    def page(self, place: Place) -> tuple[int, list[Block]]:
        """Return (how many there were as of the place, those of a page), the latest first."""
        with self._database.connection() as connection:
            count, rows = _LATEST.read(connection, place, {})
        return count, [Block(**row) for row in rows]


def faults(
    connection: Connection[Any], own_keys: Collection[Ed25519PublicKey] = (), verified: KeptName | None = None
) -> Iterator[str]:
    """Report what is wrong with the chain of blocks, whatever they cover; nothing if all is well.

    With `own_keys`, a block signed by another key is wrong too. Up to a block that is known to be genuine, `verified`,
    no signature is asked for: its hash commits to all of its origin before it.
    """
    own = {key.public_bytes_raw() for key in own_keys}
    before: Block | None = None
    with connection.cursor(name="blocks") as rows:
        for row in rows.execute(_IN_ORDER):
            block = Block(**row)
            if before is not None and before.origin != block.origin:
                before = None
            is_older = (
                verified is not None and block.origin == verified.origin and block.number <= verified.number
            )
            found = _faults_of(block, before, own, needs_signature=not is_older)
            yield from (f"block {block.origin}-{block.number} {fault}" for fault in found)
            before = block


def last_numbers(connection: Connection[Any]) -> dict[int, int]:
    """Return the number of the last block, by origin."""
    return {row["origin"]: row["number"] for row in connection.execute(_LAST_NUMBERS)}


def grown(connection: Connection[Any], origin: int, tree: Peaks, after: int, until: int) -> Peaks:
    """Return a tree, over the events up to a position, once it has taken in those up to another."""
    while after < until and (found := next_leaves(connection, origin, after, until + 1))["events"]:
        tree.grow(found["leaves"])
        after = found["until_position"]
    return tree


def next_leaves(connection: Connection[Any], origin: int, after: int, horizon: int) -> dict[str, Any]:
    """Return {"until_position", "events", "leaves"} of the next events below the horizon, for a block."""
    values = {"origin": origin, "after": after, "horizon": horizon, "most": MAX_EVENTS}
    row: dict[str, Any] | None = connection.execute(_NEXT, values).fetchone()
    assert row is not None
    return row


def newest(connection: Connection[Any], origin: int) -> Block | None:
    """Return the last block of an origin, None before the first."""
    row = connection.execute(_LAST, (origin,)).fetchone()
    return Block(**row) if row else None


def newest_genuine(connection: Connection[Any], origin: int, own_keys: Collection[bytes]) -> Block | None:
    """Return the last block with a tree that one of these public keys signed, None before the first."""
    rows = connection.execute(_LATEST_WITH_TREE, (origin, HEADS_LOOKED_AT))
    heads = (Block(**row) for row in rows)
    return next((head for head in heads if head.is_genuine(own_keys) and head.tree() is not None), None)


def numbered(connection: Connection[Any], origin: int, number: int) -> Block | None:
    """Return the block of that number, None if there is none."""
    row = connection.execute(_ONE, (origin, number)).fetchone()
    return Block(**row) if row is not None else None


def covering(
    connection: Connection[Any], origin: int, position: int, own_keys: Collection[bytes]
) -> Block | None:
    """Return the first block over a position that one of these public keys signed, None if there is none yet."""
    after = position
    while rows := connection.execute(_COVERING, (origin, after, list(own_keys), HEADS_LOOKED_AT)).fetchall():
        found = [Block(**row) for row in rows]
        for block in found:
            if block.is_genuine(own_keys):
                return block
        after = found[-1].until_position + 1
    return None


def find(connection: Connection[Any], name: KeptName) -> Block | None:
    """Return the block of that name, None unless it is there with that hash."""
    block = numbered(connection, name.origin, name.number)
    return block if block is not None and block.hash == name.hash else None


def _faults_of(
    block: Block, before: Block | None, own: Collection[bytes], *, needs_signature: bool
) -> Iterator[str]:
    number, position, previous_hash = (
        (before.number, before.until_position, before.hash) if before else (0, 0, GENESIS)
    )
    if block.number != number + 1 or block.after_position != position:
        yield f"does not follow block {number}: something between them is gone"
    elif block.previous_hash != previous_hash:
        yield "does not carry the hash of the block before"
    if block.computed_hash() != block.hash:
        yield "was altered: its hash is not that of its content"
    elif block.root_hash is not None and block.tree() is None:
        yield "has peaks that do not lead to its root"
    elif (
        before
        and before.tree_size is not None
        and block.tree_size not in (None, before.tree_size + block.events)
    ):
        yield "has a tree of another size than that of the block before and its own events"
    elif needs_signature and not block.is_signed():
        yield "is not signed by its key"
    elif needs_signature and own and block.public_key not in own:
        yield "is signed by another key than that of DAFTARI_MASTER_KEY"
