from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shippers.batch_size import BatchSize, Taken

FULL = BatchSize(2000, 2 << 20)
observations = st.builds(
    Taken, seconds=st.floats(0, 1000), full=st.booleans(), throttled=st.booleans()
)
sizes = st.builds(
    BatchSize,
    max_records=st.integers(1, 10_000),
    max_bytes=st.integers(1, 64 << 20),
    share=st.floats(1 / 64, 1),
)


@given(size=sizes, taken=st.lists(observations, max_size=50))
def test_bounded(size: BatchSize, taken: list[Taken]) -> None:
    """bounded: at least one record and one byte, never more than is configured"""
    after = reduce(BatchSize.after, taken, size)
    assert 1 <= after.records <= size.max_records
    assert 1 <= after.bytes <= size.max_bytes


@given(size=sizes, seconds=st.floats(0, 1000), full=st.booleans())
def test_backs_off(size: BatchSize, seconds: float, *, full: bool) -> None:
    """backs_off: after a refusal it is smaller, down to the least share"""
    refused = Taken(seconds, full, throttled=True)
    assert size.after(refused).share == max(size.share / 2, 1 / 64)
    assert reduce(BatchSize.after, [refused] * 7, size).share == 1 / 64


@given(size=sizes)
def test_recovers(size: BatchSize) -> None:
    """recovers: a sink that is quick again gets full batches again"""
    quick = Taken(0.1, full=True, throttled=False)
    assert reduce(BatchSize.after, [quick] * 16, size).share == 1


@given(size=sizes, seconds=st.floats(0, 1.9))
def test_unbiased(size: BatchSize, seconds: float) -> None:
    """unbiased: what a small batch of a quiet log takes raises nothing"""
    assert size.after(Taken(seconds, full=False, throttled=False)) is size


def test_a_slow_sink_gets_smaller_batches_until_they_are_quick() -> None:
    size = FULL
    for _ in range(60):  # a sink that takes 4 ms a record
        size = size.after(Taken(size.records * 0.004, full=True, throttled=False))
    assert 0.5 <= size.records * 0.004 <= 2.5


@pytest.mark.parametrize(
    ("taken", "share"),
    [
        (Taken(0.0, full=False, throttled=True), 0.25),
        (Taken(9.0, full=True, throttled=True), 0.25),
        (Taken(2.001, full=True, throttled=False), 0.375),
        (Taken(2.0, full=True, throttled=False), 0.5),
        (Taken(1.0, full=True, throttled=False), 0.5),
        (Taken(0.999, full=True, throttled=False), 0.5625),
        (Taken(0.0, full=False, throttled=False), 0.5),
    ],
)
def test_each_way_of_being_taken_has_its_step(taken: Taken, share: float) -> None:
    after = BatchSize(1000, 10_000, 0.5).after(taken)
    assert after == BatchSize(1000, 10_000, share)
    assert (after.records, after.bytes) == (int(1000 * share), int(10_000 * share))


def test_the_configured_slowness_is_kept() -> None:
    size = BatchSize(1000, 10_000, 0.5, slow_seconds=10.0)
    after = size.after(Taken(4.9, full=True, throttled=False))
    assert after == BatchSize(1000, 10_000, 0.5625, 10.0)
    assert after.after(Taken(10.0, full=True, throttled=False)) is after


def test_a_sink_may_be_called_slow_after_a_moment() -> None:
    size = BatchSize(1000, 10_000, 0.5, slow_seconds=0.5)
    assert size.after(Taken(0.6, full=True, throttled=False)).share == 0.375


def test_it_begins_with_all_that_is_configured() -> None:
    assert BatchSize(1000, 10_000) == BatchSize(1000, 10_000, 1.0, 2.0)
    assert BatchSize(1, 1, share=1 / 64).after(Taken(0, full=False, throttled=True)).records == 1


def test_a_batch_is_full_by_records_or_by_bytes() -> None:
    assert FULL.is_full(2000, 1)
    assert FULL.is_full(1, 1 << 20)
    assert not FULL.is_full(1999, (1 << 20) - 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"share": 0.0},
        {"share": 0.0156},
        {"share": 1.1},
        {"slow_seconds": 0},
        {"max_records": 0},
        {"max_bytes": 0},
    ],
)
def test_impossible_sizes_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"share|room"):
        BatchSize(**{"max_records": 1, "max_bytes": 1, **wrong})  # type: ignore[arg-type]  # wrong on purpose
