"""Append a log's new records to its Merkle tree, through rotation, compression and deletion.

Only what is durable is read: a segment is synced first, the newest one before each read, since a
signature must not name a record that a power loss takes back.  A record that is missing without a
tombstone, or a line that is no record, stops it with an error; it goes on by itself once the log is
whole again.

Invariants (tests of the same name in tests/auditlog/evidence/test_tree_appender.py):
  every_line   the tree has the lines of the log in their order, in whatever form the segments are
  resumes      from any size the tree goes on with exactly the records behind it
  whole_lines  a line without its LF waits for it
  missing      a missing record stops it; a tombstone accounts for it
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import LogDamaged
from auditlog.evidence.leaves import STUB_MARK, leaves_in_order
from auditlog.format.record import MAX_RECORD_BYTES, log_prefix, parse_header
from auditlog.format.segment_names import SegmentName
from auditlog.reading.decompression import NotWhole
from auditlog.reading.reader import open_any_form

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import BinaryIO

    from auditlog.evidence.tree_store import TreeStore
    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.inventory import SegmentFile

__all__ = ["TreeAppender", "segment_label"]

_BLOCK_BYTES: Final = 1 << 20
_CRITICAL: Final = b'"severity":"critical"'


def segment_label(name: SegmentName) -> str:
    """The name of a segment within its log, in the names of leaves files."""
    return f"{name.day.isoformat()}.{name.part:04d}"


class TreeAppender:
    """Appends the records of one log to its tree.

    ``tombstones`` gives those of this log; it is called when records are missing.
    """

    def __init__(
        self, log: str, store: TreeStore, tombstones: Callable[[], Sequence[Tombstone]]
    ) -> None:
        self.log = log
        self._store = store
        self._tombstones = tombstones
        self._prefix = log_prefix(log)
        # The segment being read and the byte behind its last line in the tree.
        self._segment: SegmentName | None = None
        self._offset = 0
        self._stream: BinaryIO | None = None
        self._path = Path()
        self._plain = False
        self._rest = b""  # of a compressed segment: the beginning of the next line
        self._named = False  # the open segment was synced once, and so was its name
        self._done = False  # the segment was read to its end, and another one follows it
        self.sealed = False
        self.critical = False
        self.shrunk = False

    def close(self) -> None:
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def advance(self, segments: Sequence[SegmentFile], max_bytes: int = 32 << 20) -> bool:
        """Read on; false when there is nothing more for now.

        Sets ``sealed`` when a segment was read to its end, ``critical`` when a record of that
        severity was read; whoever signs clears them.  Raises LogDamaged, OSError; what was read
        before stays in the tree.  ``shrunk`` then says that the file no longer has all of it.
        """
        budget = max_bytes
        self._look_again()
        while budget > 0:
            if self._stream is None and not self._open_next(segments):
                return False
            assert self._stream is not None  # noqa: S101  (_open_next opened it)
            block = self._read_lines(newest=segments[-1].name == self._segment)
            if block:
                budget -= len(block)
                self._take(block)
                continue
            if segments[-1].name == self._segment:
                return False
            self.close()
            self.sealed = self._done = True
        return True

    def _look_again(self) -> None:
        """Open the segment anew when another file has its place.  Raises LogDamaged when cut."""
        if self._stream is None or not self._plain:
            return
        state = os.fstat(self._stream.fileno())
        if state.st_size < self._offset:
            self.shrunk = True
            self.close()
            raise self._damaged("the segment is shorter than it was")
        try:
            there = self._path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return  # compressed or deleted: what is open stays whole
        if not os.path.samestat(state, there):
            self.close()

    def _open_next(self, segments: Sequence[SegmentFile]) -> bool:
        """Open the segment that was read last, or the one behind it; false when there is none."""
        if self._segment is None:
            self._find_place(segments)
        for segment in segments:
            if self._segment is not None and segment.name < self._segment:
                continue
            if segment.name == self._segment and segment is not segments[-1] and self._done:
                continue
            try:
                self._stream, self._path = open_any_form(segment)
            except FileNotFoundError:
                continue  # deleted since it was listed; its records are missed behind it
            if segment.name != self._segment:
                self._segment, self._offset = segment.name, 0
            self._plain = self._path.name == segment.name.logical
            self._named = self._done = False
            self._rest = b""
            self._skip(self._offset)
            self._store.begin(segment_label(segment.name))
            return True
        return False

    def _find_place(self, segments: Sequence[SegmentFile]) -> None:
        """Find the segment in which the next record is, or would be, from the tree's size."""
        for segment in reversed(segments):
            first = _first_seq(segment)
            if first is not None and first <= self._store.size + 1:
                self._segment = segment.name
                self._offset = self._offset_behind(segment, self._store.size - first + 1)
                return

    def _offset_behind(self, segment: SegmentFile, records: int) -> int:
        stream, _ = open_any_form(segment)
        offset = 0
        with stream:
            for _ in range(records):
                line = stream.readline()
                if not line.endswith(b"\n"):
                    break
                offset += len(line)
        return offset

    def _skip(self, count: int) -> None:
        assert self._stream is not None  # noqa: S101  (called where it was just opened)
        if self._plain:
            self._stream.seek(count)
            return
        while count and (chunk := self._stream.read(min(count, _BLOCK_BYTES))):
            count -= len(chunk)

    def _read_lines(self, *, newest: bool) -> bytes:
        """The next whole lines, durable ones; empty at the end of what is there."""
        assert self._stream is not None  # noqa: S101  (advance opened it)
        try:
            block = self._stream.read(_BLOCK_BYTES)
        except NotWhole as error:
            raise self._damaged(f"the segment cannot be decompressed ({error})") from error
        ended = not block
        block = self._rest + block
        end = block.rfind(b"\n") + 1
        if self._plain:
            self._stream.seek(self._offset + end)
            if end and (newest or not self._named):
                self._make_durable(self._stream)
            ended = len(block) < _BLOCK_BYTES
        else:
            self._rest = block[end:]
        if ended and block and not end and not newest:
            self.close()
            raise self._damaged("a sealed segment ends within a line")
        return block[:end]

    def _make_durable(self, stream: BinaryIO) -> None:
        durable_fs.fdatasync(stream.fileno())
        if not self._named:
            durable_fs.fsync_directory(self._path.parent)
            self._named = True
        if os.fstat(stream.fileno()).st_size < stream.tell():
            self.shrunk = True  # a writer whose sync failed cuts off what it wrote
            self.close()
            raise self._damaged("the segment is shorter than it was")

    def _take(self, block: bytes) -> None:
        lines = block.split(b"\n")
        lines.pop()  # what is behind the last LF
        # From the right: bytes are searched a third faster so (measured with CPython 3.11).
        has_stubs = block.rfind(STUB_MARK) >= 0
        self.critical = self.critical or block.rfind(_CRITICAL) >= 0
        while lines:
            seq = self._store.size + 1
            leaves = leaves_in_order(lines, self._prefix, seq, has_stubs=has_stubs)
            self._store.extend(leaves)
            taken, lines = lines[: len(leaves)], lines[len(leaves) :]
            self._offset += sum(map(len, taken)) + len(taken)
            if lines:
                self._bridge(lines[0])

    def _bridge(self, line: bytes) -> None:
        """Account for the records between the tree's end and this line.  Raises LogDamaged."""
        header = parse_header(line + b"\n")
        expected = until = self._store.size + 1
        if header is None or header.log != self.log:
            raise self._give_up("the line is not a record of this log")
        if header.seq < expected:
            raise self._give_up(f"record {header.seq} is there twice; {expected} was expected")
        for tombstone in sorted(self._tombstones()):
            if tombstone.first_seq <= until <= tombstone.last_seq:
                until = tombstone.last_seq + 1
        if until < header.seq:
            raise self._give_up(f"records {until} to {header.seq - 1} are missing", until)
        assert self._segment is not None  # noqa: S101  (the line is of an open segment)
        self._store.begin(f"deleted-{expected}")
        self._store.extend(self._store.kept_leaves(expected - 1, header.seq - expected))
        self._store.begin(segment_label(self._segment))

    def _give_up(self, reason: str, seq: int | None = None) -> LogDamaged:
        """The error to raise; the next attempt looks for the place anew, as files may be back."""
        error = self._damaged(reason, seq)
        self.close()
        self._segment = None
        return error

    def _damaged(self, reason: str, seq: int | None = None) -> LogDamaged:
        return LogDamaged(
            f"{reason}; nothing behind it is signed",
            path=self._segment.logical if self._segment is not None else None,
            offset=self._offset,
            seq=seq or self._store.size + 1,
            hint="Run auditctl verify on the directory.",
        )


def _first_seq(segment: SegmentFile) -> int | None:
    """The number of a segment's first record; None where its first line is none, or not whole."""
    try:
        stream, _ = open_any_form(segment)
        with stream:
            header = parse_header(stream.readline(MAX_RECORD_BYTES + 1))
    except (FileNotFoundError, NotWhole):
        return None
    return None if header is None else header.seq
