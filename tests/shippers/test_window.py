from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shippers.batch import Position, RecordBatch
from shippers.item import Shipment
from shippers.outcome import DUPLICATE, INDEXED, DeliveryOutcome, quarantined, retry
from shippers.window import Window
from tests.support.shipments import batch_of, shipments

RECORDS = shipments(400)
STRANGE = Shipment(b"no record\n", None)
OUTCOMES = [INDEXED, DUPLICATE, quarantined("refused"), retry("busy")]


class WindowMachine(RuleBasedStateMachine):
    """The window against a list that remembers every line's outcome."""

    def __init__(self) -> None:
        super().__init__()
        self.window = Window(Position())
        self.end = Position()
        self.read = self.most = 0
        self.model: list[tuple[RecordBatch, list[DeliveryOutcome | None], list[Position]]] = []

    @precondition(lambda self: self.read < 350)
    @rule(count=st.integers(0, 6), strange=st.sets(st.integers(0, 5)), rotate=st.booleans())
    def add(self, count: int, strange: set[int], rotate: bool) -> None:
        lines = RECORDS[self.read : self.read + count]
        lines = [STRANGE if n in strange else line for n, line in enumerate(lines)]
        segment = f"s{len(self.model):04d}" if rotate or not self.model else self.end.segment
        batch = batch_of(lines, self.end, segment)
        positions, last = [], self.end
        for (_, header), end in zip(batch.items, batch.ends, strict=True):
            seq, digest = (header.seq, header.hash) if header else (last.seq, last.hash)
            last = Position(segment, end, seq, digest)
            positions.append(last)
        self.window.add(batch)
        self.model.append((batch, [None] * count, positions))
        self.end, self.read = last, self.read + count

    @precondition(lambda self: any(None in results for _, results, _ in self.model))
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        unsettled = [entry for entry in self.model if None in entry[1]]
        batch, results, _ = data.draw(st.sampled_from(unsettled))
        open_indices = [n for n, result in enumerate(results) if result is None]
        assert self.window.open_indices(batch) == open_indices
        outcomes = [data.draw(st.sampled_from(OUTCOMES)) for _ in open_indices]
        if data.draw(st.booleans()):
            outcomes = [INDEXED] * len(open_indices)
        for index, outcome in zip(open_indices, outcomes, strict=True):
            results[index] = outcome if outcome.final else None
        assert self.window.settle(batch, outcomes) == (None not in results)

    @rule()
    def rewind(self) -> None:
        passed, position = self._prefix()
        self.window.rewind()
        kept: list[tuple[RecordBatch, list[DeliveryOutcome | None], list[Position]]] = []
        for batch, results, positions in self.model:
            count = min(len(results), passed)
            kept.append((batch, results[:count], positions[:count]))
            passed -= count
        self.model = kept
        self.end = position

    def _prefix(self) -> tuple[int, Position]:
        passed, position = 0, Position()
        for _, results, positions in self.model:
            for result, here in zip(results, positions, strict=True):
                if result is None:
                    return passed, position
                passed, position = passed + 1, here
        return passed, position

    @invariant()
    def prefix(self) -> None:
        """prefix: the position is that of the last record before the first not final"""
        assert self.window.position == self._prefix()[1]

    @invariant()
    def partition(self) -> None:
        """partition: added = indexed + duplicate + quarantined + pending, at any moment"""
        tally = self.window.tally
        assert tally.total + self.window.pending == self.window.added
        assert tally.total == self._prefix()[0]

    @invariant()
    def onward(self) -> None:
        """onward: the counters never go back, also when records are read again after a rewind"""
        self.most = max(self.most, sum(len(results) for _, results, _ in self.model))
        assert self.window.added == self.most


test_prefix = WindowMachine.TestCase
test_partition = WindowMachine.TestCase
test_onward = WindowMachine.TestCase


def test_the_oldest_is_the_first_record_held_without_final_outcome() -> None:
    window = Window(Position())
    assert window.oldest_at is None
    batch = batch_of([Shipment(b"strange\n", None), *RECORDS[:3]], Position())
    window.add(batch)
    assert RECORDS[0].header is not None
    assert window.oldest_at == RECORDS[0].header.timestamp
    window.settle(batch, [INDEXED, INDEXED, retry("busy"), INDEXED])
    assert RECORDS[1].header is not None
    assert window.oldest_at == RECORDS[1].header.timestamp
    window.rewind()
    assert window.oldest_at is None


@given(st.lists(st.integers(1, 5), max_size=8), st.randoms())
def test_bounded(sizes: list[int], random: object) -> None:
    """bounded: what a batch holds is given back when its last record is passed"""
    window, batches, position, used = Window(Position()), [], Position(), 0
    for size in sizes:
        batch = batch_of(RECORDS[used : used + size], position)
        window.add(batch)
        batches.append(batch)
        position, used = batch.position_after(size), used + size
    assert window.size_bytes == sum(batch.size_bytes for batch in batches)
    shuffled = list(batches)
    random.shuffle(shuffled)  # type: ignore[attr-defined]  # st.randoms gives a Random
    for batch in shuffled:
        window.settle(batch, [INDEXED] * len(batch))
    assert (window.size_bytes, window.pending) == (0, 0)


def test_a_wrong_number_of_outcomes_is_refused_and_changes_nothing() -> None:
    window, batch = Window(Position()), batch_of(RECORDS[:3], Position())
    window.add(batch)
    with pytest.raises(ValueError, match="2 outcomes for 3 items"):
        window.settle(batch, [INDEXED, INDEXED])
    assert window.pending == 3


def test_counts_move_only_with_the_prefix() -> None:
    window = Window(Position())
    first = batch_of(RECORDS[:2], Position())
    second = batch_of(RECORDS[2:4], first.position_after(2))
    window.add(first)
    window.add(second)
    window.settle(second, [DUPLICATE, INDEXED])
    assert window.tally.total == 0
    window.settle(first, [INDEXED, retry("busy")])
    assert (window.tally.total, window.position.seq) == (1, 1)
    window.settle(first, [INDEXED])
    assert (window.tally.indexed, window.tally.duplicate, window.position.seq) == (3, 1, 4)


def test_a_batch_that_was_passed_has_nothing_left_to_settle() -> None:
    window, batch = Window(Position()), batch_of(RECORDS[:2], Position(), "s")
    window.add(batch)
    assert window.settle(batch, [INDEXED, retry("busy")]) is False
    assert window.settle(batch, [INDEXED]) is True
    assert window.settle(batch, []) is True
    assert window.open_indices(batch) == []
    with pytest.raises(ValueError, match="1 outcomes for 0 items"):
        window.settle(batch, [INDEXED])


def test_a_rewind_forgets_how_much_is_held() -> None:
    window, batch = Window(Position()), batch_of(RECORDS[:2], Position(), "s")
    batch.size_bytes = 7
    window.add(batch)
    assert window.size_bytes == 7
    window.rewind()
    assert window.size_bytes == 0
