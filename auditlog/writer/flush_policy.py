"""Decide when emit waits for an event, and when to commit.  Pure.

    immediate   emit returns when the record is durable (default)
    batched     emit returns at once; a timer, a count and a size bound how long durability takes
    hybrid      critical events and durable=True as immediate, the rest as batched
    disabled    nothing is written at all

Invariants (tests of the same name in tests/auditlog/writer/test_flush_policy.py):
  bounded_delay   nothing stays queued longer than max_delay
  at_once         immediate waits for every event, hybrid for critical and durable ones
"""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass
from typing import Final, Literal

from auditlog.errors import InvalidOption

__all__ = ["MAX_COMMIT_BYTES", "FlushPolicy", "Mode"]

Mode = Literal["immediate", "batched", "hybrid", "disabled"]

MAX_COMMIT_BYTES: Final = 1 << 20
"""Maximum bytes of one write and fdatasync, and so of a tail torn by a crash."""

_MODES: Final = ("immediate", "batched", "hybrid", "disabled")


@dataclass(frozen=True, slots=True)
class FlushPolicy:
    """Delays and sizes after which a queued record becomes durable.

    ``max_delay`` from the first record queued; ``max_events`` and ``max_bytes`` start a commit
    before that.  They matter to batched and hybrid only.  Raises InvalidOption.

    >>> FlushPolicy.batched(max_delay=0.5).mode
    'batched'
    """

    mode: Mode = "immediate"
    max_delay: dt.timedelta = dt.timedelta(milliseconds=100)
    max_events: int = 1000
    max_bytes: int = MAX_COMMIT_BYTES // 2

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise InvalidOption(f"flush {self.mode!r} is none of {', '.join(_MODES)}")
        if self.max_delay <= dt.timedelta(0):
            raise InvalidOption("max_delay must be above zero; flush='immediate' has no delay")
        if self.max_events < 1 or not 1 <= self.max_bytes <= MAX_COMMIT_BYTES:
            raise InvalidOption(f"max_events must be 1 or more, max_bytes 1 to {MAX_COMMIT_BYTES}")

    @classmethod
    def named(cls, mode: str) -> FlushPolicy:
        """The policy of that mode with its defaults.  Raises InvalidOption."""
        return cls(mode)  # type: ignore[arg-type]  # __post_init__ refuses any other

    @classmethod
    def batched(
        cls,
        *,
        max_delay: dt.timedelta | float = 0.1,
        max_events: int = 1000,
        max_bytes: int = MAX_COMMIT_BYTES // 2,
    ) -> FlushPolicy:
        return cls("batched", _duration(max_delay), max_events, max_bytes)

    @classmethod
    def hybrid(
        cls,
        *,
        max_delay: dt.timedelta | float = 0.1,
        max_events: int = 1000,
        max_bytes: int = MAX_COMMIT_BYTES // 2,
    ) -> FlushPolicy:
        return cls("hybrid", _duration(max_delay), max_events, max_bytes)

    def at_once(self, critical: bool, durable: bool) -> bool:
        """Whether emit has to wait until this record is durable."""
        return self.mode == "immediate" or durable or (critical and self.mode == "hybrid")

    def due_at(self, queued_at: float, *, events: int, queued_bytes: int) -> float:
        """Return when the queue has to be written, given the time its oldest record was queued.

        Both are in seconds of the same clock; minus infinity means at once.
        """
        full = events >= self.max_events or queued_bytes >= self.max_bytes
        if full or self.mode == "immediate":
            return -math.inf
        return queued_at + self.max_delay.total_seconds()


def _duration(value: dt.timedelta | float) -> dt.timedelta:
    return value if isinstance(value, dt.timedelta) else dt.timedelta(seconds=value)
