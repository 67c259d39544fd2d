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


def shown(names: list[SegmentName], head: SegmentName | None) -> list[tuple[dt.date, int, int]]:
    return [(gap.first.day, gap.first.part, gap.last_part) for gap in gaps(names, head)]


def test_each_part_before_another_of_its_day() -> None:
    tomorrow = FIRST + dt.timedelta(days=1)
    assert shown([name(0, 1), name(0, 4)], None) == [(FIRST, 2, 3)]
    assert shown([name(0, 3)], None) == [(FIRST, 1, 2)]
    assert shown([name(0, 2), name(1, 3)], None) == [(FIRST, 1, 1), (tomorrow, 1, 2)]


def test_each_part_up_to_the_newest_that_was_noted() -> None:
    tomorrow = FIRST + dt.timedelta(days=1)
    there = [name(0, 1), name(0, 2)]
    assert shown(there, name(0, 1)) == shown(there, name(0, 2)) == []
    assert shown(there, name(0, 4)) == [(FIRST, 3, 4)]
    assert shown(there, name(1, 2)) == [(tomorrow, 1, 2)]
    assert shown([], name(0, 2)) == [(FIRST, 1, 2)]


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
