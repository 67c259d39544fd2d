from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.reading.follow import Follower
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from pathlib import Path


def follower(directory: Path, damaged: list[tuple[str, int]] | None = None) -> Follower:
    told = [] if damaged is None else damaged
    return Follower([directory], lambda segment, offset: told.append((segment, offset)))


@settings(max_examples=30)
@given(count=st.integers(0, 40), records=st.integers(1, 5), segments=st.integers(1, 4))
def test_newest_over_all_logs_and_forms(
    tmp_path_factory: pytest.TempPathFactory, count: int, records: int, segments: int
) -> None:
    directory = tmp_path_factory.mktemp("logs")
    first = write_log(directory, records=records, segments=segments)
    second = write_log(
        directory,
        "rbee-hive@gpu1",
        records=records,
        segments=segments,
        step=dt.timedelta(milliseconds=700),
    )
    for index, form in zip(range(segments - 1), (".zst", ".gz", ".zst"), strict=False):
        first.compress(index, form)
    expected = sorted(
        (header.timestamp, header.log, header.seq) for header in first.headers + second.headers
    )
    found = [
        (record.header.timestamp, record.log, record.seq)
        for record in follower(directory).newest(count)
    ]
    assert found == expected[len(expected) - min(count, len(expected)) :]


@pytest.mark.parametrize("form", ["", ".zst"])
def test_shown(tmp_path: Path, form: str) -> None:
    """shown: what is not to be shown is not counted among the newest, and never returned"""
    built = LogBuilder(tmp_path)
    built.append(3)
    built.append(50, event_type="log.heartbeat")
    built.rotate()
    built.append(2)
    built.append(40, event_type="log.heartbeat")
    built.rotate()
    built.append(9, event_type="log.heartbeat")
    if form:
        built.compress(0, form)
        built.compress(1, form)
    looking = follower(tmp_path)
    looking.shown = lambda header: header.event_type != "log.heartbeat"
    assert [record.seq for record in looking.newest(4)] == [2, 3, 54, 55]
    built.append(1, event_type="log.heartbeat")
    (last,) = built.append(1)
    assert [record.line for record in looking.poll()] == [last]
    assert looking.poll() == []


def test_newest_reads_back_past_long_lines(tmp_path: Path) -> None:
    built = LogBuilder(tmp_path)
    built.append(20, details={"text": "x" * 20_000})
    assert [record.seq for record in follower(tmp_path).newest(15)] == list(range(6, 21))


def test_seamless(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=3)
    looking = follower(tmp_path)
    assert len(looking.newest(1)) == 1
    assert looking.poll() == []
    built.append(2)
    assert [record.seq for record in looking.poll()] == [4, 5]
    built.append(1)
    built.rotate()
    built.append(1)
    built.rotate(days=1)
    built.append(1)
    built.compress(0)
    built.compress(1, ".gz")
    assert [record.seq for record in looking.poll()] == [6, 7, 8]
    built.compress(2, ".zst", keep_plain=True)
    assert looking.poll() == []
    other = write_log(tmp_path, "rbee-hive@gpu1", records=2)
    assert [record.log for record in looking.poll()] == ["rbee-hive@gpu1"] * 2
    for path in (built.path(0), built.path(1)):
        path.unlink()
    other.append(1)
    assert [record.seq for record in looking.poll()] == [3]


def test_seamless_when_nothing_was_asked_for_first(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=3)
    looking = follower(tmp_path)
    assert looking.newest(0) == []
    built.append(1)
    assert [record.seq for record in looking.poll()] == [4]


def test_whole_lines_only(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=2)
    (line,) = built.make(1)
    built.append_raw(line[:50])
    looking = follower(tmp_path)
    assert [record.seq for record in looking.newest(5)] == [1, 2]
    assert looking.poll() == []
    built.append_raw(line[50:])
    assert [record.seq for record in looking.poll()] == [3]


def test_a_line_that_is_no_record_is_told_and_stepped_over(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=1)
    offset = built.active.stat().st_size
    built.append_raw(b"not a record\n")
    built.append(1)
    told: list[tuple[str, int]] = []
    assert [record.seq for record in follower(tmp_path, told).newest(9)] == [1, 2]
    assert told == [(built.active.name, offset)]


def test_only_wanted_logs_are_read(tmp_path: Path) -> None:
    write_log(tmp_path, records=1)
    write_log(tmp_path, "rbee-hive@gpu1", records=1)
    looking = Follower([tmp_path], lambda *_: None, lambda log: log.startswith("rbee"))
    assert {record.log for record in looking.newest(9)} == {"rbee-hive@gpu1"}
