"""Compute a log's past tree roots from its remaining files.

Lines give their leaves.  For records that retention deleted, the leaves that the signer kept stand
in; without those, as on a copy of the directory, the subtrees that their tombstones name.  A tree
that was begun after a deletion has the leaf of a deleted record there instead, so that both are
tried: a signed root that comes out says which it was, and a wrong one never comes out.

Invariants (tests of the same name in tests/auditlog/evidence/test_remaining_tree.py):
  same_root   the roots are those of the whole log, whatever was deleted under policy
  blank       the roots are those of a tree that was begun after any of the deletions
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditlog.errors import LogDamaged
from auditlog.evidence.compact_range import CompactRange
from auditlog.evidence.errors import BadEvidence
from auditlog.evidence.leaves import DELETED_LEAF, leaf_of
from auditlog.format.record import log_prefix, parse_header
from auditlog.reading.reader import iter_lines, open_any_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from auditlog.evidence.tree_files import TreeFiles
    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.inventory import SegmentFile

__all__ = ["RemainingTree", "remaining_leaves"]

_BLOCK_LEAVES: Final = 4096


@dataclass(frozen=True, slots=True)
class _Piece:
    """Leaves ``start`` to ``end``: known ones, those that a tombstone names, or unknown ones."""

    start: int
    end: int
    known: CompactRange | None
    named: CompactRange | None = None
    is_deleted: bool = False


@dataclass(slots=True)
class RemainingTree:
    """The tree of one log up to record ``limit``; ``sizes`` are those of which roots are asked.

    Raises OSError while it reads.
    """

    log: str
    sizes: Collection[int]
    tombstones: Sequence[Tombstone] = ()
    kept: TreeFiles | None = None
    _pieces: list[_Piece] = field(default_factory=list)
    _run: CompactRange = field(default_factory=CompactRange)

    @property
    def size(self) -> int:
        return self._run.end

    def read(self, segments: Sequence[SegmentFile]) -> None:
        """Take the lines of the segments, and stand-ins for the records that are missing."""
        limit = max(self.sizes, default=0)
        for index, leaf in remaining_leaves(self.log, segments, limit):
            if index > self.size:
                self._bridge(index)
            if index == self.size and index < limit:  # tombstones may name more than that
                self._add(leaf)
        self._flush()

    def roots(self, expected: Mapping[int, bytes]) -> dict[int, bytes]:
        """The roots at the sizes; where there is a choice, those that fit ``expected`` best.

        A size that lies within deleted records, of which only subtrees are known, has none.
        """
        deleted = sum(piece.is_deleted and piece.named is not None for piece in self._pieces)
        first = self._roots(0)
        for blank in (0, deleted, *range(1, deleted)):
            found = first if blank == 0 else self._roots(blank)
            largest = max((size for size in expected if size in found), default=None)
            if largest is None or found[largest] == expected[largest]:
                return found
        return first

    def is_unknown_before(self, size: int) -> bool:
        """Whether a tombstone before this size names no subtrees, as those of early versions."""
        return any(
            piece.is_deleted and piece.named is None and piece.start < size
            for piece in self._pieces
        )

    def _add(self, leaf: bytes) -> None:
        self._run.append(leaf)
        if self._run.end in self.sizes:
            self._flush()

    def _flush(self) -> None:
        run = self._run
        if run.end > run.start:
            self._pieces.append(_Piece(run.start, run.end, run))
            self._run = CompactRange(run.end)

    def _bridge(self, end: int) -> None:
        """Account for the leaves from the tree's end to ``end``."""
        while self.size < end and (kept := self._kept(end)):
            for leaf in kept:
                self._add(leaf)
        self._flush()
        for tombstone in self.tombstones:
            start = tombstone.first_seq - 1
            if not self.size <= start < end:
                continue
            self._skip(_Piece(self.size, start, None))
            named = _named(tombstone)
            self._skip(_Piece(start, tombstone.last_seq, None, named, is_deleted=True))
        self._skip(_Piece(self.size, max(end, self.size), None))

    def _skip(self, piece: _Piece) -> None:
        if piece.end > piece.start:
            self._pieces.append(piece)
            self._run = CompactRange(piece.end)

    def _kept(self, end: int) -> list[bytes]:
        count = min(_BLOCK_LEAVES, end - self.size)
        try:
            return [] if self.kept is None else self.kept.leaves(self.size, count)
        except (BadEvidence, OSError):
            return []

    def _roots(self, blank: int) -> dict[int, bytes]:
        """The roots where the first ``blank`` deletions came before the tree was begun."""
        found = {0: CompactRange().root()}
        whole, deletions = CompactRange(), 0
        for piece in self._pieces:
            if piece.known is not None:
                whole.extend(piece.known)
            else:
                deletions += piece.named is not None
                if piece.named is not None and deletions > blank:
                    whole.extend(piece.named)
                else:
                    within = [s for s in sorted(self.sizes) if piece.start < s < piece.end]
                    for size in (*within, piece.end):
                        whole.extend(CompactRange.uniform(whole.end, size, DELETED_LEAF))
                        found[size] = whole.root()
            if whole.end in self.sizes:
                found[whole.end] = whole.root()
        return found


def _named(tombstone: Tombstone) -> CompactRange | None:
    try:
        if tombstone.nodes:
            return CompactRange.of(tombstone.first_seq - 1, tombstone.last_seq, tombstone.nodes)
    except ValueError:  # not as many as the range has
        pass
    return None


def remaining_leaves(
    log: str, segments: Sequence[SegmentFile], limit: int
) -> Iterator[tuple[int, bytes]]:
    """Index and leaf of each line up to record ``limit``; index ``limit`` where there are more.

    A line that is no record takes the place that comes next; indices are left out where records are
    missing.
    """
    prefix, expected = log_prefix(log), 1
    for line in _lines(segments):
        if not line.startswith(b"%b%d," % (prefix, expected)):
            header = parse_header(line)
            if header is not None and header.log == log and header.seq > expected:
                expected = min(header.seq, limit + 1)
        if expected > limit:
            yield limit, b""
            return
        yield expected - 1, leaf_of(line.removesuffix(b"\n"))
        expected += 1


def _lines(segments: Sequence[SegmentFile]) -> Iterator[bytes]:
    for segment in segments:
        try:
            stream, path = open_any_form(segment)
            with stream:
                for _, line in iter_lines(stream, path=path):
                    if not line.endswith(b"\n") and segment is segments[-1]:
                        return  # the writer has not come to its end yet
                    yield line
        except (FileNotFoundError, LogDamaged):
            continue  # the verification of the chain says so; what is missing is a gap
