"""Compute the delay before the next attempt.  Pure: the random number generator is an argument.

Exponential with jitter, so that many agents do not return to a recovering server together: half of
the delay is fixed, half is random.

Invariants (tests of the same name in tests/shippers/test_backoff.py):
  bounded   a delay is never below half the step nor above the ceiling
  grows     without jitter each delay is at least the one before
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

__all__ = ["Backoff"]


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from ``initial`` up to ``ceiling``.  Raises ValueError if inverted."""

    initial: dt.timedelta = dt.timedelta(milliseconds=100)
    ceiling: dt.timedelta = dt.timedelta(seconds=10)

    def __post_init__(self) -> None:
        if not dt.timedelta(0) < self.initial <= self.ceiling:
            raise ValueError(
                f"initial must be positive and at most ceiling: {self.initial}, {self.ceiling}"
            )

    def step(self, attempt: int) -> dt.timedelta:
        """Return the delay after the ``attempt``-th failure in a row (from 1), without jitter."""
        doublings = min(max(attempt, 1) - 1, 60)
        if 1 << doublings >= self.ceiling / self.initial:
            return self.ceiling
        return self.initial * (1 << doublings)

    def delay(self, attempt: int, rng: random.Random) -> dt.timedelta:
        """Return the delay after the ``attempt``-th failure in a row, with jitter."""
        step = self.step(attempt)
        return step / 2 + (step / 2) * rng.random()
