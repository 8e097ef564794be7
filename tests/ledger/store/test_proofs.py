"""What is proved of the log can be checked with the head alone, and is not proved of a log that was changed."""

import json
from dataclasses import asdict, replace
from hashlib import sha256
from itertools import pairwise
from typing import Any

import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from ledger.application import Ledger
from ledger.errors import Conflict, InvalidValue, NotFound
from ledger.store import blocks, merkle
from ledger.store.block_signer import BlockSigner
from ledger.store.database import Database
from ledger.store.proofs import Proofs
from tests.ledger.store.test_blocks import KEY, all_of, faults, sign, tamper
from tests.support.checkouts import Checkout

POSITIONS = "SELECT position FROM payment_events ORDER BY position"


@pytest.fixture
def proofs(database: Database) -> Proofs:
    return Proofs(database, lambda: [KEY.public_key()])


FILL = """
INSERT INTO payment_events (session_id, version, topic, state, previous_hash, hash, origin, position, recorded_at)
SELECT gen_random_uuid(), 1, 'x', '{}', sha256(int8send(n)), sha256(int8send(n)), 1, 2 * n, now()
FROM generate_series(%s::bigint, %s::bigint) AS n
"""


JUNK = """
SELECT add_signed_head(
    origin, %(number)s + 1, %(until_position)s, position, 1, sha256(int8send(position) || hash), %(hash)s, sha256('x'),
    sha256('y'), sha512('z'), %(signed_at)s, %(tree_size)s, sha256('x'), sha256('y'))
FROM payment_events WHERE position > %(until_position)s ORDER BY position LIMIT 1
"""


@pytest.fixture
def grown(database: Database) -> list[int]:
    """More events than one stored part of the tree, in blocks of many sizes; their positions."""
    signer = BlockSigner(database, lambda: KEY)
    for first, last in pairwise((0, 3, 12, 93, 264, 270)):
        tamper(database, FILL, first + 1, last)
        signer.run()
    return positions(database)


def positions(database: Database) -> list[int]:
    return numbers(database, POSITIONS)


def numbers(database: Database, statement: str) -> list[int]:
    with database.connection() as connection:
        return [number for row in connection.execute(statement.encode()) for number in row.values()]


def add_junk(
    database: Database, last: blocks.Block, tree_size: int, signed_at: str = "2026-01-01T00:00:00Z"
) -> None:
    """Add a block over the next event as the application's login can: linked to the last one, and signed by nobody."""
    with database.transaction() as connection:
        connection.execute(JUNK, {**asdict(last), "tree_size": tree_size, "signed_at": signed_at})


def check_head(head: dict[str, Any]) -> None:
    """As docs/proofs.md says it, by the standard library and an Ed25519 verifier."""
    names = ["number", "after_position", "until_position", "events", "digest", "previous_hash", "public_key"]
    names += ["signed_at", "tree_size", "root_hash"]
    content = ["daftari block v2", head["origin"], *(head[name] for name in names)]
    hashed = sha256(json.dumps(content, separators=(",", ":")).encode()).digest()
    assert hashed.hex() == head["hash"]
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(head["public_key"]))
    key.verify(bytes.fromhex(head["signature"]), hashed)


def check_inclusion(proof: dict[str, Any]) -> None:
    head = proof["head"]
    check_head(head)
    leaf = sha256(b"\x00" + int(proof["position"]).to_bytes(8) + bytes.fromhex(proof["hash"])).digest()
    path = [bytes.fromhex(hashed) for hashed in proof["audit_path"]]
    root = merkle.root_by_inclusion(leaf, int(proof["leaf_index"]), int(head["tree_size"]), path)
    assert root is not None
    assert root.hex() == head["root_hash"]


def test_every_event_has_a_proof_under_every_head_that_covers_it(
    database: Database, grown: list[int], proofs: Proofs
) -> None:
    heads = all_of(database)
    assert [head.tree_size for head in heads] == [3, 12, 93, 264, 270]
    for head in heads[-3:]:
        for index in {*range(0, head.tree_size or 0, 17), 255, 256, (head.tree_size or 0) - 1}:
            if index < (head.tree_size or 0):
                proof = proofs.of_position(grown[index], head.number)
                assert proof["leaf_index"] == str(index)
                check_inclusion(json.loads(json.dumps(proof)))


