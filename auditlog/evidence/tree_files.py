"""Read a log's Merkle tree from the signer's files.

    <state_dir>/proofs/<log>/
        leaves/<first seq>.<day>.<part>.leaves    32 bytes a record, by segment
        tree.<n>                                  32 bytes for each 256**n records
        checkpoints                               see checkpoint_file

Nothing read here is believed by itself: a root computed from it has to be a signed one.  Sizes are
passed in, so that a reader may work beside the signer, which only appends.

Invariants (tests of the same name in tests/auditlog/evidence/test_tree_files.py):
  same_root    the root from the files is the one that the builder had in memory, at every size
  proofs       inclusion and consistency proofs from the files verify
  damage       a file that is too short is an error that names it, never a wrong hash
"""

from __future__ import annotations

import bisect
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import (
    HASH_BYTES,
    TILE_WIDTH,
    consistency_proof,
    fold,
    inclusion_proof,
    range_root,
)

__all__ = ["TreeFiles", "leaves_name", "level_path", "list_leaves"]

SUFFIX: Final = ".leaves"
_LEVEL_BITS: Final = 8


def leaves_name(first_seq: int, label: str) -> str:
    """The name of a leaves file; names sort in the order of their records."""
    return f"{first_seq:016d}.{label}{SUFFIX}"


def level_path(directory: Path, level: int) -> Path:
    return directory / f"tree.{level}"


def list_leaves(directory: Path) -> list[tuple[int, Path]]:
    """The leaves files with the number of their first record, in order.  Raises OSError."""
    try:
        paths = sorted((directory / "leaves").iterdir())
    except FileNotFoundError:
        return []
    return [
        (int(path.name[:16]), path)
        for path in paths
        if path.name.endswith(SUFFIX) and path.name[:16].isdecimal()
    ]


@dataclass(slots=True)
class TreeFiles:
    """The files of one log.  Raises BadEvidence where they hold less than is asked for, OSError."""

    directory: Path
    _leaves: list[tuple[int, Path]] = field(init=False)

    def __post_init__(self) -> None:
        self._leaves = list_leaves(self.directory)

    def leaves(self, first: int, count: int) -> list[bytes]:
        """The leaves from index ``first`` on."""
        found: list[bytes] = []
        place = bisect.bisect_right(self._leaves, first + 1, key=lambda entry: entry[0]) - 1
        while len(found) < count:
            seq = first + len(found) + 1
            if not 0 <= place < len(self._leaves) or self._leaves[place][0] > seq:
                raise _short(self.directory / "leaves", seq)
            first_seq, path = self._leaves[place]
            found += _hashes(path, seq - first_seq, count - len(found), exact=False)
            place += 1
        return found

    def subtree(self, height: int, index: int) -> bytes:
        """The root of the ``index``-th complete subtree of ``1 << height`` leaves."""
        level, rest = divmod(height, _LEVEL_BITS)
        first, count = index << rest, 1 << rest
        if level == 0:
            return fold(self.leaves(first, count))
        return fold(_hashes(level_path(self.directory, level), first, count))

    def root(self, size: int) -> bytes:
        return range_root(0, size, self.subtree)

    def inclusion(self, index: int, size: int) -> list[bytes]:
        return inclusion_proof(index, size, self.subtree)

    def consistency(self, old: int, size: int) -> list[bytes]:
        return consistency_proof(old, size, self.subtree)

    def edge(self, size: int) -> list[list[bytes]]:
        """Return the state of a TreeBuilder of that size: each level's unfinished tile."""
        levels = [self.leaves(size - size % TILE_WIDTH, size % TILE_WIDTH)]
        level, nodes = 1, size // TILE_WIDTH
        while nodes:
            count = nodes % TILE_WIDTH
            levels.append(_hashes(level_path(self.directory, level), nodes - count, count))
            level, nodes = level + 1, nodes // TILE_WIDTH
        return levels


def _hashes(path: Path, first: int, count: int, *, exact: bool = True) -> list[bytes]:
    if not count:
        return []
    try:
        with path.open("rb", buffering=0) as stream:
            stream.seek(first * HASH_BYTES)
            data = stream.read(count * HASH_BYTES)
    except FileNotFoundError:
        data = b""
    hashes = [data[at : at + HASH_BYTES] for at in range(0, len(data) // 32 * 32, HASH_BYTES)]
    if exact and len(hashes) < count:
        raise _short(path, None)
    return hashes


def _short(path: Path, seq: int | None) -> BadEvidence:
    return BadEvidence(
        "the tree's files hold less than was signed",
        path=path,
        seq=seq,
        hint="A copy of the segments has none; [evidence] leaves drops those of deleted segments.",
    )
