from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shippers.ledger import Ledger


@dataclass(eq=False)
class Changing:
    """The attributes of a lane that the ledger reads."""

    held_bytes: int = 0
    dirty: bool = False
    lingers: bool = False
    deadline: float | None = None


changes = st.lists(
    st.tuples(
        st.integers(0, 4),
        st.sampled_from([0, 0, 10, 25]),
        st.booleans(),
        st.booleans(),
        st.none() | st.integers(1, 20).map(float),
    ),
    max_size=40,
)


def changed(made: list[tuple[int, int, bool, bool, float | None]]) -> tuple[Ledger, list[Any]]:
    lanes: list[Any] = [Changing() for _ in range(5)]
    ledger = Ledger()
    for which, held, dirty, lingers, deadline in made:
        lane = lanes[which]
        lane.held_bytes, lane.dirty = held, lane.dirty or dirty
        lane.lingers, lane.deadline = lingers, deadline
        ledger.note(lane)
    return ledger, lanes


@given(made=changes)
def test_sums(made: list[tuple[int, int, bool, bool, float | None]]) -> None:
    """sums: after any changes the ledger says what a look at all lanes says"""
    ledger, lanes = changed(made)
    assert ledger.held_bytes == sum(lane.held_bytes for lane in lanes)
    assert set(ledger.holders) == {lane for lane in lanes if lane.held_bytes}
    assert ledger.lingering == sum(lane.lingers for lane in lanes)
    assert ledger.dirty == any(lane.dirty for lane in lanes)
    ends = [lane.deadline for lane in lanes if lane.deadline is not None]
    assert ledger.next_deadline() == min(ends, default=None)
    ledger.saved()
    assert not ledger.dirty


@given(made=changes, now=st.integers(0, 21))
def test_due(made: list[tuple[int, int, bool, bool, float | None]], now: int) -> None:
    """due: a lane is due once, when its wait ends, in the order of the ends"""
    ledger, lanes = changed(made)
    due = list(ledger.due(now))
    over = [lane for lane in lanes if lane.deadline is not None and lane.deadline <= now]
    assert sorted(map(id, due)) == sorted(map(id, over))
    assert [lane.deadline for lane in due] == sorted(lane.deadline for lane in over)
    assert not list(ledger.due(now))
    for lane in due:
        lane.deadline = None
        ledger.note(lane)
    later = [lane.deadline for lane in lanes if lane.deadline is not None]
    assert ledger.next_deadline() == min(later, default=None)
