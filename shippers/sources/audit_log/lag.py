"""Measure how far a position is behind the end of its log, and how old that is, from the files.

For metrics only, and so lenient: a file that cannot be read gives None, since shipping meets and
reports the same.
"""

from __future__ import annotations

import datetime as dt
import os
from collections import deque
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import AuditLogError
from auditlog.format.record import MAX_RECORD_BYTES, parse_header, parse_timestamp
from auditlog.format.segment_names import SegmentName
from auditlog.reading.reader import bounds, iter_lines, open_any_form

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.format.record import Header
    from auditlog.reading.inventory import SegmentFile
    from shippers.batch import Position

__all__ = ["LastRecord", "newest_seq", "written_at"]

_TAIL_BYTES: Final = 4096
_ENDED: Final = frozenset({"log.closed", "log.succeeded"})


def newest_seq(segments: Sequence[SegmentFile]) -> int | None:
    """The number of the log's newest record."""
    if not segments:
        return None
    try:
        newest = bounds(segments[-1])
    except (AuditLogError, OSError):
        return None
    return None if newest is None else newest.last_seq


def written_at(segments: Sequence[SegmentFile], position: Position) -> dt.datetime | None:
    """When the first record behind the position was written; None when there is none.

    Compressed segments are not unpacked for it: theirs is the beginning of their day.
    """
    name = SegmentName.parse(position.segment) if position.segment else None
    for segment in segments:
        if name is not None and segment.name < name:
            continue
        offset = position.offset if segment.name.logical == position.segment else 0
        if segment.name.compression:
            if not offset:  # else it has been begun, and how much of it is left is not known
                return dt.datetime.combine(segment.name.day, dt.time(), dt.UTC)
        elif (line := _line_at(segment, offset)) is not None:
            header = parse_header(line)
            return None if header is None else parse_timestamp(header.timestamp)
    return None


class LastRecord:
    """The newest record of one log, read again only when the newest segment has changed.

    ``at`` is its time, None before there is one; ``is_open`` whether the log was left without
    being closed: a writer has it open, or was killed.
    """

    def __init__(self) -> None:
        self.at: dt.datetime | None = None
        self.is_open = False
        self._read: tuple[str, int] | None = None

    def look(self, segments: Sequence[SegmentFile]) -> None:
        """Read the end of the newest segment that has a record, unless it is as it was."""
        for segment in reversed(segments):
            try:
                state = segment.path.name, segment.path.stat().st_size
                if state == self._read:
                    return
                last = _last_header(segment)
            except (AuditLogError, OSError):
                return  # as above: shipping reports it
            if last is not None:
                self._read = state
                self.at, self.is_open = (
                    parse_timestamp(last.timestamp),
                    last.event_type not in _ENDED,
                )
                return


def _last_header(segment: SegmentFile) -> Header | None:
    """The last whole record of a segment.  Raises OSError, AuditLogError."""
    if segment.name.compression:
        stream, path = open_any_form(segment)
        with stream:
            (line,) = deque((line for _, line in iter_lines(stream, 0, path=path)), 1) or (b"",)
        return parse_header(line)
    fd = durable_fs.open_read(segment.path)
    try:
        size = os.fstat(fd).st_size
        for step in (_TAIL_BYTES, 2 * MAX_RECORD_BYTES + 2):  # nearly always the first will do
            start = max(0, size - step)
            whole, _, _ = os.pread(fd, size - start, start).rpartition(b"\n")
            line = whole[whole.rfind(b"\n") + 1 :] + b"\n"
            if (header := parse_header(line)) is not None:
                return header
    finally:
        os.close(fd)
    return None


def _line_at(segment: SegmentFile, offset: int) -> bytes | None:
    """The whole line at the offset; None at the end of what there is."""
    try:
        fd = durable_fs.open_read(segment.path)
    except OSError:
        return None
    try:
        line, lf, _ = os.pread(fd, MAX_RECORD_BYTES + 1, offset).partition(b"\n")
    except OSError:
        return None
    finally:
        os.close(fd)
    return line + lf if lf else None
