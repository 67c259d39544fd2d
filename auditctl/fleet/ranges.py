"""Find the gaps and forks of one log by counting its records in ranges of seq.  Pure.

A range holds every record exactly once when the count of its records and the sum of their seq are
those of first, first + 1, … last.  A range that does not is split, so that a log of millions of
records takes a few dozen counts, not a read of all of them.

Invariants (tests of the same name in tests/auditctl/fleet/test_ranges.py):
  exact     the gaps and forks are those of the seqs that are there, whatever they are
  few       one changed record of n costs in the order of log(n) counts
  bounded   a log that is wrong throughout costs a bounded number of counts, and says so
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Irregularities", "RangeCount", "find_irregularities", "is_whole"]

_PARTS: Final = 16
_MAX_ROUNDS: Final = 200
_EXACT: Final = 1 << 53
"""Larger sums of seqs are rounded doubles in Elasticsearch, and are not compared."""


class RangeCount(NamedTuple):
    """The records of one range: how many there are, and the sum of their seq."""

    records: int
    seq_sum: int


@dataclass(frozen=True, slots=True)
class Irregularities:
    """``gaps`` are missing (first, last); ``forks`` are seqs that several records have.

    ``complete`` is false where the search was given up after a bounded number of counts.
    """

    gaps: tuple[tuple[int, int], ...] = ()
    forks: tuple[int, ...] = ()
    complete: bool = True


def is_whole(first: int, last: int, count: RangeCount) -> bool:
    """Whether a range holds each of its seqs once, as far as count and sum can tell."""
    records = last - first + 1
    seq_sum = records * (first + last) // 2
    return count.records == records and (seq_sum >= _EXACT or count.seq_sum == seq_sum)


def find_irregularities(
    first: int, last: int, ask: Callable[[Sequence[tuple[int, int]]], Sequence[RangeCount]]
) -> Irregularities:
    """Return the gaps and forks between two seqs; ``ask`` counts several ranges at once."""
    gaps: list[tuple[int, int]] = []
    forks: list[int] = []
    open_ranges = [(first, last)]
    for _ in range(_MAX_ROUNDS):
        if not open_ranges:
            break
        at, end = open_ranges.pop()
        parts = _split(at, end)
        left = []
        for part, count in zip(parts, ask(parts), strict=True):
            if count.records == 0:
                gaps.append(part)
            elif part[0] == part[1]:
                forks += [part[0]] if count.records > 1 else []
            elif not is_whole(*part, count):
                left.append(part)
        open_ranges += reversed(left)
    return Irregularities(_joined(gaps), tuple(sorted(forks)), complete=not open_ranges)


def _split(first: int, last: int) -> list[tuple[int, int]]:
    step = -(-(last - first + 1) // _PARTS)  # rounded up
    return [(at, min(at + step - 1, last)) for at in range(first, last + 1, step)]


def _joined(gaps: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    joined: list[tuple[int, int]] = []
    for first, last in sorted(gaps):
        if joined and joined[-1][1] + 1 == first:
            joined[-1] = (joined[-1][0], last)
        else:
            joined.append((first, last))
    return tuple(joined)
