"""Represent a range of leaves by its largest complete subtrees.  Pure.

Of leaves ``start`` to ``end`` the subtrees are determined by the two numbers, and there are at most
two for each binary digit.  A range that follows another one is joined to it without its leaves; one
that begins at the first leaf has a root.  So the root of a log can be computed where records were
deleted, from the subtrees that their tombstone names.

Invariants (tests of the same name in tests/auditlog/evidence/test_compact_range.py):
  same_root    the root is that of RFC 6962's definition, however the leaves were divided
  determined   the subtrees of a range are those that its two numbers say, no more and no fewer
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from auditlog.evidence.merkle import EMPTY_ROOT, node_hash

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["CompactRange"]


class CompactRange:
    """The subtrees over leaves ``start`` to ``end``, exclusive."""

    __slots__ = ("_nodes", "end", "start")

    def __init__(self, start: int = 0) -> None:
        self.start = self.end = start
        self._nodes: list[tuple[int, bytes]] = []  # height and hash, from the left

    @classmethod
    def of(cls, start: int, end: int, nodes: Sequence[bytes]) -> CompactRange:
        """The reverse of ``nodes``.  Raises ValueError where they are not as many as it takes."""
        made = cls(start)
        made.end = end
        made._nodes = list(zip(_heights(start, end), nodes, strict=True))
        return made

    @classmethod
    def uniform(cls, start: int, end: int, leaf: bytes) -> CompactRange:
        """A range of which every leaf is the same one, in no time however long it is."""
        heights, roots = list(_heights(start, end)), [leaf]
        while len(roots) <= max(heights, default=0):
            roots.append(node_hash(roots[-1], roots[-1]))
        return cls.of(start, end, [roots[height] for height in heights])

    @classmethod
    def of_subtrees(
        cls, start: int, end: int, subtree: Callable[[int, int], bytes]
    ) -> CompactRange:
        """The range by the roots of its subtrees; ``subtree`` is as in merkle.range_root."""
        nodes, at = [], start
        for height in _heights(start, end):
            nodes.append(subtree(height, at >> height))
            at += 1 << height
        return cls.of(start, end, nodes)

    @property
    def nodes(self) -> list[bytes]:
        return [node for _, node in self._nodes]

    def append(self, leaf: bytes) -> None:
        """Add the next leaf."""
        self._add(0, leaf)

    def extend(self, other: CompactRange) -> None:
        """Add the leaves of the range that begins where this one ends."""
        if other.start != self.end:
            raise ValueError(f"a range from {other.start} does not continue one to {self.end}")
        for height, node in other._nodes:
            self._add(height, node)

    def root(self) -> bytes:
        """The root of a range that begins at the first leaf."""
        if self.start:
            raise ValueError(f"a range from leaf {self.start} has no root")
        root: bytes | None = None
        for _, node in reversed(self._nodes):
            root = node if root is None else node_hash(node, root)
        return EMPTY_ROOT if root is None else root

    def copy(self) -> CompactRange:
        made = CompactRange(self.start)
        made.end, made._nodes = self.end, self._nodes[:]
        return made

    def _add(self, height: int, node: bytes) -> None:
        nodes = self._nodes
        self.end += 1 << height
        while nodes and nodes[-1][0] == height and not self.end >> height & 1:
            node = sha256(b"\1" + nodes.pop()[1] + node).digest()
            height += 1
        nodes.append((height, node))


def _heights(start: int, end: int) -> Iterator[int]:
    while start < end:
        height = (end - start).bit_length() - 1
        if start:
            height = min(height, (start & -start).bit_length() - 1)
        yield height
        start += 1 << height
