"""Search directories of segments, plain and compressed, in time order.

Segments are read day by day, since a record lies in the segment of its day: what is outside the
range is not opened, and newest first needs no more than the newest days.  Within a day the logs
are merged by time.  A log's own records keep the order of their numbers; only where a clock was
set back within a day do the two orders differ, and then the numbers are believed.

Invariants (tests of the same name in tests/auditlog/query/test_files.py):
  naive      the answers are those of a loop over all lines, in all three forms, in both directions
  skipped    a segment of another day, or of a log that was not asked for, is not opened
  early      an answer comes before the rest of the day is read
  told       a line that cannot be read as a record is told and stepped over
"""

from __future__ import annotations

import heapq
import os
from collections import defaultdict
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.errors import LogDamaged
from auditlog.format.record import Record, parse_header
from auditlog.query.lines import (
    BLOCK_BYTES,
    backward,
    forward,
    last_block,
    turned_round,
)
from auditlog.query.needles import needles
from auditlog.query.predicate import predicate
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import open_any_form

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from auditlog.format.segment_names import LogId, SegmentName
    from auditlog.query.lines import Block
    from auditlog.query.needles import Needles
    from auditlog.query.predicate import Predicate
    from auditlog.query.scope import SearchScope
    from auditlog.query.syntax import Query

__all__ = ["Ends", "FileSearch", "Trouble"]

if TYPE_CHECKING:
    Trouble = Callable[[str, int, str], None]
    """Receives the segment, the offset and a description of the damage."""
    Ends = Mapping[LogId, tuple[SegmentName, int]]
    """The end of reading in each log: a byte of a segment; logs without an end are left out."""

_SortKey = tuple[str, str, int]
# How far one log was read, and the record there when it matches.
_Step = tuple[_SortKey, Record | None]
_ALL_BLOCKS_BYTES: Final = 32 << 20  # shared by all logs that are read at the same time


@dataclass(frozen=True, slots=True)
class FileSearch:
    """Directories of logs.  ``ends`` bounds the reading, as Follower.positions does."""

    directories: Sequence[Path]
    trouble: Trouble
    ends: Ends | None = None

    def records(
        self, query: Query, scope: SearchScope, *, reverse: bool = False
    ) -> Iterator[Record]:
        """The matches, oldest first, or newest first.  Raises OSError."""
        days: dict[dt.date, dict[tuple[Path, LogId], list[SegmentFile]]] = {}
        newest: set[SegmentFile] = set()
        for directory in self.directories:
            for log, segments in scan(directory).logs.items():
                if not scope.has_log(str(log)) or (self.ends is not None and log not in self.ends):
                    continue
                newest.add(segments[-1])
                for segment in segments:
                    if scope.has_day(segment.name.day):
                        logs = days.setdefault(segment.name.day, defaultdict(list))
                        logs[directory, log].append(segment)
        for day in sorted(days, reverse=reverse):
            block_bytes = min(BLOCK_BYTES, _ALL_BLOCKS_BYTES // len(days[day]))
            criteria = _Criteria(
                predicate(query), needles(query), scope.since, scope.until, reverse, block_bytes
            )
            streams = [
                self._log(segments[::-1] if reverse else segments, criteria, newest)
                for segments in days[day].values()
            ]
            if len(streams) == 1:
                steps = streams[0]
            else:
                steps = heapq.merge(*streams, key=lambda step: step[0], reverse=reverse)
            for _, record in steps:
                if record is not None:
                    yield record

    def _log(
        self, segments: Sequence[SegmentFile], criteria: _Criteria, newest: set[SegmentFile]
    ) -> Iterator[_Step]:
        """One log's day.  Steps without a match come between matches, so that no log runs ahead."""
        for segment in segments:
            end = None
            if self.ends is not None:
                last, offset = self.ends[segment.name.log]
                if segment.name > last:
                    continue
                end = offset if segment.name == last else None
            tell = self._teller(segment, may_be_torn=segment in newest)
            try:
                yield from _segment(segment, criteria, end, tell)
            except LogDamaged as error:
                self.trouble(segment.name.logical, error.offset or 0, error.reason)

    def _teller(self, segment: SegmentFile, *, may_be_torn: bool) -> Callable[[int, bytes], None]:
        def tell(offset: int, line: bytes) -> None:
            torn = may_be_torn and line and not line.endswith(b"\n")
            if not torn:  # else it is being written, or what a crash left
                self.trouble(segment.name.logical, offset, "the line is not a record")

        return tell


@dataclass(frozen=True, slots=True)
class _Criteria:
    """The criteria of a search, the same in every segment of a day."""

    holds: Predicate
    needles: Needles
    since: str
    until: str
    reverse: bool
    block_bytes: int

    def answers(
        self, lines: list[tuple[int, bytes]], tell: Callable[[int, bytes], None]
    ) -> Iterator[Record]:
        since, until, holds = self.since, self.until, self.holds
        for offset, line in lines:
            header = parse_header(line)
            if header is None:
                tell(offset, line)
            elif since <= header.timestamp < until:
                record = Record(line, header)
                try:
                    if holds(record):
                        yield record
                except LogDamaged:
                    tell(offset, line)


def _segment(
    segment: SegmentFile, criteria: _Criteria, end: int | None, tell: Callable[[int, bytes], None]
) -> Iterator[_Step]:
    try:
        for block in _blocks(segment, criteria, end):
            for record in criteria.answers(block.lines, tell):
                yield _key(record), record
            edge = parse_header(block.edge)
            if edge is not None:
                yield (edge.timestamp, edge.log, edge.seq), None
    except FileNotFoundError:
        return  # deleted by retention since it was listed


def _blocks(segment: SegmentFile, criteria: _Criteria, end: int | None) -> Iterator[Block]:
    """Raises FileNotFoundError, LogDamaged where compressed bytes are not whole, OSError."""
    stream, path = open_any_form(segment)
    size = criteria.block_bytes
    with stream:
        if not criteria.reverse:
            yield from forward(stream, criteria.needles, path=path, end=end, block_bytes=size)
            return
        if path.name == segment.name.logical:
            fd = stream.fileno()
            length = os.fstat(fd).st_size
            end = length if end is None else min(end, length)
            yield from backward(fd, end, criteria.needles, block_bytes=size)
            return
        if not criteria.needles:
            # Most often a few of the newest are asked for; what is before them is read when wanted.
            with suppress(LogDamaged):  # met again, and reported behind the readable part
                block, end = last_block(stream, path=path, end=end, block_bytes=size)
                yield block
    stream, path = open_any_form(segment)
    with stream:
        yield from turned_round(
            forward(stream, criteria.needles, path=path, end=end, block_bytes=size)
        )


def _key(record: Record) -> _SortKey:
    return record.header.timestamp, record.log, record.seq