@pytest.mark.usefixtures("grown")
def test_every_head_is_proved_to_be_the_start_of_each_later_one(database: Database, proofs: Proofs) -> None:
    heads = all_of(database)
    for number, old in enumerate(heads):
        for new in heads[number:]:
            proof = proofs.of_heads(old.number, new.number)
            for head in (proof["first"], proof["second"]):
                check_head(head)
            path = [bytes.fromhex(hashed) for hashed in proof["path"]]
            sizes = [int(proof[name]["tree_size"]) for name in ("first", "second")]
            roots = [bytes.fromhex(proof[name]["root_hash"]) for name in ("first", "second")]
            assert merkle.is_consistent(sizes[0], roots[0], sizes[1], roots[1], path)


def test_a_session_is_proved_event_by_event(ledger: Ledger, database: Database, proofs: Proofs) -> None:
    checkout = Checkout(ledger)
    checkout.prompt()
    sign(database, BlockSigner(database, lambda: KEY))
    found = proofs.of_session(checkout.session_id)
    assert [proof["version"] for proof in found] == [1, 2, 3]
    for proof in found:
        check_inclusion(proof)
    assert proofs.of_session(checkout.session_id, 2) == [found[1]]


def test_under_a_head_that_is_older_than_the_event_the_first_that_covers_it_is_named(
    ledger: Ledger, database: Database, grown: list[int], proofs: Proofs
) -> None:
    for index, first in ((3, 2), (11, 2), (12, 3), (263, 4), (264, 5)):
        with pytest.raises(NotFound) as refused:
            proofs.of_position(grown[index], 1)
        assert refused.value.code == "NOT_SIGNED_YET"
        assert refused.value.message == (
            f"Head 1 is older than this event; head {first} is the first that covers it."
        )
        check_inclusion(proofs.of_position(grown[index], first))
    Checkout(ledger)
    with pytest.raises(NotFound, match="the next one will"):
        proofs.of_position(positions(database)[-1], 1)


def test_what_is_not_there_is_not_proved(ledger: Ledger, database: Database, proofs: Proofs) -> None:
    checkout = Checkout(ledger)
    with pytest.raises(NotFound, match="HEAD_NOT_FOUND"):
        proofs.of_session(checkout.session_id)
    sign(database, BlockSigner(database, lambda: KEY))
    [position] = positions(database)
    checkout.prompt()
    with pytest.raises(NotFound, match="NOT_SIGNED_YET"):
        proofs.of_session(checkout.session_id, 3)
    with pytest.raises(NotFound, match="NOT_FOUND"):
        proofs.of_session(checkout.session_id, 9)
    with pytest.raises(NotFound, match="NOT_FOUND"):
        proofs.of_position(position + 1)
    with pytest.raises(NotFound, match="HEAD_NOT_FOUND"):
        proofs.of_position(position, 2)
    sign(database, BlockSigner(database, lambda: KEY))
    with pytest.raises(InvalidValue, match="INVALID_INPUT"):
        proofs.of_heads(2, 1)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE payment_events SET hash = sha256(hash) WHERE position = %s",
        "DELETE FROM payment_events WHERE position = %s",
        "UPDATE merkle_nodes SET hash = sha256(hash)",
        "DELETE FROM merkle_nodes",
    ],
)
def test_a_log_that_was_changed_proves_nothing_around_the_change(
    database: Database, grown: list[int], proofs: Proofs, change: str
) -> None:
    tamper(database, change, *([grown[258]] if "%s" in change else []))
    with pytest.raises(Conflict, match="NOT_AS_SIGNED"):
        proofs.of_position(grown[259])
    with pytest.raises(Conflict, match="NOT_AS_SIGNED"):
        proofs.of_heads(4)


def test_events_of_blocks_without_a_tree_are_in_that_of_the_next(
    ledger: Ledger, database: Database, proofs: Proofs
) -> None:
    """A release before signs without a tree; it may do so while another process has it."""
    signer = BlockSigner(database, lambda: KEY)
    for turn in range(4):
        Checkout(ledger)
        sign(database, signer)
        if turn in (0, 2):
            strip(database, all_of(database)[-1])
    assert [block.tree_size for block in all_of(database)] == [None, 2, None, 4]
    assert faults(database) == []
    for position in positions(database):
        check_inclusion(proofs.of_position(position))
    with pytest.raises(NotFound, match="HEAD_NOT_FOUND"):
        proofs.of_heads(1)
    check_head(proofs.of_heads(2)["second"])


def test_a_head_of_somebody_else_is_neither_built_upon_nor_proved_by(
    ledger: Ledger, database: Database, proofs: Proofs
) -> None:
    """Who holds the application's login can add a block, which the verification names."""
    signer = BlockSigner(database, lambda: KEY)
    stranger = BlockSigner(database, Ed25519PrivateKey.generate)
    for each in (signer, stranger, signer):
        Checkout(ledger)
        sign(database, each)
    assert faults(database) == ["block 1-2 is signed by another key than that of DAFTARI_MASTER_KEY"]
    for position in positions(database):
        proof = proofs.of_position(position)
        check_inclusion(proof)
        assert proof["head"]["tree_size"] == "3"
    with pytest.raises(NotFound, match="HEAD_NOT_FOUND"):
        proofs.of_heads(2)


