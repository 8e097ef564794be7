"""The Merkle tree of RFC 6962 over the events of a log: its hashes, its proofs, and how anyone checks them. Pure.

The leaf of an event is its position in 8 bytes, big-endian, and its hash; leaves stand in the order of positions. A
node is named by its level and its number on it: node (3, 5) is over the 8 leaves from the 40th on. A tree of n leaves
is the complete nodes that the bits of n name, its peaks, so that it grows by keeping these alone.
"""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256

Node = tuple[int, int]
"""Level and number, both from 0: a complete part of the tree, over 2**level leaves from number * 2**level on."""

HASH_BYTES = 32
LEAF_BYTES = 8 + HASH_BYTES
NODE_LEVEL = 8
"""From where on nodes are stored: for a proof, the leaves under two nodes of that level are read from the log."""

EMPTY = sha256(b"").digest()
"""The root of a tree without leaves."""


class Peaks:
    """A tree that grows: only its peaks are kept, the largest first."""

    def __init__(self, size: int = 0, peaks: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(peaks)

    def grow(self, leaves: bytes) -> dict[int, bytes]:
        """Take in leaves of LEAF_BYTES each; return the nodes of NODE_LEVEL that they complete, by number."""
        hashed = [
            sha256(b"\x00" + leaves[start : start + LEAF_BYTES]).digest()
            for start in range(0, len(leaves), LEAF_BYTES)
        ]
        start, completed = 0, dict[int, bytes]()
        while start < len(hashed):
            level = self._level_of_next(len(hashed) - start)
            part = hashed[start : start + (1 << level)]
            while len(part) > 1:
                part = [sha256(b"\x01" + a + b).digest() for a, b in zip(part[::2], part[1::2], strict=True)]
            start += 1 << level
            self._add(level, part[0], completed)
        return completed

    def _level_of_next(self, leaves: int) -> int:
        """Return the level, NODE_LEVEL at most, of the largest complete part that begins where the tree ends."""
        aligned = (self.size & -self.size).bit_length() - 1 if self.size else NODE_LEVEL
        return min(NODE_LEVEL, aligned, leaves.bit_length() - 1)

    def _add(self, level: int, node: bytes, completed: dict[int, bytes]) -> None:
        number = self.size >> level
        self.size += 1 << level
        while True:
            if level == NODE_LEVEL:
                completed[number] = node
            if not number & 1:
                break
            node = node_hash(self.hashes.pop(), node)
            level, number = level + 1, number >> 1
        self.hashes.append(node)

    def root(self) -> bytes:
        """Return the hash of the tree's root."""
        return root_of(self.hashes)


def leaf_hash(position: int, event_hash: bytes) -> bytes:
    """Return the hash of the leaf of an event."""
    return sha256(b"\x00" + position.to_bytes(8) + event_hash).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node by those of its children."""
    return sha256(b"\x01" + left + right).digest()


def root_of(peaks: Sequence[bytes]) -> bytes:
    """Return the root over peaks, the largest first."""
    if not peaks:
        return EMPTY
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def peaks_of(first: int, end: int) -> list[Node]:
    """Return the complete nodes over the leaves first <= index < end, of which `first` begins a part of the tree."""
    found = []
    while first < end:
        level = (end - first).bit_length() - 1
        found.append((level, first >> level))
        first += 1 << level
    return found


def inclusion_path(index: int, size: int) -> list[list[Node]]:
    """Return the audit path of a leaf in a tree of `size` leaves, the lowest first; each hash as the peaks it is over.

    RFC 6962, section 2.1.1.
    """
    path = []
    first, end = 0, size
    while end - first > 1:
        middle = first + _largest_below(end - first)
        if index < middle:
            path.append(peaks_of(middle, end))
            end = middle
        else:
            path.append(peaks_of(first, middle))
            first = middle
    return path[::-1]


def consistency_path(old_size: int, size: int) -> list[list[Node]]:
    """Return the proof that a tree of `old_size` leaves is the start of one of `size`; as `inclusion_path` does.

    RFC 6962, section 2.1.2; empty for equal sizes. 0 < old_size <= size.
    """
    path = []
    first, end, is_whole = 0, size, True
    while old_size < end:
        middle = first + _largest_below(end - first)
        if old_size <= middle:
            path.append(peaks_of(middle, end))
            end = middle
        else:
            path.append(peaks_of(first, middle))
            first, is_whole = middle, False
    return ([] if is_whole else [peaks_of(first, end)]) + path[::-1]


def hashes_of(path: Iterable[Sequence[Node]], nodes: Mapping[Node, bytes]) -> list[bytes]:
    """Return the hashes of a path by those of complete nodes."""
    return [root_of([nodes[node] for node in peaks]) for peaks in path]


def root_by_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes | None:
    """Return the root that an audit path leads to from the hash of a leaf, None if the path does not fit the tree.

    RFC 9162, section 2.1.3.2.
    """
    steps = _steps(index, size - 1, path) if 0 <= index < size else None
    if steps is None:
        return None
    root = leaf
    for hashed, is_left in steps:
        root = node_hash(hashed, root) if is_left else node_hash(root, hashed)
    return root


def is_consistent(old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> bool:
    """Say whether a path proves that the tree of the old root is the start of that of the other.

    RFC 9162, section 2.1.4.2.
    """
    if old_size == size:
        return old_root == root and not path
    if not 0 < old_size < size:
        return False
    is_one_node = old_size & (old_size - 1) == 0
    first, *others = [old_root, *path] if is_one_node else path or [b""]
    number, last = old_size - 1, size - 1
    while number & 1:
        number, last = number >> 1, last >> 1
    steps = _steps(number, last, others)
    old = new = first
    for hashed, is_left in steps or ():
        old = node_hash(hashed, old) if is_left else old
        new = node_hash(hashed, new) if is_left else node_hash(new, hashed)
    return steps is not None and (old, new) == (old_root, root)


def _steps(number: int, last: int, path: Iterable[bytes]) -> list[tuple[bytes, bool]] | None:
    """Return each hash of a path up from a node of a level, and whether it is on the left; None if it does not fit.

    `last` is the number of the last node of that level.
    """
    steps = []
    for hashed in path:
        if not last:
            return None
        is_left = bool(number & 1) or number == last
        while is_left and number and not number & 1:
            number, last = number >> 1, last >> 1
        number, last = number >> 1, last >> 1
        steps.append((hashed, is_left))
    return None if last else steps


def _largest_below(count: int) -> int:
    """Return the largest power of two that is smaller than a count of two or more."""
    return 1 << ((count - 1).bit_length() - 1)
