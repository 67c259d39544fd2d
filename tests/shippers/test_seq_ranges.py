from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from shippers.seq_ranges import MAX_RANGES, SeqRanges, with_seqs

batches = st.lists(st.lists(st.integers(1, 60)))


def added(given_batches: list[list[int]]) -> SeqRanges:
    ranges: SeqRanges = ()
    for seqs in given_batches:
        ranges = with_seqs(ranges, seqs)
    return ranges


@given(batches)
def test_contains(given_batches: list[list[int]]) -> None:
    """contains: every number that was added is in a range, and no other below the limit"""
    found = {seq for first, last in added(given_batches) for seq in range(first, last + 1)}
    assert found == {seq for seqs in given_batches for seq in seqs}


@given(batches)
def test_apart(given_batches: list[list[int]]) -> None:
    """apart: ranges are in order, and neither overlap nor touch"""
    ranges = added(given_batches)
    assert all(first <= last for first, last in ranges)
    assert all(one[1] + 1 < other[0] for one, other in pairwise(ranges))


def test_bounded() -> None:
    """bounded: beyond the limit the oldest become one, with what is between"""
    every = tuple((first, first + 1) for first in range(1, 3 * (MAX_RANGES + 2), 3))
    assert with_seqs(every[:1000], ()) == every[:1000]
    for excess in (1, 2):
        ranges = with_seqs(every[: 1000 + excess], ())
        assert len(ranges) == 1000
        assert ranges[:2] == ((1, every[excess][1]), every[excess + 1])
        assert with_seqs(ranges, [3]) == ranges
