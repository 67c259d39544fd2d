from __future__ import annotations

import datetime as dt
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.backoff import Backoff

steps = st.timedeltas(dt.timedelta(milliseconds=1), dt.timedelta(hours=1))


@given(steps, steps, st.integers(1, 30) | st.integers(1, 10**6), st.integers())
def test_bounded(one: dt.timedelta, other: dt.timedelta, attempt: int, seed: int) -> None:
    """bounded: a delay is never below half the step nor above the ceiling"""
    backoff = Backoff(min(one, other), max(one, other))
    delay = backoff.delay(attempt, random.Random(seed))
    assert backoff.step(attempt) / 2 <= delay <= backoff.step(attempt) <= backoff.ceiling


@given(steps, steps, st.integers(1, 200))
def test_grows(one: dt.timedelta, other: dt.timedelta, attempt: int) -> None:
    """grows: without jitter each delay is at least the one before"""
    backoff = Backoff(min(one, other), max(one, other))
    assert backoff.step(1) == backoff.initial
    assert backoff.step(attempt) <= backoff.step(attempt + 1)


@pytest.mark.parametrize(
    ("ceiling", "expected"), [(10, [1, 2, 4, 8, 10, 10]), (8, [1, 2, 4, 8, 8, 8]), (1, [1] * 6)]
)
def test_a_step_doubles_until_it_is_the_ceiling(ceiling: int, expected: list[int]) -> None:
    backoff = Backoff(dt.timedelta(seconds=1), dt.timedelta(seconds=ceiling))
    assert [backoff.step(attempt).total_seconds() for attempt in range(1, 7)] == expected


def test_without_arguments_it_waits_from_a_tenth_of_a_second_to_ten_seconds() -> None:
    steps = [Backoff().step(attempt).total_seconds() for attempt in range(1, 9)]
    assert steps == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10]


def test_before_any_failure_it_waits_as_after_the_first() -> None:
    assert Backoff().step(0) == Backoff().step(-5) == Backoff().step(1)


def test_half_of_a_delay_is_drawn() -> None:
    class Halfway(random.Random):
        def random(self) -> float:
            return 0.5

    assert Backoff().delay(1, Halfway()) == dt.timedelta(milliseconds=75)


@pytest.mark.parametrize(("initial", "ceiling"), [(0, 1), (-1, 1), (2, 1)])
def test_inverted_limits_are_refused(initial: int, ceiling: int) -> None:
    with pytest.raises(ValueError, match="initial must be positive"):
        Backoff(dt.timedelta(seconds=initial), dt.timedelta(seconds=ceiling))
