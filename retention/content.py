"""Read a whole segment: compute its digest and check its hash chain.

Invariants (tests of the same name in tests/retention/test_content.py):
  all_forms   plain, .zst and .gz of the same bytes give the same content
  any_byte    a segment with any single byte changed, or cut off, is damaged
  bounded     memory does not grow with the size of a segment
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from auditlog.evidence.compact_range import CompactRange
from auditlog.evidence.leaves import leaf_of
from auditlog.format.record import (
    MAX_RECORD_BYTES,
    check_link,
    log_prefix,
    parse_header,
    parse_timestamp,
    stub_leaf,
)
from auditlog.reading.decompression import NotWhole
from auditlog.reading.reader import Bounds, open_segment
from auditlog.verification.fast_path import check_following, follow, following_start, line_ends
from retention.errors import SegmentChanged, SegmentDamaged, Stopped

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from auditlog.format.record import Header
    from auditlog.format.segment_names import LogId

__all__ = ["Content", "Identity", "SegmentCheck", "SegmentTree", "decoded", "inspect"]

CHUNK_BYTES: Final = 1 << 19
"""Bytes read at once: large enough for speed, small enough to stop soon."""


@dataclass(frozen=True, slots=True)
class SegmentTree:
    """A segment's part of the log's Merkle tree: the digest of its leaves, and its subtrees."""

    leaves_sha256: str
    nodes: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Content:
    """The uncompressed content of a segment: size, SHA-256 in hex, first and last record.

    ``tree`` is there where it was asked for, ``erased`` are the numbers of records that are stubs.
    """

    size_bytes: int
    sha256: str
    bounds: Bounds
    tree: SegmentTree | None = None
    erased: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """A file's device, inode, size and modification time, to notice when it changes."""

    device: int
    inode: int
    size_bytes: int
    modified_ns: int

    @classmethod
    def at(cls, path: Path) -> Identity:
        """Read it from a path.  Raises SegmentChanged when that is not a regular file."""
        try:
            state = path.lstat()
        except FileNotFoundError:
            raise SegmentChanged("the file vanished since it was listed", path=path) from None
        if not stat.S_ISREG(state.st_mode):
            raise SegmentChanged("it is not a regular file", path=path)
        return cls(state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns)

    def check(self, path: Path) -> None:
        """Raise SegmentChanged when the path leads to anything else now."""
        if Identity.at(path) != self:
            raise SegmentChanged(
                "the segment changed while it was read",
                path=path,
                hint="Only its writer may write to a log, and only to its newest segment.",
            )


