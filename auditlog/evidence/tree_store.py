"""Append leaves to a log's Merkle tree on disk; cut it back to the last signed size on open.

The files are those of tree_files.  Appended leaves are durable after ``sync``, which the signer
calls before it signs.  Leaves that were never signed may be torn by a crash: ``open`` cuts the
files back to the last signed size, and the records behind it are read again.

Invariants (tests of the same name in tests/auditlog/evidence/test_tree_store.py):
  resumes     opened at any size it had, a store goes on to the same roots
  cut_back    whatever an unsigned tail of the files holds, it changes no root
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.leaves import DELETED_LEAF
from auditlog.evidence.merkle import HASH_BYTES, TILE_WIDTH, TreeBuilder
from auditlog.evidence.tree_files import TreeFiles, leaves_name, level_path, list_leaves

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["TreeStore", "set_aside"]

_BUFFERED_LEAVES: Final = 4096
_ASIDE: Final = "damaged"


def set_aside(directory: Path) -> None:
    """Begin the tree anew, and keep the leaves that there are: some of deleted records, perhaps."""
    aside = directory / _ASIDE
    if (directory / "leaves").exists() and not aside.exists():
        durable_fs.make_directory(aside)
        durable_fs.rename(directory / "leaves", aside / "leaves")
        durable_fs.fsync_directory(directory)


class TreeStore:
    """The tree of one log; not thread-safe.  Raises BadEvidence, OSError."""

    def __init__(self, directory: Path, size: int) -> None:
        """``size`` is that of the last signed tree; whatever is there beyond it is cut away."""
        durable_fs.make_directory(directory / "leaves")
        self.directory = directory
        self._cut_back(size)
        self._builder = TreeBuilder(size, TreeFiles(directory).edge(size))
        # Buffers by file; level 0 is the leaves file of the segment that is read just now.
        self._leaves: list[bytes] = []
        self._nodes: dict[int, list[bytes]] = {}
        self._fds: dict[int, int] = {}
        self._dirty: set[int] = set()
        self._label = ""
        self._first = size + 1  # of the leaves file, which is made with its first leaf
        self._new_names = False
        last = list_leaves(directory)[-1:]
        if last and size:
            self._label = last[0][1].name.split(".", 1)[1].removesuffix(".leaves")
            self._fds[0] = durable_fs.open_append(last[0][1])

    @property
    def size(self) -> int:
        return self._builder.size

    def root(self) -> bytes:
        """The root as the builder has it in memory."""
        return self._builder.root()

    def files(self) -> TreeFiles:
        """The tree as the files have it; everything that was appended is in them."""
        self._write()
        return TreeFiles(self.directory)

    def begin(self, label: str) -> None:
        """Start a segment (``<day>.<part>``): the leaves appended from now on belong to it."""
        if label == self._label:
            return
        self._write()
        self._close(0)
        self._label, self._first = label, self.size + 1

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Append leaves; ``begin`` has to have been called."""
        self._leaves += leaves
        for level, node in self._builder.extend(leaves):
            self._nodes.setdefault(level, []).append(node)
        if len(self._leaves) >= _BUFFERED_LEAVES:
            self._write()

    def kept_leaves(self, first: int, count: int) -> list[bytes]:
        """The leaves of records that are deleted, where ``set_aside`` kept them."""
        try:
            return TreeFiles(self.directory / _ASIDE).leaves(first, count)
        except BadEvidence:
            return [DELETED_LEAF] * count

    def sync(self) -> None:
        """Make everything durable that was appended."""
        self._write()
        for level in self._dirty:
            durable_fs.fdatasync(self._fds[level])
        self._dirty.clear()
        if self._new_names:
            durable_fs.fsync_directory(self.directory / "leaves")
            durable_fs.fsync_directory(self.directory)
            self._new_names = False

    def close(self) -> None:
        """Close the files; what was not synced may be lost."""
        for level in list(self._fds):
            self._close(level)

    def _write(self) -> None:
        if self._leaves:
            if 0 not in self._fds:
                path = self.directory / "leaves" / leaves_name(self._first, self._label)
                self._fds[0] = durable_fs.create_exclusive(path)
                self._new_names = True
            self._append(0, self._leaves)
            self._leaves.clear()
        for level, nodes in self._nodes.items():
            if level not in self._fds:
                path = level_path(self.directory, level)
                new = not path.exists()
                opened = durable_fs.create_exclusive if new else durable_fs.open_append
                self._fds[level] = opened(path)
                self._new_names |= new
            self._append(level, nodes)
        self._nodes.clear()

    def _append(self, level: int, hashes: list[bytes]) -> None:
        durable_fs.write_all(self._fds[level], b"".join(hashes))
        self._dirty.add(level)

    def _close(self, level: int) -> None:
        fd = self._fds.pop(level, -1)
        if fd < 0:
            return
        try:
            if level in self._dirty:
                durable_fs.fdatasync(fd)
                self._dirty.discard(level)
        finally:
            os.close(fd)

    def _cut_back(self, size: int) -> None:
        directory = self.directory
        for first_seq, path in list_leaves(directory):
            if first_seq > size:
                durable_fs.unlink(path)
            elif path.stat().st_size > (size - first_seq + 1) * HASH_BYTES:
                durable_fs.truncate(path, (size - first_seq + 1) * HASH_BYTES)
        level, nodes = 1, size // TILE_WIDTH
        while (path := level_path(directory, level)).exists():
            if path.stat().st_size > nodes * HASH_BYTES:
                durable_fs.truncate(path, nodes * HASH_BYTES)
            level, nodes = level + 1, nodes // TILE_WIDTH
