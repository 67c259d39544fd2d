"""Define a batch: items read together, with the position after each.  Pure.

A position is whatever its source resumes from: a place in a log, in a file, or a journal cursor.

Invariant (test of the same name in tests/shippers/test_batch.py):
  position_after   the position is behind the counted items, and the batch's start for none
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from auditlog.format.record import GENESIS_HASH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shippers.item import Document, Item, Shipment
    from shippers.sources.audit_log.origin import LogOrigin

__all__ = ["Batch", "DocumentBatch", "HarvestAlarm", "Position", "RecordBatch"]

P = TypeVar("P")


class HarvestAlarm(NamedTuple):
    """A fault of the log itself, found while reading it; reading goes on.

    ``kind`` is one of verify's kinds, or cursor_mismatch, truncated, replaced, unfinished.
    """

    kind: str
    segment: str
    offset: int
    seq: int | None
    detail: str


@dataclass(slots=True, eq=False, kw_only=True)
class Batch(Generic[P]):
    """Items in reading order, behind ``start``.

    bad_lines   number of lines of an unexpected format; they are delivered as text
    cut_lines   number of lines that were too long; their beginning is delivered
    origin      the files of an audit log, to tell it from another host's of the same name
    """

    log: str
    start: P
    items: Sequence[Item]
    size_bytes: int = 0
    alarms: list[HarvestAlarm] = field(default_factory=list)
    bad_lines: int = 0
    cut_lines: int = 0
    origin: LogOrigin | None = None

    def __len__(self) -> int:
        return len(self.items)

    def position_after(self, count: int) -> P:
        """Return the position behind the first ``count`` items."""
        raise NotImplementedError

    def place_of(self, index: int) -> tuple[str, int]:
        """Return segment and offset of an item; ("", 0) where the source has no segments."""
        raise NotImplementedError


@dataclass(slots=True, eq=False, kw_only=True)
class DocumentBatch(Batch[P]):
    """Documents; ``positions`` holds the position behind each."""

    items: list[Document] = field(default_factory=list)
    positions: list[P] = field(default_factory=list)

    def position_after(self, count: int) -> P:
        return self.positions[count - 1] if count else self.start

    def place_of(self, index: int) -> tuple[str, int]:  # noqa: ARG002  (only logs have segments)
        return "", 0


class Position(NamedTuple):
    """A place in an audit log: everything before byte ``offset`` of the segment was read.

    segment   logical name; ``offset`` counts uncompressed bytes
    seq, hash of the last record before the place; 0 and zeros if there is none
    gaps      sequence numbers before the place that the files did not have: (first, last) of each
    """

    segment: str = ""
    offset: int = 0
    seq: int = 0
    hash: str = GENESIS_HASH
    gaps: tuple[tuple[int, int], ...] = ()


@dataclass(slots=True, eq=False, kw_only=True)
class RecordBatch(Batch[Position]):
    """Lines of one segment; ``ends`` are the offsets behind them, ``gaps`` those at the end."""

    items: list[Shipment]
    segment: str
    ends: list[int]
    gaps: tuple[tuple[int, int], ...] = ()

    def position_after(self, count: int) -> Position:
        if count == 0:
            return self.start
        for index in range(count - 1, -1, -1):
            header = self.items[index].header
            if header is not None:
                gaps = tuple(gap for gap in self.gaps if gap[0] <= header.seq)
                return Position(self.segment, self.ends[count - 1], header.seq, header.hash, gaps)
        return self.start._replace(segment=self.segment, offset=self.ends[count - 1])

    def place_of(self, index: int) -> tuple[str, int]:
        return self.segment, self.ends[index - 1] if index else self.start.offset
