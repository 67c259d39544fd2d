"""How much to send at a time, learned from how the sink takes it.  Pure.

A share of the configured batch: halved when the sink says that it has too much to do (429), cut by
a quarter when it took longer than ``slow_seconds``, and raised by a sixteenth when a full batch was
taken in less than half of that (AIMD, as TCP finds its window).  Big batches are efficient where
the sink is fast; small ones keep a slow sink's other clients, and our other logs, from waiting.

Invariants (tests of the same name in tests/shippers/test_batch_size.py):
  bounded    at least one record and one byte, never more than is configured
  backs_off  after a refusal it is smaller, down to the least share
  recovers   a sink that is quick again gets full batches again
  unbiased   what a small batch of a quiet log takes raises nothing
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BatchSize", "Taken"]

_LEAST: Final = 1 / 64
_STEP: Final = 1 / 16


@dataclass(frozen=True, slots=True)
class Taken:
    """How one batch was taken: ``full`` when it was as large as was asked for at the time."""

    seconds: float
    full: bool
    throttled: bool


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The share of ``max_records`` and ``max_bytes`` that is asked for now."""

    max_records: int
    max_bytes: int
    share: float = 1.0
    slow_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not _LEAST <= self.share <= 1 or self.slow_seconds <= 0:
            raise ValueError(f"share must be from 1/64 to 1: {self.share}; seconds positive")
        if self.max_records < 1 or self.max_bytes < 1:
            raise ValueError("a batch needs room for a record")

    @property
    def records(self) -> int:
        return max(1, int(self.max_records * self.share))

    @property
    def bytes(self) -> int:
        return max(1, int(self.max_bytes * self.share))

    def is_full(self, records: int, size_bytes: int) -> bool:
        """Whether a batch is about what was asked for."""
        return records >= self.records or 2 * size_bytes >= self.bytes

    def after(self, taken: Taken) -> BatchSize:
        """What to ask for next."""
        share = self.share
        if taken.throttled:
            share /= 2
        elif taken.seconds > self.slow_seconds:
            share *= 0.75
        elif taken.full and taken.seconds < self.slow_seconds / 2:
            share += _STEP
        share = min(1.0, max(_LEAST, share))
        if share == self.share:
            return self
        return BatchSize(self.max_records, self.max_bytes, share, self.slow_seconds)
