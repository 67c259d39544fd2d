"""When a log goes on in a new segment.  Pure.

Invariants (tests of the same name in tests/auditlog/writer/test_rotation.py):
  own_day          a record is in the segment of its own UTC day, unless the clock went back
  never_back       the day of a log's segments never goes backwards, and no name is used twice
  bounded_size     a segment of more than one record is at most max_segment_bytes long
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.format.segment_names import LogId, SegmentName

if TYPE_CHECKING:
    import datetime as dt

__all__ = ["first_segment", "next_segment"]


def first_segment(log: LogId, day: dt.date) -> SegmentName:
    return SegmentName(log, day, 1)


def next_segment(
    current: SegmentName,
    *,
    size: int,
    records: int,
    line_bytes: int,
    day: dt.date,
    max_segment_bytes: int,
) -> SegmentName | None:
    """The segment the next line has to go to, or None for the current one.

    ``size`` and ``records`` are the current segment's, ``day`` the UTC day of the new record.  A
    segment that holds only the record that opened it takes any line, however long.
    """
    if day > current.day:
        return SegmentName(current.log, day, 1)
    if records > 1 and size + line_bytes > max_segment_bytes:
        return following_part(current)
    return None


def following_part(current: SegmentName) -> SegmentName:
    """The next part of the same day."""
    return SegmentName(current.log, current.day, current.part + 1)
