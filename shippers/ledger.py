"""Keep the sums over all lanes of a sink, brought up to date for one lane at a time.  Pure.

The delivery loop asks for them in every round.  A round that looked at every lane would make the
cost of a record grow with the number of files that are followed.

Invariants (tests of the same name in tests/shippers/test_ledger.py):
  sums       after any changes the ledger says what a look at all lanes says
  due        a lane is due once, when its wait ends, in the order of the ends
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from shippers.lane import AnyLane

__all__ = ["Ledger"]


class Ledger:
    """held_bytes   memory of what the lanes have read and not passed
    lingering    number of lanes that wait for more records
    """

    def __init__(self) -> None:
        self.held_bytes = 0
        self._held: dict[AnyLane, int] = {}
        self._dirty: set[AnyLane] = set()
        self._lingering: set[AnyLane] = set()
        self._waiting: dict[AnyLane, float] = {}
        self._ends: list[tuple[float, int, AnyLane]] = []  # a heap; some entries are outdated
        self._numbers = count()

    @property
    def lingering(self) -> int:
        return len(self._lingering)

    @property
    def dirty(self) -> bool:
        """Whether the position of a lane is not saved yet."""
        return bool(self._dirty)

    @property
    def holders(self) -> Collection[AnyLane]:
        """The lanes that hold memory."""
        return self._held.keys()

    def note(self, lane: AnyLane) -> None:
        """Bring the sums up to date after a change of the lane."""
        held = lane.held_bytes
        self.held_bytes += held - self._held.pop(lane, 0)
        if held:
            self._held[lane] = held
        if lane.dirty:
            self._dirty.add(lane)
        (self._lingering.add if lane.lingers else self._lingering.discard)(lane)
        end = lane.deadline
        if end is None:
            self._waiting.pop(lane, None)
        elif self._waiting.get(lane) != end:
            self._waiting[lane] = end
            heapq.heappush(self._ends, (end, next(self._numbers), lane))

    def saved(self) -> None:
        """Note that the positions of all lanes were saved."""
        self._dirty.clear()

    def next_deadline(self) -> float | None:
        """Return the end of the wait that ends first, in monotonic seconds; None without one."""
        while self._ends and self._waiting.get(self._ends[0][2]) != self._ends[0][0]:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def due(self, now: float) -> Iterator[AnyLane]:
        """Take the lanes whose wait is over."""
        while (end := self.next_deadline()) is not None and end <= now:
            _, _, lane = heapq.heappop(self._ends)
            del self._waiting[lane]
            yield lane
