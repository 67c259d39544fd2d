"""When a commit is due."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.writer.flush_policy import MAX_COMMIT_BYTES, FlushPolicy, Mode

MODES: tuple[Mode, ...] = ("immediate", "batched", "hybrid", "disabled")
policies = st.builds(
    FlushPolicy,
    st.sampled_from(MODES),
    st.timedeltas(dt.timedelta(milliseconds=1), dt.timedelta(seconds=60)),
    st.integers(1, 10_000),
    st.integers(1, MAX_COMMIT_BYTES),
)


@given(policies, st.integers(1, 20_000), st.integers(1, 1 << 21), st.floats(0, 1e6))
def test_bounded_delay(policy: FlushPolicy, events: int, size: int, queued_at: float) -> None:
    due_at = policy.due_at(queued_at, events=events, queued_bytes=size)
    assert due_at <= queued_at + policy.max_delay.total_seconds()
    if events >= policy.max_events or size >= policy.max_bytes:
        assert due_at <= queued_at


@given(policies, st.booleans(), st.booleans())
def test_at_once(policy: FlushPolicy, critical: bool, durable: bool) -> None:
    awaited = policy.at_once(critical, durable)
    if policy.mode == "immediate":
        assert awaited
        assert policy.due_at(0, events=1, queued_bytes=1) <= 0
    elif policy.mode == "hybrid":
        assert awaited == (critical or durable)
    else:
        assert awaited == durable


def test_below_every_limit_the_delay_decides_and_at_any_it_is_due_at_once() -> None:
    policy = FlushPolicy.batched(max_delay=1, max_events=10, max_bytes=1000)
    assert policy.due_at(5, events=9, queued_bytes=999) == 6
    assert policy.due_at(5, events=10, queued_bytes=999) <= 5
    assert policy.due_at(5, events=9, queued_bytes=1000) <= 5


@pytest.mark.parametrize(
    "fields",
    [
        {"mode": "sometimes"},
        {"max_delay": dt.timedelta(0)},
        {"max_delay": dt.timedelta(seconds=-1)},
        {"max_events": 0},
        {"max_bytes": 0},
        {"max_bytes": MAX_COMMIT_BYTES + 1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"flush|max_"):
        FlushPolicy(**fields)


def test_the_defaults_are_a_tenth_of_a_second_a_thousand_events_and_half_a_commit() -> None:
    assert MAX_COMMIT_BYTES == 1 << 20, "how much a crash can tear belongs to the format"
    delay = dt.timedelta(milliseconds=100)
    assert FlushPolicy() == FlushPolicy("immediate", delay, 1000, 1 << 19)
    assert FlushPolicy.batched() == FlushPolicy("batched", delay, 1000, 1 << 19)
    assert FlushPolicy.hybrid() == FlushPolicy("hybrid", delay, 1000, 1 << 19)


def test_the_least_and_the_largest_limits_are_allowed() -> None:
    instant = dt.timedelta(microseconds=1)
    least = FlushPolicy("batched", instant, 1, 1)
    assert least.due_at(5, events=1, queued_bytes=0) < 5
    assert least.due_at(5, events=0, queued_bytes=1) < 5
    assert FlushPolicy(max_bytes=MAX_COMMIT_BYTES).max_bytes == MAX_COMMIT_BYTES


def test_delays_may_be_given_in_seconds() -> None:
    assert FlushPolicy.batched(max_delay=0.25).max_delay == dt.timedelta(milliseconds=250)
    assert FlushPolicy.hybrid(max_delay=dt.timedelta(seconds=2)).mode == "hybrid"


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_has_a_policy_of_its_name(mode: Mode) -> None:
    assert FlushPolicy.named(mode).mode == mode
