"""Which records may the cursor pass: the contiguous prefix of final outcomes.  Pure.

Batches are added in the order in which they were read; their records are settled in any order and
in any number of attempts.  Counters and position move only over the prefix, so that a record is
counted once however often it is sent.

Invariants (tests of the same name in tests/shippers/test_batch.py):
  prefix      the position is that of the last record before the first one without final outcome
  partition   added = indexed + duplicate + quarantined + pending, at any moment
  bounded     what a batch holds is given back when its last record is passed
  onward      the counters never go back, also when records are read again after a rewind
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from auditlog.format.record import GENESIS_HASH
from shippers.document import DocumentBatch
from shippers.outcome import INDEXED, Kind, Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.format.record import Header

__all__ = ["AnyBatch", "Batch", "Finding", "Position", "Shipment", "Tally", "Window"]


class Shipment(NamedTuple):
    """One line with its LF, and its header; None when the line is not built like a record."""

    line: bytes
    header: Header | None


class Position(NamedTuple):
    """A place in a log: all before byte ``offset`` of the (uncompressed) segment is behind it.

    ``seq`` and ``hash`` are those of the last record before it: 0 and zeros when there is none.
    ``gaps`` are the numbers before it that were not in the files, each the first and the last.
    """

    segment: str = ""
    offset: int = 0
    seq: int = 0
    hash: str = GENESIS_HASH
    gaps: tuple[tuple[int, int], ...] = ()


class Finding(NamedTuple):
    """Something wrong with the log, found while reading: an alarm, which stops nothing.

    ``kind`` is one of verify's, or cursor_mismatch, truncated, unfinished.
    """

    kind: str
    segment: str
    offset: int
    seq: int | None
    detail: str


@dataclass(slots=True, eq=False)
class Batch:
    """Lines read together from one segment.

    ``ends`` are the offsets behind each line; ``start`` is the position before the first, ``gaps``
    are those of the position behind the last.
    """

    log: str
    start: Position
    segment: str
    shipments: list[Shipment]
    ends: list[int]
    size_bytes: int
    findings: list[Finding] = field(default_factory=list)
    gaps: tuple[tuple[int, int], ...] = ()

    bad_lines = cut_lines = 0  # what is no record is a finding

    def __len__(self) -> int:
        return len(self.shipments)

    def at(self, index: int) -> str | None:
        """The timestamp of a record; None for a line that is none."""
        header = self.shipments[index].header
        return None if header is None else header.timestamp

    def position_after(self, count: int) -> Position:
        """The position behind the first ``count`` lines."""
        if count == 0:
            return self.start
        for index in range(count - 1, -1, -1):
            header = self.shipments[index].header
            if header is not None:
                gaps = tuple(gap for gap in self.gaps if gap[0] <= header.seq)
                return Position(self.segment, self.ends[count - 1], header.seq, header.hash, gaps)
        return self.start._replace(segment=self.segment, offset=self.ends[count - 1])


AnyBatch = Batch | DocumentBatch
"""What a harvester gives, a window holds and an attempt delivers."""


@dataclass(slots=True)
class Tally:
    """Counts of records that the prefix has passed."""

    indexed: int = 0
    duplicate: int = 0
    quarantined: int = 0

    @property
    def total(self) -> int:
        return self.indexed + self.duplicate + self.quarantined


@dataclass(slots=True, eq=False)
class _Entry:
    batch: AnyBatch
    results: list[Outcome | None]
    open: list[int]
    passed: int = 0


class Window:
    """The batches of one log that were read and not passed yet; positions are as its source's."""

    def __init__(self, start: Any) -> None:
        self.position = start
        self.tally = Tally()
        self.added = 0
        self.size_bytes = 0
        self._read_again = 0
        self._entries: deque[_Entry] = deque()
        self._by_batch: dict[int, _Entry] = {}

    @property
    def pending(self) -> int:
        """Records added and not passed, those included that a rewind has forgotten."""
        return self.added - self.tally.total

    @property
    def oldest_at(self) -> str | None:
        """The timestamp of the first held record without final outcome; None when none is held."""
        for entry in self._entries:
            for index in range(entry.passed, len(entry.batch)):
                if (at := entry.batch.at(index)) is not None:
                    return at
        return None

    def add(self, batch: AnyBatch) -> None:
        """Take the next batch in reading order."""
        entry = _Entry(batch, [None] * len(batch), list(range(len(batch))))
        self._entries.append(entry)
        self._by_batch[id(batch)] = entry
        again = min(self._read_again, len(batch))  # these were counted when first read
        self._read_again -= again
        self.added += len(batch) - again
        self.size_bytes += batch.size_bytes

    def open_indices(self, batch: AnyBatch) -> list[int]:
        """Which lines of the batch still lack a final outcome, in order."""
        entry = self._by_batch.get(id(batch))
        return [] if entry is None else entry.open

    def settle(self, batch: AnyBatch, outcomes: Sequence[Outcome]) -> bool:
        """Note the outcomes of the batch's open lines, in order; True when none is left open.

        Raises ValueError when there are not as many outcomes as open lines.
        """
        entry = self._by_batch.get(id(batch))
        expected = len(entry.open) if entry is not None else 0
        if len(outcomes) != expected:
            raise ValueError(f"{len(outcomes)} outcomes for {expected} lines")
        if entry is None:
            return True  # it was passed already
        if expected == len(entry.results) and outcomes.count(INDEXED) == expected:
            entry.results, entry.open = list(outcomes), []  # as nearly always, and much quicker
        else:
            for index, outcome in zip(entry.open, outcomes, strict=True):
                entry.results[index] = outcome if outcome.final else None
            entry.open = [index for index in entry.open if entry.results[index] is None]
        self._advance()
        return not entry.open

    def rewind(self) -> None:
        """Forget what is not passed; the caller reads it again from ``position``."""
        self._read_again = self.pending
        self.size_bytes = 0
        self._entries.clear()
        self._by_batch.clear()

    def _advance(self) -> None:
        while self._entries:
            entry = self._entries[0]
            self._pass(entry)
            self.position = (
                entry.batch.position_after(entry.passed) if entry.passed else self.position
            )
            if entry.passed < len(entry.batch):
                return
            self._entries.popleft()
            del self._by_batch[id(entry.batch)]
            self.size_bytes -= entry.batch.size_bytes

    def _pass(self, entry: _Entry) -> None:
        tally = self.tally
        end = entry.open[0] if entry.open else len(entry.batch)
        passing = entry.results[entry.passed : end]
        if passing.count(INDEXED) == len(passing):
            tally.indexed += len(passing)
            passing = []
        for outcome in passing:
            assert outcome is not None  # noqa: S101  (all before the first open line are final)
            if outcome.kind is Kind.INDEXED:
                tally.indexed += 1
            elif outcome.kind is Kind.DUPLICATE:
                tally.duplicate += 1
            else:
                tally.quarantined += 1
        entry.passed = end
