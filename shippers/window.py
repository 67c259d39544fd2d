"""Decide how far the cursor may move: over the contiguous prefix of final outcomes.  Pure.

Batches are added in reading order; their items are settled in any order and in any number of
attempts.  Counters and position move only over the prefix, so an item counts once however often it
is sent.

Invariants (tests of the same name in tests/shippers/test_window.py):
  prefix      the position is that of the last item before the first one without final outcome
  partition   added = indexed + duplicate + quarantined + pending, at any moment
  bounded     the memory of a batch is released when its last item is passed
  onward      the counters never go back, also when items are read again after a rewind
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from shippers.outcome import INDEXED, DeliveryOutcome, OutcomeKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shippers.batch import Batch

__all__ = ["Tally", "Window"]

P = TypeVar("P")


@dataclass(slots=True)
class Tally:
    """Counts of items that the prefix has passed."""

    indexed: int = 0
    duplicate: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        return self.indexed + self.duplicate + self.quarantined


@dataclass(slots=True, eq=False)
class _PendingBatch(Generic[P]):
    batch: Batch[P]
    results: list[DeliveryOutcome | None]
    open: list[int]
    passed: int = 0


class Window(Generic[P]):
    """The batches of one log that were read and not passed yet."""

    def __init__(self, start: P) -> None:
        self.position = start
        self.tally = Tally()
        self.added = 0
        self.size_bytes = 0
        self._read_again = 0
        self._entries: deque[_PendingBatch[P]] = deque()
        self._by_batch: dict[int, _PendingBatch[P]] = {}

    @property
    def pending(self) -> int:
        """Items added and not passed, including those that a rewind has dropped."""
        return self.added - self.tally.total

    @property
    def oldest_at(self) -> str | None:
        """The timestamp of the first held item without final outcome; None if none is held."""
        for entry in self._entries:
            for index in range(entry.passed, len(entry.batch)):
                if (at := entry.batch.items[index].at) is not None:
                    return at
        return None

    def add(self, batch: Batch[P]) -> None:
        """Take the next batch in reading order."""
        entry = _PendingBatch(batch, [None] * len(batch), list(range(len(batch))))
        self._entries.append(entry)
        self._by_batch[id(batch)] = entry
        again = min(self._read_again, len(batch))  # counted when they were first read
        self._read_again -= again
        self.added += len(batch) - again
        self.size_bytes += batch.size_bytes

    def open_indices(self, batch: Batch[P]) -> list[int]:
        """The indices of the batch's items that still lack a final outcome, in order."""
        entry = self._by_batch.get(id(batch))
        return [] if entry is None else entry.open

    def settle(self, batch: Batch[P], outcomes: Sequence[DeliveryOutcome]) -> bool:
        """Note the outcomes of the batch's open items, in order; True if none is left open.

        Raises ValueError if there are not as many outcomes as open items.
        """
        entry = self._by_batch.get(id(batch))
        expected = len(entry.open) if entry is not None else 0
        if len(outcomes) != expected:
            raise ValueError(f"{len(outcomes)} outcomes for {expected} items")
        if entry is None:
            return True  # it was passed already
        if expected == len(entry.results) and outcomes.count(INDEXED) == expected:
            entry.results, entry.open = list(outcomes), []  # the usual case, and much faster
        else:
            for index, outcome in zip(entry.open, outcomes, strict=True):
                entry.results[index] = outcome if outcome.final else None
            entry.open = [index for index in entry.open if entry.results[index] is None]
        self._advance()
        return not entry.open

    def rewind(self) -> None:
        """Drop everything that is not passed; the caller reads it again from ``position``."""
        self._read_again = self.pending
        self.size_bytes = 0
        self._entries.clear()
        self._by_batch.clear()

    def _advance(self) -> None:
        while self._entries:
            entry = self._entries[0]
            self._pass(entry)
            if entry.passed:
                self.position = entry.batch.position_after(entry.passed)
            if entry.passed < len(entry.batch):
                return
            self._entries.popleft()
            del self._by_batch[id(entry.batch)]
            self.size_bytes -= entry.batch.size_bytes

    def _pass(self, entry: _PendingBatch[P]) -> None:
        tally = self.tally
        end = entry.open[0] if entry.open else len(entry.batch)
        passing = entry.results[entry.passed : end]
        entry.passed = end
        if passing.count(INDEXED) == len(passing):
            tally.indexed += len(passing)
            return
        for outcome in passing:  # all before the first open item are final
            kind = OutcomeKind.RETRY if outcome is None else outcome.kind
            tally.indexed += kind is OutcomeKind.INDEXED
            tally.duplicate += kind is OutcomeKind.DUPLICATE
            tally.quarantined += kind is OutcomeKind.QUARANTINED
