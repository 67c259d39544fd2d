"""Where a log goes on after whatever happened to its end."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auditlog.errors import LogDamaged, LogFailed
from auditlog.format.record import MAX_RECORD_BYTES, parse_header
from auditlog.format.segment_names import LogId
from auditlog.reading.head_note import remember_head
from auditlog.verification.verify import verify
from auditlog.writer.flush_policy import MAX_COMMIT_BYTES
from auditlog.writer.recovery import Recovered, recover
from tests.support.logs import LogBuilder, make_line, write_log

LOG = LogId("queen-rbee", "hive1")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ".auditlog").mkdir()
    return tmp_path


def everything_in(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def go_on(log: LogBuilder, found: Recovered) -> None:
    """Append where recovery says, as the writer does."""
    line, _ = make_line(str(LOG), found.seq + 1, found.hash, at=log.at)
    name = found.empty or found.segment or log.names[0]
    with (log.directory / name.logical).open("ab") as file:
        file.write(line)


def test_goes_on(directory: Path) -> None:
    log = write_log(directory, records=2, segments=2)
    whole = log.active.read_bytes()
    ends = [0, len(log.lines[2]), len(whole)]
    for cut in range(len(whole) + 1):
        log.active.write_bytes(whole[:cut])
        found = recover(directory, LOG)
        count = max(index for index, end in enumerate(ends) if end <= cut)
        assert found.seq == 2 + count, cut
        assert found.hash == log.headers[1 + count].hash
        assert found.timestamp == log.headers[1 + count].timestamp
        if count:
            assert (found.segment, found.size, found.empty) == (log.names[1], ends[count], None)
        else:
            assert (found.segment, found.empty) == (log.names[0], log.names[1])
            assert found.size == log.paths[0].stat().st_size
        assert log.active.stat().st_size == ends[count]
        assert (found.torn is None) == (cut in ends)
        go_on(log, found)
        assert verify(directory).ok, cut


def test_goes_on_in_the_first_segment_too(directory: Path) -> None:
    log = write_log(directory, records=1)
    whole = log.active.read_bytes()
    for cut in (0, 1, len(whole) - 1):
        log.active.write_bytes(whole[:cut])
        found = recover(directory, LOG)
        assert (found.segment, found.seq, found.empty) == (None, 0, log.names[0])
        go_on(log, found)
        assert verify(directory).ok
    assert recover(directory, LogId("new", "log")) == Recovered()


@given(
    records=st.integers(1, 6),
    pad=st.sampled_from([0, 500, MAX_RECORD_BYTES - 600]),
    torn=st.one_of(
        st.binary(max_size=200).filter(lambda rest: b"\n" not in rest),
        st.integers(1, MAX_COMMIT_BYTES).map(bytes),
        st.integers(1, 100_000).map(lambda size: bytes(size) + b"tail\n"),
    ),
)
@settings(max_examples=40)
def test_goes_on_behind_holes_and_garbage_of_any_length(
    tmp_path_factory: pytest.TempPathFactory, records: int, pad: int, torn: bytes
) -> None:
    directory = tmp_path_factory.mktemp("audit")
    (directory / ".auditlog").mkdir()
    log = write_log(directory, records=records, details={"pad": "x" * pad})
    size = log.active.stat().st_size
    log.append_raw(torn)
    found = recover(directory, LOG)
    assert (found.seq, found.size) == (records, size)
    go_on(log, found)
    assert verify(directory).ok


def test_goes_on_past_several_segments_that_crashes_left_empty(directory: Path) -> None:
    """The second is left when the log is opened on a later day and crashes again at once."""
    log = write_log(directory, records=2)
    for _ in range(3):
        log.rotate(days=1)
    found = recover(directory, LOG)
    assert (found.segment, found.seq, found.empty) == (log.names[0], 2, log.names[3])
    go_on(log, found)
    assert verify(directory).ok


def test_goes_on_reading_no_more_than_the_tail(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = write_log(directory, records=2000, details={"pad": "x" * 1000})
    content = bytearray(log.active.read_bytes())
    content[10] ^= 1  # damage far before the tail is verify's to find
    log.active.write_bytes(content)
    assert recover(directory, LOG).seq == 2000
    assert not verify(directory).ok


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_goes_on_behind_a_newest_segment_that_somebody_compressed(
    directory: Path, form: str
) -> None:
    log = write_log(directory, records=3, segments=2)
    size = log.active.stat().st_size
    log.compress(1, form)
    found = recover(directory, LOG)
    assert (found.segment, found.size, found.seq) == (log.names[1], size, 6)
    assert (found.hash, found.timestamp) == (log.hash, log.headers[-1].timestamp)
    assert not found.appendable
    log.compress(0, form)
    log.rotate()
    found = recover(directory, LOG)
    assert (found.segment, found.empty) == (log.names[1], log.names[2])


def test_keeps_bytes(directory: Path) -> None:
    log = write_log(directory, records=2)
    torn = log.make()[0][:-10]
    log.append_raw(torn)
    size = sum(map(len, log.lines))
    found = recover(directory, LOG).torn
    assert found is not None
    assert (found.segment, found.offset, found.size_bytes) == (log.active.name, size, len(torn))
    assert found.sha256 == hashlib.sha256(torn).hexdigest()
    assert (directory / ".auditlog" / found.kept).read_bytes() == torn
    assert recover(directory, LOG).torn is None, "it was cut"


def test_keeps_bytes_whenever_recovery_itself_is_interrupted(
    directory: Path, crash_at: Callable[[int, Callable[[], object]], bool]
) -> None:
    log = write_log(directory, records=2)
    torn = log.make()[0][:-10]
    whole = b"".join(log.lines)
    for step in range(20):
        for path in (directory / ".auditlog").iterdir():
            path.unlink()
        log.active.write_bytes(whole + torn)
        crashed = crash_at(step, lambda: recover(directory, LOG))
        kept = (
            directory
            / ".auditlog"
            / (f"{log.active.name}.{len(whole)}.{sha256(torn).hexdigest()[:12]}.torn")
        )
        if log.active.stat().st_size == len(whole):
            assert kept.read_bytes() == torn, "kept before it is cut"
        assert recover(directory, LOG).seq == 2
        assert kept.read_bytes() == torn
        assert log.active.read_bytes() == whole
        if not crashed:
            break
    assert not crashed


def changed(content: bytes, position: int) -> bytes:
    result = bytearray(content)
    result[position] ^= 0x01
    return bytes(result)


def test_refuses(directory: Path) -> None:
    """A changed byte in any whole line of the last segment, and nothing is touched."""
    log = write_log(directory, records=3)
    whole = log.active.read_bytes()
    for position in range(len(whole) - 1):
        log.active.write_bytes(changed(whole, position))
        before = everything_in(directory)
        with pytest.raises(LogDamaged) as refusal:
            recover(directory, LOG)
        assert everything_in(directory) == before
        assert refusal.value.path == log.active
        assert refusal.value.offset == whole.rfind(b"\n", 0, position) + 1 or position in (
            len(log.lines[0]) - 1,
            len(log.lines[0] + log.lines[1]) - 1,
        )
        assert "Nothing was changed" in str(refusal.value)
        assert "auditctl verify" in str(refusal.value)


def test_refuses_before_it_cuts_anything(directory: Path) -> None:
    """The newest segment is torn, the one before it damaged: both stay as they are."""
    log = write_log(directory, records=2, segments=2)
    log.active.write_bytes(log.lines[2][:50])
    log.paths[0].write_bytes(changed(log.paths[0].read_bytes(), 300))
    before = everything_in(directory)
    with pytest.raises(LogDamaged):
        recover(directory, LOG)
    assert everything_in(directory) == before


@pytest.mark.parametrize("newer", ["records", "nothing", "torn"])
def test_refuses_a_torn_end_before_a_newer_segment(directory: Path, newer: str) -> None:
    """A new segment begins only when the one before is durable, so no crash tears that."""
    log = write_log(directory, records=2)
    log.append_raw(b"torn")
    log.rotate()
    if newer == "torn":
        log.append_raw(b"torn too")
    before = everything_in(directory)
    if newer == "records":
        log.append()
        assert recover(directory, LOG).seq == 3, "only the newest is read; verify finds the rest"
        assert not verify(directory).ok
        return
    with pytest.raises(LogDamaged, match="torn end"):
        recover(directory, LOG)
    assert everything_in(directory) == before


@pytest.mark.parametrize(
    "line",
    [
        b"hello from a shell\n",
        b"\n",
        make_line("other@hive1", 3)[0],
        make_line(str(LOG), 3, "ab" * 32)[0],
        make_line(str(LOG), 7, "ab" * 32)[0],
    ],
    ids=["text", "empty", "foreign", "unchained", "gap"],
)
def test_refuses_a_whole_line_that_is_not_the_next_record(directory: Path, line: bytes) -> None:
    log = write_log(directory, records=2)
    size = log.active.stat().st_size
    log.append_raw(line)
    before = everything_in(directory)
    with pytest.raises(LogDamaged) as refusal:
        recover(directory, LOG)
    assert refusal.value.offset == size
    assert everything_in(directory) == before


@pytest.mark.parametrize("form", [".zst", ".gz"])
def test_refuses_a_compressed_newest_segment_that_is_damaged(directory: Path, form: str) -> None:
    log = write_log(directory, records=3)
    path = log.compress(0, form)
    whole = path.read_bytes()
    for content in (whole[:-5], whole[: len(whole) // 2], b""):
        path.write_bytes(content)
        with pytest.raises(LogDamaged):
            recover(directory, LOG)
        assert path.read_bytes() == content


def test_not_forgotten(directory: Path) -> None:
    log = write_log(directory, records=2, segments=3, days=1)
    remember_head(directory, log.names[2])
    assert recover(directory, LOG).seq == 6
    for index in (2, 1, 0):
        log.paths[index].unlink()
        with pytest.raises(LogDamaged) as refusal:
            recover(directory, LOG)
        assert refusal.value.path == log.paths[2]
        assert f"{LOG}.head" in refusal.value.hint
        assert ("none" if index == 0 else log.paths[index - 1].name) in refusal.value.reason


def test_not_forgotten_when_its_records_are_gone(directory: Path) -> None:
    """The note is written behind the first durable record: a crash cannot empty that segment."""
    log = write_log(directory, records=2, segments=2)
    remember_head(directory, log.names[1])
    for content in (b"", log.lines[2][:50]):
        log.active.write_bytes(content)
        before = everything_in(directory)
        with pytest.raises(LogDamaged, match="records it had are gone"):
            recover(directory, LOG)
        assert everything_in(directory) == before
    log.active.write_bytes(b"".join(log.lines[2:]))
    log.rotate()
    assert recover(directory, LOG).empty == log.names[2], "newer than the note: a crash's"


@pytest.mark.parametrize("state", ["new", "records", "torn", "compressed"])
def test_durable_base(directory: Path, monkeypatch: pytest.MonkeyPatch, state: str) -> None:
    """A writer that was killed may have written what is read here, and never synced it."""
    synced: list[Path] = []

    def noted(fd: int) -> None:
        synced.append(Path(f"/proc/self/fd/{fd}").readlink())

    log = None if state == "new" else write_log(directory, records=2)
    if log is not None and state == "torn":
        log.append_raw(b"torn")
    if log is not None and state == "compressed":
        log.compress(0)
    monkeypatch.setattr(os, "fdatasync", noted)
    monkeypatch.setattr(os, "fsync", noted)
    recover(directory, LOG)
    assert directory in synced
    if log is not None and state != "compressed":
        assert synced[-2:] == [log.active, directory], "the bytes, then the name"


def test_durable_base_that_cannot_be_had_opens_no_log(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(fd: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    write_log(directory, records=2)
    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(LogFailed, match="Input/output error"):
        recover(directory, LOG)


def test_other_logs_in_the_directory_are_left_alone(directory: Path) -> None:
    other = write_log(directory, "rbee-hive@gpu-1", records=2)
    other.append_raw(b"torn")
    log = write_log(directory, records=2)
    assert recover(directory, LOG).seq == 2
    assert other.active.read_bytes().endswith(b"torn")
    header = parse_header(log.lines[-1])
    assert header is not None
    assert recover(directory, LOG).hash == header.hash


def test_a_segment_that_cannot_be_cut_is_an_os_error_and_unchanged(directory: Path) -> None:
    log = write_log(directory, records=2)
    log.append_raw(b"torn")
    whole = log.active.read_bytes()
    (directory / ".auditlog").rename(directory / "elsewhere")
    with pytest.raises(FileNotFoundError):
        recover(directory, LOG)
    assert log.active.read_bytes() == whole
