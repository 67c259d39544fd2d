"""Decide when a log records that it is alive, and with which counts.  Pure, but for ``counts``.

A heartbeat is a chained record like any other, so that silence is a fact: a log that is open and
has no record for longer than its interval is not idle, but stuck, killed or cut off.

Invariants (tests of the same name in tests/auditlog/writer/test_heartbeat.py):
  regular    one heartbeat an interval, with or without events; after a stall one, not several
  counted    a heartbeat counts the records between it and the one before
  skipped    a heartbeat for which the disk has no room is left out, and counted in the next one
"""

from __future__ import annotations

import datetime as dt
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from auditlog.errors import InvalidOption

__all__ = ["HeartbeatSchedule", "Heartbeats"]

_SHORTEST_SECONDS: Final = 1.0
"""The commit thread looks once a second."""

_logger = logging.getLogger("auditlog")


def _no_counts() -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True)
class Heartbeats:
    """How often a log records that it is alive, and which figures it adds.

    ``every``    the interval; 0: never
    ``counts``   called for each heartbeat, on the log's own thread; must return soon.  One that
                 raises is reported to the logger "auditlog", and the heartbeat has no such figures

    Raises InvalidOption.
    """

    every: dt.timedelta = dt.timedelta(minutes=5)
    counts: Callable[[], Mapping[str, int]] = _no_counts

    def __post_init__(self) -> None:
        seconds = self.every.total_seconds()
        if seconds and seconds < _SHORTEST_SECONDS:
            raise InvalidOption(f"heartbeat must be a second or more, or 0 for none: {seconds}")

    @classmethod
    def each(cls, every: dt.timedelta | float | None) -> Heartbeats:
        """Return the option for an interval, in seconds unless it is a timedelta; None is 0."""
        if not isinstance(every, dt.timedelta):
            every = dt.timedelta(seconds=every or 0)
        return cls(every)

    def figures(self) -> Mapping[str, int]:
        """Return what ``counts`` returns, with whole numbers only."""
        try:
            return {str(name): int(figure) for name, figure in self.counts().items()}
        except Exception:  # of the caller's; it must not end the thread that writes its events
            _logger.exception("the counts of a heartbeat cannot be had")
            return {}


class HeartbeatSchedule:
    """When the next heartbeat of one open log is due; ``now`` is in monotonic seconds."""

    __slots__ = ("_due_at", "_every", "_refused", "_seq", "_skipped")

    def __init__(self, every: dt.timedelta, now: float, *, seq: int, refused: int) -> None:
        self._every = every.total_seconds()
        self._due_at = now + self._every
        self._seq = seq
        self._refused = refused
        self._skipped = 0

    def due(self, now: float) -> bool:
        return self._every > 0 and self._due_at <= now

    def skip(self, now: float) -> None:
        """Leave out the one that is due."""
        self._due_at = now + self._every
        self._skipped += 1

    def details(self, *, seq: int, refused: int) -> dict[str, Any]:
        """Return the details of the one that is due; ``seq`` is that of the record before it.

        ``records`` and ``refused`` count since the heartbeat before, or since the log was opened.
        A segment that the heartbeat itself opens is not counted.
        """
        return {
            "interval_seconds": self._every,
            "records": seq - self._seq,
            "refused": refused - self._refused,
            "skipped": self._skipped,
        }

    def beaten(self, now: float, *, seq: int, refused: int) -> None:
        """Count from the heartbeat that was recorded as ``seq``."""
        self._due_at = now + self._every
        self._seq, self._refused, self._skipped = seq, refused, 0
