from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditctl.fleet.ranges import Irregularities, RangeCount, find_irregularities, is_whole

if TYPE_CHECKING:
    from collections.abc import Sequence


class Log:
    """The seqs of a log, counted as a sink does it."""

    def __init__(self, seqs: Sequence[int]) -> None:
        self.seqs = Counter(seqs)
        self.sorted = sorted(seqs)
        self.asked = 0

    def ask(self, ranges: Sequence[tuple[int, int]]) -> list[RangeCount]:
        self.asked += 1
        found = []
        for first, last in ranges:
            begin, end = bisect_left(self.sorted, first), bisect_right(self.sorted, last)
            here = self.sorted[begin:end]
            found.append(RangeCount(len(here), sum(here)))
        return found

    def search(self) -> Irregularities:
        return find_irregularities(min(self.seqs), max(self.seqs), self.ask)


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_exact(seqs: list[int]) -> None:
    log = Log(seqs)
    found = log.search()
    missing = {seq for first, last in found.gaps for seq in range(first, last + 1)}
    assert missing == set(range(min(seqs), max(seqs) + 1)) - set(seqs)
    assert list(found.forks) == sorted(seq for seq, count in log.seqs.items() if count > 1)
    assert found.complete
    assert all(a[1] + 1 < b[0] for a, b in zip(found.gaps, found.gaps[1:], strict=False))


def test_few() -> None:
    seqs = list(range(1, 100_001))
    seqs.remove(71_234)
    log = Log(seqs)
    assert log.search() == Irregularities(gaps=((71_234, 71_234),))
    assert log.asked <= 5


def test_a_gap_and_a_fork_do_not_hide_each_other() -> None:
    """The count is that of a whole log; the sum is not."""
    seqs = [1, 2, 2, 4, 5]
    assert not is_whole(1, 5, RangeCount(len(seqs), sum(seqs)))
    assert Log(seqs).search() == Irregularities(gaps=((3, 3),), forks=(2,))


def test_bounded() -> None:
    log = Log(range(1, 200_001, 2))
    found = log.search()
    assert not found.complete
    assert log.asked == 200
    assert found.gaps


def test_a_sum_that_is_no_exact_double_is_not_compared() -> None:
    first, last = 1, 1 << 28
    assert is_whole(first, last, RangeCount(1 << 28, 0))
    assert not is_whole(first, last, RangeCount((1 << 28) - 1, 0))


@pytest.mark.parametrize(("records", "size"), [(1, 1), (16, 1), (17, 2), (32, 2), (33, 3)])
def test_a_range_is_counted_in_at_most_sixteen_parts(records: int, size: int) -> None:
    asked = []

    def ask(ranges: Sequence[tuple[int, int]]) -> list[RangeCount]:
        asked.extend(ranges)
        return Log(range(1, records + 1)).ask(ranges)

    assert find_irregularities(1, records, ask) == Irregularities()
    begins = range(1, records + 1, size)
    assert asked == [(begin, min(begin + size - 1, records)) for begin in begins]
    assert len(asked) <= 16


def test_sums_are_compared_below_two_to_the_power_of_53() -> None:
    last = (1 << 53) - 1
    assert not is_whole(last, last, RangeCount(1, last - 1))
    assert is_whole(last + 1, last + 1, RangeCount(1, last))


def test_an_answer_for_fewer_ranges_than_were_asked_for_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        find_irregularities(1, 20, lambda ranges: Log(range(1, 21)).ask(ranges[1:]))
