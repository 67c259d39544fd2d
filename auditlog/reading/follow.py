"""Read the newest records of logs, and follow new ones across rotation.

For display, not for shipping: a line that is not a record is reported and skipped, and the chain
between records is not checked.

Invariants (tests of the same name in tests/auditlog/reading/test_follow.py):
  newest       the last n records over all logs, in the order of their timestamps
  seamless     a later record is returned exactly once, through rotation and compression
  whole        a line is not returned before its LF is written
  shown        what is not to be shown is not counted among the newest, and never returned
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from auditlog.format.record import Header, Record, parse_header
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import iter_lines, open_any_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from auditlog.format.segment_names import LogId, SegmentName

__all__ = ["Follower"]

_STEP_BYTES: Final = 1 << 16


@dataclass(slots=True)
class Follower:
    """Follows the logs of several directories.

    ``damaged`` is called with segment and offset of each line that is not a record; ``wanted``
    chooses logs by id, ``shown`` records by their header.
    """

    directories: Sequence[Path]
    damaged: Callable[[str, int], None]
    wanted: Callable[[str], bool] = lambda _log: True
    shown: Callable[[Header], bool] = lambda _header: True
    _positions: dict[LogId, tuple[SegmentName, int]] = field(default_factory=dict)

    @property
    def positions(self) -> Mapping[LogId, tuple[SegmentName, int]]:
        """For each log the segment, and the offset in it, up to which it was read."""
        return dict(self._positions)

    def newest(self, count: int) -> list[Record]:
        """The last ``count`` records, oldest first.  Raises OSError, LogDamaged."""
        candidates: list[list[Record]] = []
        for log, segments in self._logs():
            found: list[tuple[int, bytes, SegmentFile]] = []
            needed = count
            for segment in reversed(segments):
                lines = self._last_shown(segment, needed)
                if segment is segments[-1]:
                    self._positions[log] = (segment.name, self._end(segment, lines))
                found = [(offset, line, segment) for offset, line in lines] + found
                needed -= self._number_shown(lines)
                if needed <= 0:
                    break
            candidates.append([*self._records(found)])
        merged = heapq.merge(*candidates, key=_order)
        return list(deque(merged, maxlen=count)) if count else []

    def _last_shown(self, segment: SegmentFile, count: int) -> list[tuple[int, bytes]]:
        """The last lines of a segment, from the one on with which ``count`` are shown."""
        asked = count
        while True:
            lines = _last_lines(segment, asked)
            if len(lines) < asked or self._number_shown(lines) >= count:
                return lines
            asked *= 4

    def _number_shown(self, lines: list[tuple[int, bytes]]) -> int:
        headers = (parse_header(line) for _, line in lines)
        return sum(header is None or self.shown(header) for header in headers)

    def poll(self) -> list[Record]:
        """The records written since newest or the last poll.  Raises OSError, LogDamaged."""
        fresh: list[list[Record]] = []
        for log, segments in self._logs():
            found: list[tuple[int, bytes, SegmentFile]] = []
            for segment in segments:
                name, offset = self._positions.get(log, (segment.name, 0))
                if segment.name < name:
                    continue
                if segment.name > name:
                    offset = 0
                elif "" in segment.forms and segment.size_bytes <= offset:
                    continue
                for at, line in _lines_from(segment, offset):
                    if line.endswith(b"\n"):
                        found.append((at, line, segment))
                        offset = at + len(line)
                self._positions[log] = (segment.name, offset)
            fresh.append([*self._records(found)])
        return list(heapq.merge(*fresh, key=_order))

    def _logs(self) -> Iterator[tuple[LogId, tuple[SegmentFile, ...]]]:
        for directory in self.directories:
            for log, segments in scan(directory).logs.items():
                if self.wanted(str(log)):
                    yield log, segments

    def _records(self, lines: Iterable[tuple[int, bytes, SegmentFile]]) -> Iterator[Record]:
        for offset, line, segment in lines:
            header = parse_header(line)
            if header is None:
                self.damaged(segment.name.logical, offset)
            elif self.shown(header):
                yield Record(line, header)

    def _end(self, segment: SegmentFile, lines: list[tuple[int, bytes]]) -> int:
        """The byte after the segment's last whole line; without lines asked for, from its tail."""
        lines = lines or _last_lines(segment, 1)
        return lines[-1][0] + len(lines[-1][1]) if lines else 0


def _order(record: Record) -> tuple[str, str, int]:
    return record.header.timestamp, record.log, record.seq


def _lines_from(segment: SegmentFile, offset: int) -> Iterator[tuple[int, bytes]]:
    try:
        stream, path = open_any_form(segment)
    except FileNotFoundError:
        return  # deleted by retention since it was listed
    with stream:
        if path.name == segment.name.logical:
            stream.seek(offset)
        else:
            left = offset
            while left and (chunk := stream.read(min(left, _STEP_BYTES))):
                left -= len(chunk)
        yield from iter_lines(stream, offset, path=path)


def _last_lines(segment: SegmentFile, count: int) -> list[tuple[int, bytes]]:
    """The last whole lines of a segment; of a plain one only the end is read."""
    if count <= 0:
        return []
    if "" not in segment.forms:
        return list(deque(_lines_from(segment, 0), maxlen=count))
    step = _STEP_BYTES
    while True:
        begin = max(0, segment.size_bytes - step)
        lines = [found for found in _lines_from(segment, begin) if found[1].endswith(b"\n")]
        lines = lines[1:] if begin else lines  # the first one began before
        if len(lines) >= count or begin == 0:
            return lines[-count:]
        step *= 4
