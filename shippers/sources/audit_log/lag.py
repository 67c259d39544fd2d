"""Measure how far a position is behind the end of its log, from the files.

For metrics only, and so lenient: a file that cannot be read gives None, since shipping meets and
reports the same.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.errors import AuditLogError
from auditlog.format.record import MAX_RECORD_BYTES, parse_header, parse_timestamp
from auditlog.format.segment_names import SegmentName
from auditlog.reading.reader import bounds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.reading.inventory import SegmentFile
    from shippers.batch import Position

__all__ = ["newest_seq", "written_at"]


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
