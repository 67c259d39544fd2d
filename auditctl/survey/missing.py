"""Find missing segments of a log by their names.  Pure.

The parts of a day follow each other from 1, and the writer notes its newest segment; so names alone
show a part that was removed, and a newest one.  A whole day that is gone is found by verify, which
reads the chain.

Invariants (tests of the same name in tests/auditctl/survey/test_missing.py):
  whole    of the segments a writer made, none is missing
  each     every part that is taken away before the newest of its day is missing
  proven   what a tombstone names is not missing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditlog.format.segment_names import SegmentName

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["Gap", "gaps"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Segments of one day that are not there: from the part of ``first`` to ``last_part``."""

    first: SegmentName
    last_part: int

    def __str__(self) -> str:
        one = self.first.part == self.last_part
        parts = f"part {self.last_part}" if one else f"parts {self.first.part} to {self.last_part}"
        return f"{parts} of {self.first.day.isoformat()}"

    def proven(self, deleted: Collection[str]) -> bool:
        """Whether tombstones account for each of them, by logical name."""
        log, day = self.first.log, self.first.day
        parts = range(self.first.part, self.last_part + 1)
        return all(SegmentName(log, day, part).logical in deleted for part in parts)


def gaps(names: Sequence[SegmentName], head: SegmentName | None) -> list[Gap]:
    """The gaps between the names, which are in order; ``head`` is the newest name ever noted."""
    found = []
    before: SegmentName | None = None
    for name in names:
        expected = _following(before, name)
        if name.part > expected.part:
            found.append(Gap(expected, name.part - 1))
        before = name
    if head is not None and (before is None or (head.day, head.part) > (before.day, before.part)):
        found.append(Gap(_following(before, head), head.part))
    return found


def _following(before: SegmentName | None, name: SegmentName) -> SegmentName:
    """The name behind ``before`` on the day of ``name``."""
    part = before.part + 1 if before is not None and before.day == name.day else 1
    return SegmentName(name.log, name.day, part)
