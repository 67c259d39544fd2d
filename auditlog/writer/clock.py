"""Read the wall clock, and detect when it was stepped.

The boot clock also runs through suspend and cannot be set (clock_gettime(2), CLOCK_BOOTTIME): when
the difference between the two clocks changes, the wall clock was stepped.

Invariants (tests of the same name in tests/auditlog/writer/test_clock.py):
  noticed   a step of more than a second, in either direction, is reported once, with its size
  calm      time that passes, also in suspend, is not reported as a step
  usable    a reading that no record can have is refused, and never taken for a step
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from auditlog.errors import ClockUnusable
from auditlog.format.record import parse_timestamp

__all__ = ["SECOND_NS", "WallClock", "check_usable", "day_of", "to_ns", "unusable", "usable"]

SECOND_NS: Final = 1_000_000_000
_FIRST_NS: Final = -30_610_224_000 * SECOND_NS
"""The year 1000: a timestamp has four digits for the year."""
_END_NS: Final = 253_402_300_800 * SECOND_NS
"""The year 10000."""


class WallClock:
    """``read`` gives nanoseconds since the epoch; ``stepped`` how far the clock was moved.

    Raises ClockUnusable at first; later, ``read`` gives the last usable reading instead.
    """

    __slots__ = ("_offset", "_read", "last_ns")

    def __init__(self, read: Callable[[], int] = time.time_ns) -> None:
        self._read = read
        self.last_ns = usable(read)
        self._offset = self.last_ns - _boot_ns()

    def read(self) -> int:
        with suppress(ClockUnusable):
            self.last_ns = usable(self._read)
        return self.last_ns

    def stepped(self) -> int:
        """Nanoseconds the wall clock was stepped since last asked; 0 for less than a second."""
        try:
            offset = usable(self._read) - _boot_ns()
        except ClockUnusable:
            return 0
        step = offset - self._offset
        if abs(step) <= SECOND_NS:
            return 0
        self._offset = offset
        return step


def usable(read: Callable[[], int]) -> int:
    """Return the reading of the clock.  Raises ClockUnusable for a time no record can have."""
    try:
        now = read()
    except OverflowError as error:  # Python's own clock ends in 2262, with the 64th bit
        raise unusable() from error
    check_usable(now)
    return now


def check_usable(now_ns: int) -> None:
    """Raise ClockUnusable for a time that no record can have."""
    if not _FIRST_NS <= now_ns < _END_NS:
        raise unusable()


def unusable() -> ClockUnusable:
    return ClockUnusable(
        "the clock shows a time that no record can have",
        hint="Set the clock (timedatectl, date); then go on.",
    )


def day_of(ns: int) -> dt.date:
    """The UTC day of an instant.  Raises ClockUnusable."""
    check_usable(ns)
    return dt.datetime.fromtimestamp(ns // SECOND_NS, dt.UTC).date()


def to_ns(timestamp: str) -> int:
    """A record's timestamp in nanoseconds since the epoch."""
    at = parse_timestamp(timestamp)
    return int(at.replace(microsecond=0).timestamp()) * SECOND_NS + at.microsecond * 1000


def _boot_ns() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
