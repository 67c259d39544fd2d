"""Compute RFC 6962 Merkle tree hashes and proofs.  Pure.

A leaf is SHA-256(0x00 || record), a node SHA-256(0x01 || left || right).  A tree of n leaves splits
at the largest power of two below n.  Nodes are kept in tiles of 256, as c2sp.org/tlog-tiles has
them: ``levels[0]`` holds leaves, ``levels[i]`` the roots of 256**i leaves each.

Invariants (tests of the same name in tests/auditlog/evidence/test_merkle.py):
  definition   the builder's root is that of RFC 6962's recursive definition, for every size
  inclusion    the proof of every leaf verifies; no other leaf, index, size or root does with it
  consistency  the proof between every two sizes verifies; changed sizes, roots or hashes do not
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = [
    "EMPTY_ROOT",
    "HASH_BYTES",
    "TILE_WIDTH",
    "TreeBuilder",
    "consistency_proof",
    "fold",
    "inclusion_proof",
    "leaf_hash",
    "leaf_hashes",
    "node_hash",
    "range_root",
    "verify_consistency",
    "verify_inclusion",
]

HASH_BYTES: Final = 32
TILE_WIDTH: Final = 256
EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_hash(record: bytes) -> bytes:
    """The leaf of a record: its line without the LF."""
    return sha256(b"\0" + record).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\1" + left + right).digest()


def leaf_hashes(records: Iterable[bytes]) -> list[bytes]:
    """The leaves of many records; beginning each with a copy takes a third less time."""
    begun, leaves = sha256(b"\0"), []
    for record in records:
        digest = begun.copy()
        digest.update(record)
        leaves.append(digest.digest())
    return leaves


def fold(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of neighbouring hashes of one height."""
    begun = sha256(b"\1")
    while len(hashes) > 1:
        nodes = []
        for left, right in zip(hashes[::2], hashes[1::2], strict=True):
            digest = begun.copy()
            digest.update(left + right)
            nodes.append(digest.digest())
        hashes = nodes
    return hashes[0]


class TreeBuilder:
    """The right edge of a growing tree: of each level, the nodes of its unfinished tile."""

    __slots__ = ("levels", "size")

    def __init__(self, size: int = 0, levels: list[list[bytes]] | None = None) -> None:
        self.size = size
        self.levels: list[list[bytes]] = levels or [[]]

    def append(self, leaf: bytes) -> list[bytes]:
        """Add a leaf; returns the roots of the tiles it completed, lowest level first."""
        self.size += 1
        tile = self.levels[0]
        tile.append(leaf)
        return [] if len(tile) < TILE_WIDTH else self._carry()

    def extend(self, leaves: Sequence[bytes]) -> list[tuple[int, bytes]]:
        """Add leaves, tile by tile; returns the roots of the completed tiles, with their levels."""
        self.size += len(leaves)
        completed: list[tuple[int, bytes]] = []
        at = 0
        while at < len(leaves):
            tile = self.levels[0]
            more = leaves[at : at + TILE_WIDTH - len(tile)]
            tile += more
            at += len(more)
            if len(tile) == TILE_WIDTH:
                completed += enumerate(self._carry(), 1)
        return completed

    def _carry(self) -> list[bytes]:
        completed, level = [], 0
        while len(self.levels[level]) == TILE_WIDTH:
            root = fold(self.levels[level])
            completed.append(root)
            self.levels[level] = []
            level += 1
            if level == len(self.levels):
                self.levels.append([])
            self.levels[level].append(root)
        return completed

    def root(self) -> bytes:
        """The tree's root now: its complete subtrees, joined from the right."""
        root: bytes | None = None
        for tile in self.levels:
            end = len(tile)
            while end:
                width = end & -end  # the rightmost complete subtree among the tile's nodes
                peak = fold(tile[end - width : end])
                root = peak if root is None else node_hash(peak, root)
                end -= width
        return EMPTY_ROOT if root is None else root


def _split(count: int) -> int:
    """The largest power of two below ``count``, which is 2 or more."""
    return 1 << (count - 1).bit_length() - 1


def range_root(start: int, end: int, subtree: Callable[[int, int], bytes]) -> bytes:
    """The hash over leaves ``start`` to ``end``, exclusive, as one tree.

    ``subtree(height, index)`` gives the root of the leaves from ``index << height`` on, of which
    there are ``1 << height``.
    """
    count = end - start
    if not count:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return subtree(height, start >> height)
    middle = start + _split(count)
    return node_hash(range_root(start, middle, subtree), range_root(middle, end, subtree))


def inclusion_proof(index: int, size: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    """The hashes that lead from a leaf to the root of ``size`` leaves (RFC 6962, 2.1.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    proof = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            proof.append(range_root(middle, end, subtree))
            end = middle
        else:
            proof.append(range_root(start, middle, subtree))
            start = middle
    return proof[::-1]


def consistency_proof(old: int, size: int, subtree: Callable[[int, int], bytes]) -> list[bytes]:
    """The hashes that show that ``old`` leaves begin the tree of ``size`` (RFC 6962, 2.1.2)."""
    if not 0 <= old <= size:
        raise ValueError(f"a tree of {size} does not begin with {old} leaves")
    if old in (0, size):
        return []
    proof = []
    start, end, whole = 0, size, True
    while old != end:
        middle = start + _split(end - start)
        if old <= middle:
            proof.append(range_root(middle, end, subtree))
            end = middle
        else:
            proof.append(range_root(start, middle, subtree))
            start, whole = middle, False
    if not whole:
        proof.append(range_root(start, end, subtree))
    return proof[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> bool:
    """Whether the leaf is the ``index``-th of the tree with that root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size or any(len(node) != HASH_BYTES for node in proof):
        return False
    place, last, found = index, size - 1, leaf
    for node in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(node, found)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, node)
        place >>= 1
        last >>= 1
    return last == 0 and found == root


def verify_consistency(
    old: int, size: int, proof: Sequence[bytes], old_root: bytes, root: bytes
) -> bool:
    """Whether the tree of ``old`` leaves is the beginning of that of ``size`` (RFC 9162, 2.1.4.2).

    Of an empty old tree nothing has to be proven: the proof is empty then.
    """
    if not 0 <= old <= size or any(len(node) != HASH_BYTES for node in proof):
        return False
    if old == size:
        return not proof and old_root == root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    nodes = list(proof)
    if old & (old - 1) == 0:
        nodes.insert(0, old_root)
    if not nodes:
        return False
    place, last = old - 1, size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    found_old = found = nodes[0]
    for node in nodes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            found_old = node_hash(node, found_old)
            found = node_hash(node, found)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            found = node_hash(found, node)
        place >>= 1
        last >>= 1
    return last == 0 and found_old == old_root and found == root