class SegmentCheck:
    """Check a segment's records, fed in pieces of any size.

    The fast path checks all lines of a piece together; where that fails, each line is checked
    alone, and only a line that fails there is parsed, to say what is wrong with it.
    """

    def __init__(self, path: Path, log: LogId, *, with_tree: bool = False) -> None:
        self._with_tree = with_tree
        self._tree: CompactRange | None = None
        self._leaves = sha256()
        self._path = path
        self._log = str(log)
        self._prefix = log_prefix(self._log)
        self._rest = b""
        self._offset = 0
        self._digest = sha256()
        self._size_bytes = 0
        self._first: Header | None = None
        self._last_line = b""
        self._last_seq = 0
        self._last_hash = ""
        self._erased: list[int] = []

    def feed(self, chunk: bytes) -> None:
        """Add a piece.  Raises SegmentDamaged at a line that is not the log's next record."""
        self._digest.update(chunk)
        self._size_bytes += len(chunk)
        block = self._rest + chunk
        ends = line_ends(block, len(block))
        chained = follow(block, ends, self._prefix, self._last_seq + 1, self._last_hash)
        begin = 0
        if chained is None:
            for end in ends:
                self._line(block[begin:end])
                begin = end
        else:
            self._last_seq += len(ends)
            self._last_hash = chained.hashes[-1]
            self._last_line = block[ends[-2] if len(ends) > 1 else 0 : ends[-1]]
            self._offset += ends[-1]
            begin = ends[-1]
            if self._with_tree:
                self._grow(block[:begin])
        self._rest = block[begin:]
        if len(self._rest) > MAX_RECORD_BYTES:
            raise self._damaged("a line is longer than any record")

    def _line(self, line: bytes) -> None:
        start = following_start(self._prefix, self._last_seq + 1, self._last_hash)
        if (following := check_following(line, start)) is not None:
            self._last_seq, self._last_hash = self._last_seq + 1, following[0]
        else:
            header = self._check(line)
            self._last_seq, self._last_hash = header.seq, header.hash
        self._last_line = line
        self._offset += len(line)
        if self._with_tree:
            self._grow(line)

    def _grow(self, lines: bytes) -> None:
        """Add whole lines to the tree; the first one's header was read before."""
        if self._tree is None:
            assert self._first is not None  # noqa: S101  (set by _check of the first line)
            self._tree = CompactRange(self._first.seq - 1)
        for line in lines[:-1].split(b"\n"):
            leaf = leaf_of(line)
            self._tree.append(leaf)
            self._leaves.update(leaf)

    def _check(self, line: bytes) -> Header:
        header = parse_header(line)
        if header is None:
            raise self._damaged("a line is not a record")
        if header.log != self._log:
            raise self._damaged(f"a record belongs to the log {header.log}", header.seq)
        if self._first is None:
            self._first = header  # a segment may begin at any seq
            self._last_seq, self._last_hash = header.seq - 1, header.prev_hash
        finding = check_link(header, line, seq=self._last_seq + 1, prev_hash=self._last_hash)
        if finding is not None:
            raise self._damaged(finding.replace("_", " "), header.seq)
        if stub_leaf(line) is not None:
            self._erased.append(header.seq)
        return header

    def finish(self) -> Content:
        """Return what was fed.  Raises SegmentDamaged on a torn last line, or without a record."""
        if self._rest:
            raise self._damaged("the last line is torn")
        first, last = self._first, parse_header(self._last_line)
        if first is None or last is None:
            raise self._damaged("it holds no record")
        try:
            first_at, last_at = parse_timestamp(first.timestamp), parse_timestamp(last.timestamp)
        except ValueError:
            raise self._damaged("a record's time does not exist") from None
        bounds = Bounds(first.seq, first.prev_hash, first_at, last.seq, last.hash, last_at)
        tree = None
        if self._tree is not None:
            tree = SegmentTree(self._leaves.hexdigest(), tuple(self._tree.nodes))
        digest, erased = self._digest.hexdigest(), tuple(self._erased)
        return Content(self._size_bytes, digest, bounds, tree, erased)

    def _damaged(self, reason: str, seq: int | None = None) -> SegmentDamaged:
        return SegmentDamaged(
            reason,
            path=self._path,
            offset=self._offset,
            seq=seq,
            hint="Run auditctl verify on the directory; the segment stays until it is repaired.",
        )


def inspect(
    path: Path, compression: str, log: LogId, stop: threading.Event, *, with_tree: bool = False
) -> tuple[Content, Identity]:
    """Read a whole segment; return its content, and the identity of the file.

    Raises SegmentDamaged, SegmentChanged when it was written to at the same time, Stopped, OSError.
    """
    identity = Identity.at(path)
    chain = SegmentCheck(path, log, with_tree=with_tree)
    for piece in decoded(path, compression, stop):
        chain.feed(piece)
    content = chain.finish()
    identity.check(path)
    return content, identity


def decoded(path: Path, compression: str, stop: threading.Event) -> Iterator[bytes]:
    """Yield the uncompressed bytes in pieces.  A symlink is refused (ELOOP).

    Raises SegmentDamaged, Stopped, OSError.
    """
    try:
        with open_segment(path, compression) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                if stop.is_set():
                    raise Stopped("the run was asked to stop", path=path)
                yield chunk
    except NotWhole as error:
        raise SegmentDamaged(
            f"it cannot be decompressed ({error})",
            path=path,
            hint="Restore it from a copy, or from the index.",
        ) from error
