"""The file a log is being written to: durable, in one place, and noticed when others touch it."""

from __future__ import annotations

import datetime as dt
import errno
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psutil
import pytest

from auditlog.errors import LogFailed, UnsafePath
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.writer import active_segment as module
from auditlog.writer.active_segment import DISK_FULL, ActiveSegment
from tests.support.unmeasured import unmeasured

NAME = SegmentName(LogId("queen-rbee", "hive1"), dt.date(2026, 11, 23), 1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / NAME.logical


@pytest.fixture
def segment(tmp_path: Path) -> Iterator[ActiveSegment]:
    opened = ActiveSegment(tmp_path, NAME, 0, 0o600)
    opened.append(b"one line\n", 0)
    yield opened
    opened.close()


def by_another_process(code: str, *paths: Path) -> None:
    subprocess.run(
        [sys.executable, "-c", f"import os, sys; {code}", *paths], check=True, timeout=30
    )


def test_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []

    def noted(name: str) -> Callable[..., object]:
        real = getattr(os, name)

        def call(fd: int, *args: object) -> object:
            what = Path(f"/proc/self/fd/{fd}").readlink().name
            result = real(fd, *args)
            steps.append(f"{name} {'segment' if what == NAME.logical else what}")
            return result

        return call

    for name in ("write", "fdatasync", "fsync"):
        monkeypatch.setattr(os, name, noted(name))
    segment = ActiveSegment(tmp_path, NAME, 0, 0o600)
    segment.append(b"first\n", segment.end)
    assert steps == ["write segment", "fdatasync segment", f"fsync {tmp_path.name}"]
    steps.clear()
    segment.append(b"second\n", segment.end)
    assert steps == ["write segment", "fdatasync segment"]
    segment.close()
    steps.clear()
    again = ActiveSegment(tmp_path, NAME, 13, 0o600)
    again.append(b"third\n", again.end)
    again.close()
    assert steps == ["write segment", "fdatasync segment", f"fsync {tmp_path.name}"], (
        "whoever created it may have been killed before its name was durable"
    )


def test_durable_also_where_a_crash_left_the_name_without_content(
    tmp_path: Path, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path.touch(0o600)
    synced: list[Path] = []
    monkeypatch.setattr(module.durable_fs, "fsync_directory", synced.append)
    segment = ActiveSegment(tmp_path, NAME, 0, 0o600)
    segment.append(b"first\n", segment.end)
    segment.close()
    assert synced == [tmp_path]


def test_one_place(tmp_path: Path, path: Path) -> None:
    segment = ActiveSegment(tmp_path, NAME, 0, 0o600)
    lines = [b"%d\n" % number for number in range(20)]
    for line in lines:
        before = segment.end
        segment.append(line, segment.end)
        assert path.read_bytes()[before : segment.end] == line
    segment.close()
    segment.close()
    assert path.read_bytes() == b"".join(lines)
    again = ActiveSegment(tmp_path, NAME, segment.end, 0o600)
    again.append(b"more\n", again.end)
    again.close()
    assert path.read_bytes() == b"".join(lines) + b"more\n"


MOVE = "os.rename(sys.argv[1], sys.argv[1] + '.1');"
COPY = "import shutil; shutil.copy(sys.argv[1], sys.argv[1] + '.1');"


@pytest.mark.parametrize(
    ("code", "what"),
    [
        ("os.unlink(sys.argv[1])", "removed or renamed"),
        (MOVE, "removed or renamed"),
        (f"{MOVE} open(sys.argv[1], 'w')", "replaced"),
        (f"{MOVE} os.symlink(sys.argv[1] + '.1', sys.argv[1])", "replaced"),
        (f"{COPY} os.rename(sys.argv[1] + '.1', sys.argv[1])", "replaced"),
        ("os.truncate(sys.argv[1], 3)", "cut short"),
        ("os.truncate(sys.argv[1], 0)", "cut short"),
        ("open(sys.argv[1], 'a').write('hello')", "written to"),
    ],
)
@pytest.mark.parametrize("by_append", [False, True])
def test_one_place_that_others_touched_is_noticed(
    segment: ActiveSegment, path: Path, code: str, what: str, by_append: bool
) -> None:
    segment.check()
    by_another_process(code, path)
    notice = partial(segment.append, b"next\n", segment.end) if by_append else segment.check
    with pytest.raises(LogFailed, match=what) as refusal:
        notice()
    assert refusal.value.path == path
    assert "logrotate" in refusal.value.hint


@pytest.mark.parametrize("wrong", [-1, 1, 1000])
def test_one_place_of_another_length_than_recovered_is_refused(
    tmp_path: Path, path: Path, wrong: int
) -> None:
    path.write_bytes(b"0123456789")
    with pytest.raises(LogFailed, match="10 bytes"):
        ActiveSegment(tmp_path, NAME, 10 + wrong, 0o600)
    assert path.read_bytes() == b"0123456789"


def test_safe_open(tmp_path: Path, path: Path) -> None:
    target = tmp_path / "target"
    for exists in (False, True):
        if exists:
            target.write_bytes(b"precious\n")
        path.symlink_to(target)
        for end in (0, 9):
            with pytest.raises(OSError, match="symbolic link") as refusal:
                ActiveSegment(tmp_path, NAME, end, 0o600)
            assert refusal.value.errno == errno.ELOOP
        path.unlink()
    assert target.read_bytes() == b"precious\n"


def test_safe_open_of_a_pipe_neither_hangs_nor_succeeds(tmp_path: Path, path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(OSError, match="No such device"):
        ActiveSegment(tmp_path, NAME, 0, 0o600)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        with pytest.raises(UnsafePath, match="not a regular file"):
            ActiveSegment(tmp_path, NAME, 0, 0o600)
    finally:
        os.close(reader)


def test_safe_open_of_a_directory_is_refused(tmp_path: Path, path: Path) -> None:
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        ActiveSegment(tmp_path, NAME, 0, 0o600)


def test_safe_open_of_another_user_s_file_is_refused(
    public_directory: Path, as_nobody: Callable[[Callable[[], object]], str]
) -> None:
    path = public_directory / NAME.logical
    path.write_bytes(b"0123456789")
    os.chown(path, 12_345, 12_345)
    path.chmod(0o666)
    with pytest.raises(UnsafePath, match="uid 12345"):
        ActiveSegment(public_directory, NAME, 10, 0o600)
    answer = as_nobody(lambda: ActiveSegment(public_directory, NAME, 10, 0o600))
    assert answer.startswith("UnsafePath")
    os.chown(path, 0, 0)
    assert "ActiveSegment object" in as_nobody(
        lambda: ActiveSegment(public_directory, NAME, 10, 0o600)
    ), "root's is fine"


def test_a_refused_file_leaves_no_descriptor_open(tmp_path: Path, path: Path) -> None:
    path.write_bytes(b"0123456789")
    with pytest.raises(LogFailed):
        ActiveSegment(tmp_path, NAME, 5, 0o600)
    assert str(path) not in {file.path for file in psutil.Process().open_files()}


def test_what_a_full_disk_took_in_part_is_cut_back(small_disk: Path) -> None:
    segment = ActiveSegment(small_disk, NAME, 0, 0o600)
    segment.append(b"first\n", segment.end)
    with pytest.raises(OSError, match="No space left") as refusal:
        segment.append(b"x" * (1 << 20), segment.end)
    assert refusal.value.errno in DISK_FULL
    assert (small_disk / NAME.logical).stat().st_size > segment.end == 6, "a partial write"
    segment.cut_back()
    segment.check()
    segment.append(b"second\n", segment.end)
    segment.close()
    assert (small_disk / NAME.logical).read_bytes() == b"first\nsecond\n"


def test_an_error_that_does_not_pass_is_none_of_a_full_disk(tmp_path: Path, path: Path) -> None:
    code = """
import datetime as dt, resource, signal, sys
from pathlib import Path
from auditlog.writer.active_segment import DISK_FULL, ActiveSegment
from auditlog.format.segment_names import SegmentName
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
segment = ActiveSegment(Path(sys.argv[1]), SegmentName.parse(sys.argv[2]), 0, 0o600)
segment.append(b"first\\n", segment.end)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try:
    segment.append(b"x" * 1000, segment.end)
except OSError as error:
    print(error.errno, error.errno in DISK_FULL, segment.end)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path, NAME.logical],
        cwd=Path(module.__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
        env=unmeasured(),
    )
    assert done.stdout.split() == [str(errno.EFBIG), "False", "6"]
    assert path.stat().st_size == 100, "what was written is for recovery to cut"


def test_a_failed_sync_acknowledges_nothing(
    segment: ActiveSegment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", failing)
    before = segment.end
    with pytest.raises(OSError, match="Input/output error"):
        segment.append(b"next\n", segment.end)
    assert segment.end == before


def test_cut_back_after_a_failure_of_any_call_the_append_may_be_repeated(
    tmp_path: Path, crash_at: Callable[[int, Callable[[], object]], bool]
) -> None:
    for step in range(10):
        (tmp_path / str(step)).mkdir()
        segment = ActiveSegment(tmp_path / str(step), NAME, 0, 0o600)
        segment.append(b"first\n", 0)
        failed = crash_at(step, partial(segment.append, b"second\n", 6))
        if not failed:
            break
        segment.cut_back()
        assert (tmp_path / str(step) / NAME.logical).read_bytes() == b"first\n"
        segment.append(b"second\n", 6)
        segment.append(b"third\n", 13)
        segment.close()
        assert (tmp_path / str(step) / NAME.logical).read_bytes() == b"first\nsecond\nthird\n"
    segment.close()
    assert not failed
    assert step > 1


def test_bytes_for_another_place_are_refused(segment: ActiveSegment, path: Path) -> None:
    for offset in (0, segment.end - 1, segment.end + 1):
        with pytest.raises(LogFailed, match="would go to byte 9"):
            segment.append(b"next\n", offset)
    assert path.read_bytes() == b"one line\n"


def test_what_others_cut_short_is_not_filled_up_with_zeros(
    segment: ActiveSegment, path: Path
) -> None:
    os.truncate(path, 3)
    segment.cut_back()
    assert path.read_bytes() == b"one"
    with pytest.raises(LogFailed, match="cut short"):
        segment.check()
