"""Merge sequence numbers into ranges, with bounded memory.  Pure.

Invariants (tests of the same name in tests/shippers/test_seq_ranges.py):
  contains   every number that was added is in a range, also beyond the limit
  apart      ranges are in order, and neither overlap nor touch
  bounded    there are at most MAX_RANGES; beyond it the oldest two become one, with what is between
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["MAX_RANGES", "SeqRanges", "with_seqs"]

SeqRanges = tuple[tuple[int, int], ...]
"""First and last number of each."""

MAX_RANGES: Final = 1000


def with_seqs(ranges: SeqRanges, seqs: Iterable[int]) -> SeqRanges:
    """Return the ranges with these numbers in them."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted((*ranges, *((seq, seq) for seq in seqs))):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    if (excess := len(merged) - MAX_RANGES) > 0:
        merged[: excess + 1] = [(merged[0][0], merged[excess][1])]
    return tuple(merged)