@pytest.mark.usefixtures("grown")
def test_a_tree_is_compared_with_the_events_under_it(database: Database) -> None:
    """Only a holder of the key can sign such a block, or a fault of ours."""
    first, second, *_ = all_of(database)
    assert second.tree_size is not None
    other = merkle.Peaks()
    other.grow(bytes(second.tree_size * merkle.LEAF_BYTES))
    forged = replace(second, root_hash=other.root(), peaks=b"".join(other.hashes))
    forged = replace(forged, hash=forged.computed_hash())
    change = "UPDATE signed_blocks SET root_hash = %s, peaks = %s, hash = %s, signature = %s WHERE number = 2"
    tamper(database, change, forged.root_hash, forged.peaks, forged.hash, KEY.sign(forged.hash))
    assert any("block 1-2 has a root that is not that of the events" in fault for fault in faults(database))
    assert first.number == 1


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("peaks = sha256(peaks)", "has peaks that do not lead to its root"),
        ("leaves = leaves || sha256(leaves)", "has another list of its events than it was signed over"),
        ("tree_size = tree_size + 1", "was altered"),
        ("root_hash = sha256(root_hash)", "was altered"),
        ("tree_size = NULL, root_hash = NULL, peaks = NULL, leaves = NULL", "was altered"),
    ],
)
def test_a_head_that_was_altered_is_reported(database: Database, change: str, expected: str) -> None:
    tamper(database, f"UPDATE signed_blocks SET {change} WHERE number = 3")
    assert any(f"block 1-3 {expected}" in fault for fault in faults(database))


def test_the_first_position_where_a_block_differs_is_named(database: Database, grown: list[int]) -> None:
    """Of what is gone too: the block lists what it was signed over."""
    changes = {
        "UPDATE payment_events SET hash = sha256(hash) WHERE position = %s": (60, "has another hash"),
        "DELETE FROM payment_events WHERE position = %s": (20, "is gone"),
        "UPDATE payment_events SET position = position - 1 WHERE position = %s": (15, "was added"),
    }
    for change, (index, expected) in changes.items():
        tamper(database, change, grown[index])
        position = grown[index] - (expected == "was added")
        assert any(f"the event at position {position} {expected}" in fault for fault in faults(database))
    tamper(database, "UPDATE signed_blocks SET leaves = sha256(leaves)")
    span = f"something between the positions {grown[11] + 1} and {grown[92]}"
    assert any(span in fault for fault in faults(database))
    assert all(later > earlier for earlier, later in pairwise(grown))


def strip(database: Database, block: blocks.Block) -> None:
    """Make a block what the release before would have signed."""
    older = replace(block, tree_size=None, root_hash=None, peaks=None)
    older = replace(older, hash=older.computed_hash())
    tamper(
        database,
        "UPDATE signed_blocks SET tree_size = NULL, root_hash = NULL, peaks = NULL, leaves = NULL, hash = %s,"
        " signature = %s WHERE number = %s",
        older.hash,
        KEY.sign(older.hash),
        block.number,
    )


def test_nodes_are_those_of_the_log_whatever_a_caller_signs(
    database: Database, grown: list[int], proofs: Proofs
) -> None:
    """Who holds the application's login signs blocks of junk, which say that the tree is larger than it is."""
    signer = BlockSigner(database, lambda: KEY)
    for count in (400, 511, 513, 1100):
        [first] = numbers(database, "SELECT count(*) + 1 FROM payment_events")
        tamper(database, FILL, first, count)
        [last] = all_of(database)[-1:]
        add_junk(database, last, 1 << 40)
        signer.run()
        for position in positions(database)[::50]:
            check_inclusion(proofs.of_position(position))
        proofs.of_heads(1)
    found = "SELECT level * 1000 + number FROM merkle_nodes ORDER BY level, number"
    assert numbers(database, found) == [8000, 8001, 8002, 8003, 9000, 9001, 10000]
    assert positions(database)[: len(grown)] == grown


@pytest.mark.usefixtures("grown")
@pytest.mark.parametrize("moment", ["infinity", "-infinity", "20000-01-01"])
def test_a_block_of_a_moment_that_nobody_can_read_is_refused(database: Database, moment: str) -> None:
    tamper(database, FILL, 271, 271)
    with pytest.raises(psycopg.errors.CheckViolation):
        add_junk(database, all_of(database)[-1], 271, moment)
