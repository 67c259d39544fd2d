"""Whose turn it is to be read.  Pure.

There are two rows: lanes that are caught up and have something new, and lanes with a backlog.  The
rows take turns, and within a row each lane has its own; so what was just written goes beside any
backlog, however large and in however many lanes, and neither row can hold up the other.

Invariants (tests of the same name in tests/shippers/test_turns.py):
  everyone   a lane that waits is taken after at most as many turns as twice the others there are
  beside     a live lane never waits for more than one turn of a lane with a backlog
  once       a lane stands in one row, once
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shippers.lane import Lane

__all__ = ["Turns"]


class Turns:
    """The lanes that have something to do."""

    def __init__(self) -> None:
        self._live: deque[Lane] = deque()
        self._backlog: deque[Lane] = deque()
        self._live_was_last = False

    def __len__(self) -> int:
        return len(self._live) + len(self._backlog)

    def add(self, lane: Lane) -> None:
        """At the end of its row, unless it stands there."""
        if not lane.queued:
            lane.queued = True
            (self._live if lane.live else self._backlog).append(lane)

    def next(self) -> Lane:
        """Who is to be taken next.  Raises IndexError when nobody waits."""
        return self._row()[0]

    def take(self) -> Lane:
        """Let the next one have its turn.  Raises IndexError when nobody waits."""
        row = self._row()
        lane = row.popleft()
        self._live_was_last = row is self._live
        lane.queued = False
        return lane

    def _row(self) -> deque[Lane]:
        if not self._live or not self._backlog:
            return self._live or self._backlog
        return self._backlog if self._live_was_last else self._live
