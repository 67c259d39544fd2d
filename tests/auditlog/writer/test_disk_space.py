"""How full the disk is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditlog.writer.disk_space import DiskSpace, Level, Watermarks

LEVELS: tuple[Level, ...] = ("ok", "low", "critical")
marks = st.tuples(st.integers(0, 1 << 40), st.integers(0, 1 << 40)).map(
    lambda pair: Watermarks(low_bytes=max(pair), critical_bytes=min(pair))
)


@given(marks, st.integers(0, 1 << 42), st.sampled_from(LEVELS))
def test_hysteresis(marks: Watermarks, free: int, before: Level) -> None:
    level = marks.level(free, before)
    if before == "critical" and level != "critical":
        assert free >= marks.critical_bytes + marks.critical_bytes // 10
    if before != "ok" and level == "ok":
        assert free >= marks.low_bytes + marks.low_bytes // 10
    assert marks.level(free, level) == level, "without a change the level stays"


@given(marks, st.integers(0, 1 << 42), st.integers(0, 1 << 42), st.sampled_from(LEVELS))
def test_ordered(marks: Watermarks, one: int, other: int, before: Level) -> None:
    less, more = sorted((one, other))
    assert LEVELS.index(marks.level(less, before)) >= LEVELS.index(marks.level(more, before))
    if less < marks.critical_bytes:
        assert marks.level(less, before) == "critical"
    elif less < marks.low_bytes:
        assert marks.level(less, "ok") == "low"
    else:
        assert marks.level(less, "ok") == "ok"


@pytest.mark.parametrize(("low", "critical"), [(1, 2), (1, -1), (-1, -1)])
def test_inverted_or_negative_watermarks_are_refused(low: int, critical: int) -> None:
    with pytest.raises(ValueError, match="space_critical_bytes"):
        Watermarks(low, critical)


def test_a_level_is_told_once_when_it_is_reached(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    space = DiskSpace(small_disk, Watermarks(100_000, 50_000))
    assert space.look() is None
    for ballast, level in ((180_000, "low"), (220_000, "critical")):
        (small_disk / "ballast").write_bytes(b"x" * ballast)
        free = space.look()
        assert free is not None
        assert 262_144 - ballast - 8_192 <= free <= 262_144 - ballast
        assert space.level == level
        assert f"({level})" in caplog.records[-1].message
        assert space.look() is None
    (small_disk / "ballast").unlink()
    assert space.look() is None
    assert space.level == "ok"


def test_a_directory_that_is_gone_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert DiskSpace(tmp_path / "gone", Watermarks(2, 1)).look() is None
    assert "gone" in caplog.text
