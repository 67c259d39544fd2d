"""Write a log's tree as static files in the c2sp.org/tlog-tiles layout.

    <directory>/checkpoint                     the signed tree head, with its cosignatures
    <directory>/tile/<level>/<index>[.p/<w>]   256 hashes each; <w> is the width of a partial one
    <directory>/tile/entries/<index>[.p/<w>]   the lines, each behind its length (two bytes)

The level-0 hash of an entry is the leaf of its line.  A bundle of entries is left out where one of
its records is gone or is not what was signed, or its line is longer than an entry can be.

It is a copy that can be made again at any time, so nothing but its checkpoint, which is written
last, is made durable.

Invariants (tests of the same name in tests/auditlog/evidence/test_tiles.py):
  layout     the files are those of the specification, for every size
  root       the checkpoint's root comes out of the tiles alone, and is never written without it
  entries    every entry hashes to its leaf; a bundle with one that does not is left out
"""

from __future__ import annotations

from hashlib import sha256
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import LogDamaged
from auditlog.evidence.checkpoint import Checkpoint
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.merkle import TILE_WIDTH
from auditlog.format.record import parse_header
from auditlog.reading.reader import iter_lines, open_any_form

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from auditlog.evidence.note import Note
    from auditlog.evidence.tree_files import TreeFiles
    from auditlog.reading.inventory import SegmentFile

__all__ = ["numbered_lines", "tile_path", "write_tiles"]

_LEVEL_BITS: Final = 8
_MAX_ENTRY_BYTES: Final = 0xFFFF


def tile_path(kind: str, index: int, width: int) -> str:
    """The name of a tile; ``kind`` is its level, or ``entries``."""
    groups = [f"{index % 1000:03d}"]
    while index := index // 1000:
        groups.insert(0, f"x{index % 1000:03d}")
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{kind}/{'/'.join(groups)}{partial}"


def write_tiles(
    directory: Path, note: Note, tree: TreeFiles, lines: Iterable[tuple[int, bytes]]
) -> int:
    """Write the tree of a checkpoint into a new directory; returns how many entries it holds.

    ``lines`` are those of the log without their LF, each behind its index, in order.  Raises
    BadEvidence when the tree does not have the checkpoint's root, OSError.
    """
    checkpoint = Checkpoint.parse(note.text)
    size = checkpoint.size
    if tree.root(size) != checkpoint.root:
        raise BadEvidence("the tree's files do not have the root that was signed")
    level, count = 0, size
    while count:
        for index, width in _tiles(count):
            first = index * TILE_WIDTH
            hashes = (
                tree.leaves(first, width)
                if level == 0
                else [tree.subtree(level * _LEVEL_BITS, first + each) for each in range(width)]
            )
            _write(directory / tile_path(str(level), index, width), b"".join(hashes))
        level, count = level + 1, count // TILE_WIDTH
    written = _write_entries(directory, size, tree, lines)
    durable_fs.make_directory(directory)
    durable_fs.replace_durably(directory / "checkpoint", note.to_bytes())
    return written


def numbered_lines(segments: Iterable[SegmentFile]) -> Iterator[tuple[int, bytes]]:
    """The lines of a log's segments without their LF, each behind its index in the tree.

    What cannot be read is left out: whether a log is whole is for verification to say.
    """
    for segment in segments:
        try:
            stream, path = open_any_form(segment)
            with stream:
                for _, line in iter_lines(stream, path=path):
                    if (header := parse_header(line)) is not None and line.endswith(b"\n"):
                        yield header.seq - 1, line[:-1]
        except (FileNotFoundError, LogDamaged):
            continue


def _tiles(count: int) -> Iterator[tuple[int, int]]:
    """The index and width of every tile of a level with so many hashes."""
    for index in range(count // TILE_WIDTH):
        yield index, TILE_WIDTH
    if count % TILE_WIDTH:
        yield count // TILE_WIDTH, count % TILE_WIDTH


def _write_entries(
    directory: Path, size: int, tree: TreeFiles, lines: Iterable[tuple[int, bytes]]
) -> int:
    written = 0
    for index, group in groupby(lines, lambda numbered: numbered[0] // TILE_WIDTH):
        first = index * TILE_WIDTH
        width = min(TILE_WIDTH, size - first)
        if width <= 0:
            break
        bundle = [line for _, line in islice(group, width)]
        leaves = [sha256(b"\0" + line).digest() for line in bundle]
        if leaves != tree.leaves(first, width) or max(map(len, bundle)) > _MAX_ENTRY_BYTES:
            continue
        content = b"".join(len(line).to_bytes(2, "big") + line for line in bundle)
        _write(directory / tile_path("entries", index, width), content)
        written += width
    return written


def _write(path: Path, content: bytes) -> None:
    durable_fs.make_directory(path.parent)
    path.write_bytes(content)
