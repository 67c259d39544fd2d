"""Listing a directory by its file names alone."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditlog.format.segment_names import LogId, SegmentName, is_segment_name
from auditlog.reading.inventory import home_of, scan

LOGS = ("queen-rbee@hive1", "queen-rbee@hive1+2", "rbee-hive@gpu.example.org")
segment_names = st.builds(
    lambda log, day, part, form: f"{log}.2026-11-{day:02d}.{part:04d}.ndjson{form}",
    st.sampled_from(LOGS),
    st.integers(1, 30),
    st.sampled_from([1, 2, 9, 10, 9_999, 10_000]),
    st.sampled_from(["", ".zst", ".gz"]),
)
other_names = st.sampled_from(
    ["audit.ndjson", "queen-rbee@hive1.2026-11-01.1.ndjson", "notes", ".hidden", ".auditlog",
     ".queen-rbee@hive1.2026-11-01.0001.ndjson.zst.tmp", "a@b.2026-11-31.0001.ndjson"]
)  # fmt: skip


@given(names=st.sets(st.one_of(segment_names, other_names), max_size=25))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
)
def test_partition(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    directory = tmp_path_factory.mktemp("audit")
    for name in names:
        (directory / name).write_bytes(b"x")
    inventory = scan(directory)
    listed = [
        segment.name.logical + form
        for segments in inventory.logs.values()
        for segment in segments
        for form in segment.forms
    ]
    foreign = [path.name for path in inventory.foreign]
    hidden = [name for name in names if name.startswith(".")]
    assert sorted(listed + foreign + hidden) == sorted(names)
    assert all(is_segment_name(name) for name in listed)


@given(names=st.sets(segment_names, min_size=1, max_size=25))
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=40,
)
def test_write_order(tmp_path_factory: pytest.TempPathFactory, names: set[str]) -> None:
    directory = tmp_path_factory.mktemp("audit")
    for name in names:
        (directory / name).write_bytes(b"x")
    logs = scan(directory).logs
    assert set(logs) == {SegmentName.parse(name).log for name in names}
    for log, segments in logs.items():
        order = [(segment.name.day, segment.name.part) for segment in segments]
        assert order == sorted(set(order))
        assert all(segment.name.log == log for segment in segments)


_AT_WORK = """
import os, sys
directory, count, task = sys.argv[1:]
os.chdir(directory)
for part in range(1, int(count) + 1):
    if part % (int(count) // 20) == 0:
        os.read(0, 1)  # it is not done before it was looked at so many times
    name = f"a@b.2026-11-23.{part:04d}.ndjson"
    os.close(os.open(".new", os.O_CREAT))
    os.rename(".new", name + {"write": "", "compress": ".zst", "decompress": ""}[task])
    if task != "write":
        os.unlink(name + {"compress": "", "decompress": ".zst"}[task])
"""


@pytest.mark.parametrize(
    ("tasks", "count"),
    [(["write"], 4000), (["write", *["compress", "decompress"] * 4], 600)],
    ids=["write", "compress"],
)
def test_complete(tmp_path: Path, tasks: list[str], count: int) -> None:
    """complete: a segment that is there throughout, in one form and then in another, is listed, and
    so is every segment before one that is listed
    """
    looks = 0
    for task in tasks:
        # Each in its own process, so that nothing changes its form twice while it is looked at.
        with subprocess.Popen(
            [sys.executable, "-c", _AT_WORK, tmp_path, str(count), task], stdin=subprocess.PIPE
        ) as other:
            assert other.stdin is not None
            while other.poll() is None:
                parts = [s.name.part for found in scan(tmp_path).logs.values() for s in found]
                assert parts == [*range(1, len(parts) + 1)]
                assert task == "write" or len(parts) == count
                looks += 1
                with contextlib.suppress(BrokenPipeError):  # it is done
                    os.write(other.stdin.fileno(), b".")
        assert other.returncode == 0
    assert looks >= 20


def test_both_forms_are_one_segment_and_the_plain_one_is_preferred(tmp_path: Path) -> None:
    name = "a@b.2026-11-23.0001.ndjson"
    for form, size in ((".gz", 1), (".zst", 2), ("", 3)):
        (tmp_path / (name + form)).write_bytes(b"x" * size)
        ((segment,),) = scan(tmp_path).logs.values()
        assert (segment.name.compression, segment.size_bytes) == (form, size)
        assert segment.path == tmp_path / (name + form)
    assert segment.forms == ("", ".zst", ".gz")
    assert segment.form_path(".gz") == tmp_path / f"{name}.gz"


def test_a_symlink_a_directory_and_a_pipe_of_a_segments_name_are_foreign(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"")
    link = tmp_path / "a@b.2026-11-23.0001.ndjson"
    dangling = tmp_path / "a@b.2026-11-23.0002.ndjson"
    directory = tmp_path / "a@b.2026-11-23.0003.ndjson"
    pipe = tmp_path / "a@b.2026-11-23.0004.ndjson"
    link.symlink_to("real")
    dangling.symlink_to("nowhere")
    directory.mkdir()
    os.mkfifo(pipe)
    inventory = scan(tmp_path)
    assert inventory.logs == {}
    assert set(inventory.foreign) == {link, dangling, directory, pipe, tmp_path / "real"}


def test_a_name_that_is_not_utf8_is_foreign(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff@b.2026-11-23.0001.ndjson"
    Path(os.fsdecode(path)).touch()
    assert len(scan(tmp_path).foreign) == 1


def test_a_log_has_the_directory_that_holds_it_or_the_first_that_may_be_written(
    tmp_path: Path,
) -> None:
    directories = [tmp_path / name for name in ("missing", "empty", "other", "home")]
    for directory in directories[1:]:
        directory.mkdir()
    log, longer = LogId("queen", "hive1"), LogId("queen", "hive1.example")
    (directories[2] / str(SegmentName(longer, dt.date(2026, 11, 23), 1))).touch()
    assert home_of(log, directories) == directories[1]
    (directories[3] / str(SegmentName(log, dt.date(2026, 11, 23), 1))).touch()
    assert home_of(log, directories) == directories[3]
    assert home_of(longer, directories) == directories[2]
    assert home_of(log, directories[:1]) == directories[0]


def test_a_missing_directory_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        scan(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        scan(tmp_path / "file")


def test_only_names_with_a_beginning_are_listed_where_one_is_given(tmp_path: Path) -> None:
    for log in ("queen-rbee@hive1", "retention@hive1", "retention@hive2"):
        (tmp_path / f"{log}.2026-11-23.0001.ndjson").touch()
    (tmp_path / "notes").touch()
    found = scan(tmp_path, "retention@")
    assert [str(log) for log in found.logs] == ["retention@hive1", "retention@hive2"]
    assert found.foreign == ()
