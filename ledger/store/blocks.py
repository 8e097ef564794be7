"""Signed blocks over the log, each chained to the one before, which show an auditor that nothing is gone.

The hashes inside a session show an altered event, and not a session that was removed whole, nor a chain that was
computed anew. A block covers all events between two positions of one origin, so neither can be done below the last
block without forging every block since, and the key for that is derived from the master key, which the database never
sees. Removing the last blocks together with their events shows only if somebody kept the name of one elsewhere.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from psycopg import Connection

from ledger import clock
from ledger.errors import InvalidValue
from ledger.store.canonical import GENESIS, canonical_json
from ledger.store.database import Database
from ledger.store.listing import Key, Listing, Place
from ledger.store.positions import read_horizon

MAX_EVENTS = 10_000
"""In one block: what is signed at once while the signer catches up, and what an auditor folds at a time."""

_FORMAT = "daftari block v1"

_COLUMNS = """
origin, number, after_position, until_position, events, digest, previous_hash, hash, public_key, signature, signed_at
"""
_BLOCKS = f"SELECT {_COLUMNS} FROM signed_blocks "  # noqa: S608 - made of this file's constants only
_LAST = _BLOCKS + "WHERE origin = %s ORDER BY number DESC LIMIT 1"
_ONE = _BLOCKS + "WHERE origin = %s AND number = %s"
_ROWS = "SELECT signed_at, origin, number FROM signed_blocks WHERE signed_at <= %(as_of)s"
_LATEST = Listing("signed_blocks", _COLUMNS, ("signed_at", "origin", "number"), _ROWS)
_NEXT = """
SELECT next.until_position, found.events, found.digest
FROM (SELECT max(position) AS until_position FROM (
        SELECT position FROM payment_events
        WHERE origin = %(origin)s AND position > %(after)s AND position < %(horizon)s ORDER BY position LIMIT %(most)s
     ) AS unsigned) AS next
CROSS JOIN LATERAL digest_of_events(%(origin)s::smallint, %(after)s, next.until_position) AS found
"""
_ADD = """
SELECT number FROM add_signed_block(%s::smallint, %s, %s, %s, %s::integer, %s, %s, %s, %s, %s, %s) AS number
"""
_IN_ORDER = _BLOCKS + "ORDER BY origin, number"
_LAST_NUMBERS = "SELECT origin, max(number) AS number FROM signed_blocks GROUP BY origin ORDER BY origin"
_DIGESTS = """
SELECT block.number, block.events, block.digest, found.events AS events_found, found.digest AS digest_found
FROM signed_blocks AS block
CROSS JOIN LATERAL digest_of_events(block.origin, block.after_position, block.until_position) AS found
WHERE block.origin = %s AND block.number BETWEEN %s AND %s ORDER BY block.number
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One signed block: the events of `origin` with after_position < position <= until_position, and their digest."""

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
        return sha256(canonical_json(content)).digest()

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


class BlockSigner:
    """Signs new events of the log. Two at once do no harm: the second finds the block's number taken."""

    def __init__(self, database: Database, key: Callable[[], Ed25519PrivateKey]) -> None:
        self._database = database
        self._key = key

    def run(self) -> int:
        """Sign the next block, below the horizon; return its number of events if it is full, and the next may follow.

        Return 0 otherwise: the events until the next round go into one block.
        """
        with self._database.connection() as connection:
            origin, horizon = read_horizon(connection)
            last = newest(connection, origin)
            values = {
                "origin": origin,
                "after": last.until_position if last else 0,
                "horizon": horizon,
                "most": MAX_EVENTS,
            }
            found = connection.execute(_NEXT, values).fetchone()
            assert found is not None
            if not found["events"]:
                return 0
            block = self._sign(origin, last, found)
            taken = connection.execute(_ADD, _values(block)).rowcount
        return block.events if taken and block.events == MAX_EVENTS else 0

    def _sign(self, origin: int, last: Block | None, found: dict[str, Any]) -> Block:
        key = self._key()
        block = Block(
            origin=origin,
            number=last.number + 1 if last else 1,
            after_position=last.until_position if last else 0,
            until_position=found["until_position"],
            events=found["events"],
            digest=found["digest"],
            previous_hash=last.hash if last else GENESIS,
            hash=b"",
            public_key=key.public_key().public_bytes_raw(),
            signature=b"",
            signed_at=clock.now(),
        )
        hashed = replace(block, hash=block.computed_hash())
        return replace(hashed, signature=key.sign(hashed.hash))


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


def digest_faults(connection: Connection[Any], origin: int, first: int, last: int) -> Iterator[str]:
    """Report the blocks of these numbers that do not fit the stored positions and hashes of their events."""
    for row in connection.execute(_DIGESTS, (origin, first, last)):
        if (row["events_found"], row["digest_found"]) != (row["events"], row["digest"]):
            yield (
                f"block {origin}-{row['number']} was signed over {row['events']} events, and what is there now "
                f"({row['events_found']} events) is not the same"
            )


def newest(connection: Connection[Any], origin: int) -> Block | None:
    """Return the last block of an origin, None before the first."""
    row = connection.execute(_LAST, (origin,)).fetchone()
    return Block(**row) if row else None


def numbered(connection: Connection[Any], origin: int, number: int) -> list[Block]:
    """Return the block of that number, none if there is none."""
    return [Block(**row) for row in connection.execute(_ONE, (origin, number))]


def find(connection: Connection[Any], name: KeptName) -> Block | None:
    """Return the block of that name, None unless it is there with that hash."""
    row = connection.execute(_ONE, (name.origin, name.number)).fetchone()
    block = Block(**row) if row is not None else None
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
    elif needs_signature and not block.is_signed():
        yield "is not signed by its key"
    elif needs_signature and own and block.public_key not in own:
        yield "is signed by another key than that of DAFTARI_MASTER_KEY"


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
    )
