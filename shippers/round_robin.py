"""Choose the lane to read next from two queues: up-to-date lanes and backlogs.  Pure.

The queues alternate, and within a queue each lane has its turn.  New records so pass any backlog,
however large and in however many lanes, and neither queue can hold up the other.

Invariants (tests of the same name in tests/shippers/test_round_robin.py):
  everyone   with n lanes queued, each is taken within 2n turns
  beside     a live lane never waits for more than one turn of a lane with a backlog
  once       a lane is queued once, in one queue
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shippers.lane import AnyLane

__all__ = ["RoundRobin"]


class RoundRobin:
    """The lanes that are ready."""

    def __init__(self) -> None:
        self._live: deque[AnyLane] = deque()
        self._backlog: deque[AnyLane] = deque()
        self._queued: set[AnyLane] = set()
        self._live_was_last = False

    def __len__(self) -> int:
        return len(self._queued)

    def add(self, lane: AnyLane) -> None:
        """Queue the lane, unless it is queued already."""
        if lane not in self._queued:
            self._queued.add(lane)
            (self._live if lane.live else self._backlog).append(lane)

    def next(self) -> AnyLane:
        """The lane that ``take`` would give.  Raises IndexError if none is queued."""
        return self._queue()[0]

    def take(self) -> AnyLane:
        """Remove and return the next lane.  Raises IndexError if none is queued."""
        queue = self._queue()
        lane = queue.popleft()
        self._live_was_last = queue is self._live
        self._queued.discard(lane)
        return lane

    def _queue(self) -> deque[AnyLane]:
        if not self._live or not self._backlog:
            return self._live or self._backlog
        return self._backlog if self._live_was_last else self._live
