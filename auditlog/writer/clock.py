"""Read the wall clock, and detect when it was stepped.

The boot clock also runs through suspend and cannot be set (clock_gettime(2), CLOCK_BOOTTIME): when
the difference between the two clocks changes, the wall clock was stepped.

Invariants (tests of the same name in tests/auditlog/writer/test_clock.py):
  noticed   a step of more than a second, in either direction, is reported once, with its size
  calm      time that passes, also in suspend, is not reported as a step
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from typing import Final

from auditlog.format.record import parse_timestamp

__all__ = ["SECOND_NS", "WallClock", "day_of", "to_ns"]

SECOND_NS: Final = 1_000_000_000


class WallClock:
    """``read`` gives nanoseconds since the epoch; ``stepped`` how far the clock was moved."""

    __slots__ = ("_offset", "_read", "last_ns")

    def __init__(self, read: Callable[[], int] = time.time_ns) -> None:
        self._read = read
        self.last_ns = read()
        self._offset = self.last_ns - _boot_ns()

    def read(self) -> int:
        self.last_ns = now = self._read()
        return now

    def stepped(self) -> int:
        """Nanoseconds the wall clock was stepped since last asked; 0 for less than a second."""
        offset = self._read() - _boot_ns()
        step = offset - self._offset
        if abs(step) <= SECOND_NS:
            return 0
        self._offset = offset
        return step


def day_of(ns: int) -> dt.date:
    """The UTC day of an instant."""
    return dt.datetime.fromtimestamp(ns // SECOND_NS, dt.UTC).date()


def to_ns(timestamp: str) -> int:
    """A record's timestamp in nanoseconds since the epoch."""
    at = parse_timestamp(timestamp)
    return int(at.replace(microsecond=0).timestamp()) * SECOND_NS + at.microsecond * 1000


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
