"""When a log goes on in a new segment."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from auditlog.format.segment_names import LogId, SegmentName
from auditlog.writer.rotation import first_segment, following_part, next_segment

LOG = LogId("queen-rbee", "hive1")
DAY = dt.date(2026, 11, 23)
MAX_BYTES = 1000

arrivals = st.lists(st.tuples(st.integers(-2, 3), st.integers(1, 1500)), min_size=1, max_size=60)


def written(arriving: list[tuple[int, int]]) -> list[tuple[SegmentName, list[tuple[dt.date, int]]]]:
    """Put lines of (day, bytes) where rotation says; every segment begins with one of 100 bytes."""
    current = first_segment(LOG, DAY)
    segments: list[tuple[SegmentName, list[tuple[dt.date, int]]]] = [(current, [(DAY, 100)])]
    day = DAY
    for step, size in arriving:
        day += dt.timedelta(days=step)
        lines = segments[-1][1]
        following = next_segment(
            current,
            size=sum(line_bytes for _, line_bytes in lines),
            records=len(lines),
            line_bytes=size,
            day=day,
            max_segment_bytes=MAX_BYTES,
        )
        if following is not None:
            current = following
            segments.append((current, [(day, 100)]))
        segments[-1][1].append((day, size))
    return segments


@given(arrivals)
def test_own_day(arriving: list[tuple[int, int]]) -> None:
    for name, lines in written(arriving):
        assert all(day <= name.day for day, _ in lines), "only a clock that went back is earlier"


@given(arrivals)
def test_never_back(arriving: list[tuple[int, int]]) -> None:
    names = [name for name, _ in written(arriving)]
    assert names == sorted(set(names))


@given(arrivals)
def test_bounded_size(arriving: list[tuple[int, int]]) -> None:
    for _, lines in written(arriving):
        if len(lines) > 2:
            assert sum(size for _, size in lines) <= MAX_BYTES


def test_a_line_that_just_fits_does_not_rotate() -> None:
    current = first_segment(LOG, DAY)
    for line_bytes, expected in ((100, None), (101, following_part(current))):
        got = next_segment(
            current, size=900, records=2, line_bytes=line_bytes, day=DAY, max_segment_bytes=1000
        )
        assert got == expected


def test_a_new_day_begins_with_part_one() -> None:
    current = SegmentName(LOG, DAY, 7)
    tomorrow = DAY + dt.timedelta(days=1)
    got = next_segment(
        current, size=1, records=1, line_bytes=1, day=tomorrow, max_segment_bytes=1000
    )
    assert got == SegmentName(LOG, tomorrow, 1)
