from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.round_robin import RoundRobin


@dataclass(eq=False)
class Waiting:
    """The attributes of a lane that RoundRobin reads."""

    live: bool = False


rows = st.lists(st.booleans(), min_size=1, max_size=20)


def turns_of(lanes: list[Any]) -> RoundRobin:
    turns = RoundRobin()
    for lane in lanes:
        turns.add(lane)
    return turns


@given(live=rows)
def test_everyone(live: list[bool]) -> None:
    """everyone: a lane that waits is taken after at most as many turns as twice the others"""
    lanes = [Waiting(is_live) for is_live in live]
    turns = turns_of(lanes)
    last = {id(lane): 0 for lane in lanes}
    for turn in range(1, 10 * len(lanes)):
        lane = turns.take()
        assert turn - last[id(lane)] <= 2 * len(lanes)
        last[id(lane)] = turn
        turns.add(lane)
    assert all(last.values())


@given(backlog=st.integers(1, 50), live=st.integers(1, 5))
def test_beside(backlog: int, live: int) -> None:
    """beside: a live lane never waits for more than one turn of a lane with a backlog"""
    turns = turns_of([Waiting() for _ in range(backlog)])
    turns.add(turns.take())  # it is in the middle of its backlogs
    for lane in [Waiting(live=True) for _ in range(live)]:
        turns.add(lane)  # type: ignore[arg-type]  # all that RoundRobin looks at is there
    taken = []
    for _ in range(2 * live):
        lane = turns.take()
        taken.append(lane.live)
        if not lane.live:
            turns.add(lane)
    assert taken == [True, False] * live


@given(live=rows)
def test_once(live: list[bool]) -> None:
    """once: a lane stands in one row, once"""
    lanes = [Waiting(is_live) for is_live in live]
    turns = turns_of([*lanes, *lanes])
    for lane in lanes:
        lane.live = not lane.live
        turns.add(lane)  # type: ignore[arg-type]  # as above
    assert len(turns) == len(lanes)
    following = turns.next()
    assert turns.take() is following
    taken = Counter([id(following), *(id(turns.take()) for _ in lanes[1:])])
    assert taken == Counter(id(lane) for lane in lanes)
    assert not turns
    with pytest.raises(IndexError):
        turns.take()


def test_a_live_lane_is_first_and_then_it_is_the_turn_of_a_backlog() -> None:
    backlog, live, other = Waiting(), Waiting(live=True), Waiting(live=True)
    turns = turns_of([backlog, live, other])
    assert [turns.take() for _ in range(3)] == [live, backlog, other]
