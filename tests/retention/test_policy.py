"""Policies and durations."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.errors import PolicyError
from retention.policy import (
    Compression,
    ForeignPolicy,
    IndexPolicy,
    RetentionPolicy,
    format_duration,
    parse_duration,
)

whole_seconds = st.integers(1, 10**8).map(lambda seconds: dt.timedelta(seconds=seconds))

DAY = dt.timedelta(days=1)


@given(duration=st.timedeltas(max_value=dt.timedelta(milliseconds=999)))
def test_never_empty(duration: dt.timedelta) -> None:
    with pytest.raises(PolicyError):
        RetentionPolicy(compress_after=duration)
    with pytest.raises(PolicyError):
        RetentionPolicy(delete_after=duration)


@given(first=whole_seconds, second=whole_seconds)
def test_never_inverted(first: dt.timedelta, second: dt.timedelta) -> None:
    if first < second:
        assert RetentionPolicy(first, second).delete_after == second
    else:
        with pytest.raises(PolicyError, match="not longer than"):
            RetentionPolicy(first, second)


@given(
    durations=st.tuples(whole_seconds, whole_seconds),
    form=st.sampled_from([("zstd", None), ("zstd", 19), ("gzip", None), ("gzip", 9)]),
    least=st.integers(1, 1000),
    fraction=st.floats(0.001, 1),
)
def test_round_trip(
    durations: tuple[dt.timedelta, dt.timedelta],
    form: tuple[Compression, int | None],
    least: int,
    fraction: float,
) -> None:
    policy = RetentionPolicy(
        durations[0],
        sum(durations, dt.timedelta(0)),
        *form,
        keep_at_least=least,
        max_delete_fraction=fraction,
        verify_before_delete="index",
    )
    foreign = ForeignPolicy("*.log", policy, "not_required", ("at",), (("a", ("/x/*",)),))
    policy = replace(
        policy, max_total_bytes=least, overrides=(("queen-*", policy),), foreign=(foreign,)
    )
    assert RetentionPolicy.from_json(policy.to_json()) == policy


@pytest.mark.parametrize(
    "wrong",
    [
        {"compression": "brotli"},
        {"level": 0},
        {"level": 20},
        {"level": True},
        {"level": 10, "compression": "gzip"},
        {"keep_at_least": 0},
        {"keep_at_least": 1.5},
        {"max_delete_fraction": 0},
        {"max_delete_fraction": 1.01},
        {"max_delete_fraction": float("nan")},
        {"compress_after": 30},
        {"delete_after": None},
    ],
)
def test_a_value_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        RetentionPolicy(**wrong)  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    ("text", "seconds"), [("15s", 15), ("30m", 1800), ("12h", 43200), ("90d", 7776000), ("0d", 0)]
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: int) -> None:
    assert parse_duration(text) == dt.timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "90", "d", "-1d", "1.5h", "90 d", "1w", "1d\n", "٣d"])
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(PolicyError, match="90d, 12h"):
        parse_duration(text)


@given(duration=whole_seconds)
def test_format_duration_is_read_back_as_the_same(duration: dt.timedelta) -> None:
    assert parse_duration(format_duration(duration)) == duration


def test_adopted() -> None:
    first, second = (
        ForeignPolicy("x.*", RetentionPolicy()),
        ForeignPolicy("*.ndjson", RetentionPolicy()),
    )
    policy = RetentionPolicy(foreign=(first, second))
    assert policy.adopts("x.ndjson") is first
    for name in ("y.ndjson", "y.ndjson.gz", "y.ndjson.zst"):
        assert policy.adopts(name) is second
    assert policy.adopts("y.log") is None
    assert RetentionPolicy().adopts("y.ndjson") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"pattern": " "},
        {"pattern": "a/*.ndjson"},
        {"shipped": "no"},
        {"timestamp_fields": ()},
        {"policy": RetentionPolicy(max_total_bytes=1)},
    ],
)
def test_a_foreign_policy_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(PolicyError):
        ForeignPolicy(**{"pattern": "*.ndjson", "policy": RetentionPolicy(), **wrong})
    twice = ForeignPolicy("*.ndjson", RetentionPolicy())
    with pytest.raises(PolicyError, match="twice"):
        RetentionPolicy(foreign=(twice, twice))


def test_first_match() -> None:
    short, long = RetentionPolicy(delete_after=40 * DAY), RetentionPolicy(delete_after=400 * DAY)
    policy = RetentionPolicy(overrides=(("rbee-hive@*", short), ("*@gpu-1", long)))
    assert policy.of("rbee-hive@gpu-1") is short
    assert policy.of("queen-rbee@gpu-1") is long
    assert policy.of("queen-rbee@hive1") is policy


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_total_bytes": 0},
        {"max_total_bytes": -1},
        {"verify_before_delete": "yes"},
        {"long_window_bytes": 3 << 20},
        {"long_window_bytes": 1 << 28},
        {"long_window_bytes": 1 << 25, "compression": "gzip"},
        {"overrides": ((" ", RetentionPolicy()),)},
        {"overrides": (("*", RetentionPolicy(max_total_bytes=1)),)},
        {"overrides": (("*", RetentionPolicy(overrides=(("*", RetentionPolicy()),))),)},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(PolicyError):
        RetentionPolicy(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_what_a_policy_is_without_any_setting() -> None:
    policy, day = RetentionPolicy(), dt.timedelta(days=1)
    assert (policy.compress_after, policy.delete_after) == (30 * day, 90 * day)
    assert (policy.keep_at_least, policy.max_delete_fraction) == (1, 0.5)


@pytest.mark.parametrize(
    ("fields", "allowed"),
    [
        ({"level": 0}, False),
        ({"level": 1}, True),
        ({"level": 19}, True),
        ({"level": 20}, False),
        ({"compression": "gzip", "level": 0}, False),
        ({"compression": "gzip", "level": 1}, True),
        ({"compression": "gzip", "level": 9}, True),
        ({"compression": "gzip", "level": 10}, False),
        ({"long_window_bytes": 1 << 19}, False),
        ({"long_window_bytes": 1 << 20}, True),
        ({"long_window_bytes": 1 << 27}, True),
        ({"long_window_bytes": 1 << 28}, False),
        ({"max_delete_fraction": 0.0}, False),
        ({"max_delete_fraction": 1.0}, True),
        ({"max_delete_fraction": 1.01}, False),
    ],
)
def test_the_limits_of_a_policy(fields: dict[str, Any], allowed: bool) -> None:
    if allowed:
        RetentionPolicy(**fields)
    else:
        with pytest.raises(PolicyError):
            RetentionPolicy(**fields)


def test_indices_are_kept_for_a_day_at_least_and_named_with_their_cluster() -> None:
    day = dt.timedelta(days=1)
    policy = IndexPolicy("main", ("http://b", "http://a"), "x", day)
    assert policy.target == "x-* at http://a, http://b"
    assert policy.to_json() == {"index_delete_after": "1d", "max_delete_fraction": 0.5}
    with pytest.raises(PolicyError):
        IndexPolicy("main", ("http://b",), "x", day - dt.timedelta(microseconds=1))
