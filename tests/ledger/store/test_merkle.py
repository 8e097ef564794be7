"""The tree and its proofs are those of RFC 6962, for every size and leaf."""

from hashlib import sha256

import pytest

from ledger.store import merkle
from ledger.store.merkle import LEAF_BYTES, Peaks

MOST = 40
LEAVES = [number.to_bytes(8) + sha256(bytes([number])).digest() for number in range(MOST)]


def tree_hash(leaves: list[bytes]) -> bytes:
    """The definition of RFC 6962, section 2.1, word for word."""
    if len(leaves) < 2:
        return sha256(b"\x00" + leaves[0]).digest() if leaves else sha256(b"").digest()
    half = 1
    while half * 2 < len(leaves):
        half *= 2
    return sha256(b"\x01" + tree_hash(leaves[:half]) + tree_hash(leaves[half:])).digest()


def all_nodes(size: int) -> dict[merkle.Node, bytes]:
    return {
        (level, number): tree_hash(LEAVES[number << level : number + 1 << level])
        for level in range(size.bit_length())
        for number in range(size >> level)
    }


def test_leaves_and_nodes_hash_as_in_the_test_vectors_of_certificate_transparency() -> None:
    """An independent figure: the root of the leaves "" and 00, from the RFC's reference implementation."""
    empty, zero = sha256(b"\x00").digest(), sha256(b"\x00\x00").digest()
    assert merkle.EMPTY.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert empty.hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert merkle.node_hash(empty, zero).hex() == (
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"
    )


@pytest.mark.parametrize("size", range(MOST + 1))
def test_the_root_is_that_of_the_definition_however_the_tree_grew(size: int) -> None:
    for first in (0, size // 3, size):
        grown = Peaks()
        grown.grow(b"".join(LEAVES[:first]))
        again = Peaks(grown.size, grown.hashes)
        again.grow(b"".join(LEAVES[first:size]))
        assert (again.size, again.root()) == (size, tree_hash(LEAVES[:size]))


@pytest.mark.parametrize(("first", "size"), [(0, 1_100), (1, 255), (255, 513), (256, 512), (300, 1_024)])
def test_growing_returns_the_stored_nodes_that_it_completes(first: int, size: int) -> None:
    leaves = [number.to_bytes(8) + sha256(number.to_bytes(8)).digest() for number in range(size)]
    tree = Peaks()
    tree.grow(b"".join(leaves[:first]))
    level = merkle.NODE_LEVEL
    expected = {
        number: tree_hash(leaves[number << level : number + 1 << level])
        for number in range(first >> level, size >> level)
    }
    assert tree.grow(b"".join(leaves[first:])) == expected
    assert tree.root() == tree_hash(leaves)


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_every_leaf_has_a_proof_and_no_other_leaf_fits_it(size: int) -> None:
    nodes, root = all_nodes(size), tree_hash(LEAVES[:size])
    for index in range(size):
        path = merkle.hashes_of(merkle.inclusion_path(index, size), nodes)
        hashed = merkle.leaf_hash(index, LEAVES[index][8:])
        assert merkle.root_by_inclusion(hashed, index, size, path) == root
        assert merkle.root_by_inclusion(merkle.EMPTY, index, size, path) != root
        assert merkle.root_by_inclusion(hashed, index, size, [*path, root]) is None
        assert merkle.root_by_inclusion(hashed, size, size, path) is None
        for other in range(size):
            if other != index:
                assert merkle.root_by_inclusion(hashed, other, size, path) != root
        assert not path or merkle.root_by_inclusion(hashed, index, size, path[:-1]) != root


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_every_tree_is_proved_to_be_the_start_of_a_later_one_and_of_no_other(size: int) -> None:
    nodes, root = all_nodes(size), tree_hash(LEAVES[:size])
    for old_size in range(1, size + 1):
        path = merkle.hashes_of(merkle.consistency_path(old_size, size), nodes)
        old_root = tree_hash(LEAVES[:old_size])
        assert merkle.is_consistent(old_size, old_root, size, root, path)
        assert not merkle.is_consistent(old_size, merkle.EMPTY, size, root, path)
        assert not merkle.is_consistent(old_size, old_root, size, merkle.EMPTY, path)
        assert not merkle.is_consistent(old_size, old_root, size, root, [*path, root])
        assert not path or not merkle.is_consistent(old_size, old_root, size, root, path[:-1])
        assert not merkle.is_consistent(0, merkle.EMPTY, size, root, path)
        assert not merkle.is_consistent(size + 1, old_root, size, root, path)


def test_a_leaf_is_a_position_and_a_hash() -> None:
    assert {len(leaf) for leaf in LEAVES} == {LEAF_BYTES}
