"""Adapt the batch size to the results of earlier batches.  Pure.

The size is a share of the configured batch: halved when the sink is overloaded (429), cut by a
quarter when a batch took longer than ``slow_seconds``, and raised by a sixteenth when a full batch
took less than half of that (additive increase, multiplicative decrease, as in TCP).  Large batches
are efficient if the sink is fast; small ones keep other clients of a slow sink, and our other logs,
from waiting.

Invariants (tests of the same name in tests/shippers/test_batch_size.py):
  bounded    at least one record and one byte, never more than is configured
  backs_off  after a refusal it is smaller, down to the least share
  recovers   a sink that is quick again gets full batches again
  unbiased   a small batch of a quiet log does not raise the size
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["BatchSize", "Taken"]

_LEAST: Final = 1 / 64
_STEP: Final = 1 / 16


@dataclass(frozen=True, slots=True)
class Taken:
    """The sink's response to one batch; ``full``: the batch had the size allowed at the time."""

    seconds: float
    full: bool
    throttled: bool


@dataclass(frozen=True, slots=True)
class BatchSize:
    """The current share of ``max_records`` and ``max_bytes``."""

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
        """Whether a batch has about the current size."""
        return records >= self.records or 2 * size_bytes >= self.bytes

    def after(self, taken: Taken) -> BatchSize:
        """Return the size for the next batch."""
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
