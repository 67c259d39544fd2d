"""Names alone tell what lacks between them."""

from __future__ import annotations

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from auditctl.survey.missing import Gap, gaps
from auditlog.format.segment_names import LogId, SegmentName

LOG = LogId("queen-rbee", "hive1")
FIRST = dt.date(2026, 11, 23)


def name(day: int, part: int) -> SegmentName:
    return SegmentName(LOG, FIRST + dt.timedelta(days=day), part)


# How many segments a log has on each of some days; a day without any is a day without events.
DAYS = st.lists(st.integers(0, 4), min_size=1, max_size=5).filter(any)


def made(days: list[int]) -> list[SegmentName]:
    return [name(day, part) for day, parts in enumerate(days) for part in range(1, parts + 1)]


@given(DAYS)
def test_whole(days: list[int]) -> None:
    names = made(days)
    assert gaps(names, names[-1]) == gaps(names, None) == []


@given(DAYS, st.data())
def test_each(days: list[int], data: st.DataObject) -> None:
    names = made(days)
    gone = data.draw(st.sets(st.sampled_from(names)))
    left = [one for one in names if one not in gone]
    shown = {
        name((gap.first.day - FIRST).days, part)
        for gap in gaps(left, names[-1])
        for part in range(gap.first.part, gap.last_part + 1)
    }
    newest_left = {one.day: one.part for one in left}
    before = {one for one in gone if one.part < newest_left.get(one.day, 0)}
    at_the_end = {one for one in gone if one.day == names[-1].day} if names[-1] in gone else set()
    assert shown == before | at_the_end


def test_proven() -> None:
    gap = Gap(name(0, 2), 3)
    names = {name(0, part).logical for part in (1, 2, 3)}
    assert gap.proven(names)
    assert not gap.proven(names - {name(0, 3).logical})
    assert not Gap(name(0, 2), 999_999_999).proven(names)
    assert (str(gap), str(Gap(name(0, 2), 2))) == (
        "parts 2 to 3 of 2026-11-23",
        "part 2 of 2026-11-23",
    )
