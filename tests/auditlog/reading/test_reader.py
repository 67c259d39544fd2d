"""Reading back: every form, whole lines, bounded memory, and no silence about what is missing."""

from __future__ import annotations

import gzip
import io
import os
import tracemalloc
from pathlib import Path
from typing import BinaryIO, cast

import psutil
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from auditlog.errors import AuditLogError, InvalidName, LogDamaged
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import (
    bounds,
    iter_lines,
    open_any_form,
    open_segment,
    records_of,
    segments_of,
)
from auditlog.reading.selection import read
from auditlog.verification.verify import verify
from tests.support.logs import LogBuilder, write_log

FORMS = ("", ".zst", ".gz")
PACKED = FORMS[1:]


class Drops(io.RawIOBase):
    """A stream that gives few bytes at a time, as a pipe or a decompressor may."""

    def __init__(self, content: bytes, size: int) -> None:
        self._content = content
        self._size = size

    def read(self, _size: int = -1, /) -> bytes:
        given, self._content = self._content[: self._size], self._content[self._size :]
        return given


def only_segment(directory: Path) -> SegmentFile:
    ((segment,),) = scan(directory).logs.values()
    return segment


def packed(form: str, content: bytes) -> bytes:
    if form == ".zst":
        return zstandard.ZstdCompressor(write_checksum=True).compress(content)
    return gzip.compress(content)


@pytest.mark.parametrize("form", FORMS)
def test_all_forms(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=50)
    if form:
        log.compress(0, form)
    segment = only_segment(tmp_path)
    with open_segment(segment.path) as stream:
        got = list(iter_lines(stream))
    assert [line for _, line in got] == log.lines
    offset = 0
    for at, line in got:
        assert at == offset
        offset += len(line)
    assert [record.line for record in read(tmp_path, log_events=True)] == log.lines
    assert [record.line for record in read(segment.path, log_events=True)] == log.lines


@pytest.mark.parametrize("form", PACKED)
def test_all_forms_also_of_several_frames(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=50)
    content = log.active.read_bytes()
    third = len(content) // 3
    pieces = [content[:third], content[third : 2 * third], content[2 * third :]]
    log.compress(0, form).write_bytes(b"".join(packed(form, piece) for piece in pieces))
    assert [record.line for record in read(tmp_path, log_events=True)] == log.lines


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.integers(1, 40))
def test_whole(lines: list[bytes], size: int) -> None:
    content = b"\n".join(lines)
    got = list(iter_lines(cast("BinaryIO", Drops(content, size)), offset=7))
    assert b"".join(line for _, line in got) == content
    assert all(line.endswith(b"\n") and line.count(b"\n") == 1 for _, line in got[:-1])
    offset = 7
    for at, line in got:
        assert at == offset
        offset += len(line)


@pytest.mark.parametrize("form", FORMS)
def test_bounded(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=3)
    content = log.active.read_bytes()
    size = 64 << 20  # one line of zeros, as a file system leaves behind a crash, then a record
    with log.active.open("r+b") as file:
        file.seek(len(content) + size)
        file.write(b"\n" + log.make()[0])
    path = log.compress(0, form) if form else log.active
    tracemalloc.start()
    try:
        with open_segment(path) as stream:
            got = [(offset, len(line)) for offset, line in iter_lines(stream)]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < (size // 16 if form == ".gz" else size // 2)
    assert len(got) == 5
    assert got[4][0] == len(content) + size + 1, "the offset behind the long line is right"
    assert got[3][1] > MAX_RECORD_BYTES + 1, "no part of it can pass for a record"


@pytest.mark.parametrize("form", PACKED)
def test_a_compressed_segment_cut_at_any_byte_is_damaged(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=5)
    path = log.compress(0, form)
    whole = path.read_bytes()
    for cut in range(len(whole)):
        path.write_bytes(whole[:cut])
        with pytest.raises(LogDamaged, match="cannot be decompressed"):
            list(read(tmp_path, log_events=True))
        with pytest.raises(LogDamaged, match="cannot be decompressed"):
            bounds(only_segment(tmp_path))
        assert not verify(tmp_path).ok


@pytest.mark.parametrize("form", PACKED)
def test_a_compressed_segment_with_any_byte_changed_is_damaged_or_the_same(
    tmp_path: Path, form: str
) -> None:
    """A few bits of the two headers say nothing about the content (gzip: time, system)."""
    log = write_log(tmp_path, records=3)
    path = log.compress(0, form)
    whole = path.read_bytes()
    harmless = 0
    for position in range(len(whole)):
        changed = bytearray(whole)
        changed[position] ^= 0x10
        path.write_bytes(changed)
        try:
            assert [record.line for record in read(tmp_path, log_events=True)] == log.lines
            harmless += 1
        except LogDamaged:
            continue
    assert harmless <= 10


def test_a_sealed_segment_without_its_end_is_damaged_and_not_silently_shorter(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=3, segments=2)
    os.truncate(log.paths[0], log.paths[0].stat().st_size - 5)
    with pytest.raises(LogDamaged) as refusal:
        list(read(tmp_path, log_events=True))
    assert refusal.value.path == log.paths[0]
    assert refusal.value.offset == sum(map(len, log.lines[:2]))


def test_a_torn_tail_of_the_newest_segment_ends_the_log(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3, segments=2)
    other = write_log(tmp_path, "rbee-hive@gpu", records=2)
    log.append_raw(b'{"v":1,"log":"queen')
    assert [record.line for record in read(tmp_path, log_events=True)] == log.lines + other.lines


def test_a_changed_record_is_not_read_back(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3)
    log.active.write_bytes(log.active.read_bytes().replace(b"task-2", b"task-9"))
    found = read(tmp_path, log_events=True)
    next(found)
    with pytest.raises(LogDamaged, match="seq 2"):
        next(found)


@pytest.mark.parametrize("form", FORMS)
def test_bounds_are_the_first_and_the_last_record(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=700, segments=1, details={"pad": "x" * 300})
    if form:
        log.compress(0, form)
    ends = bounds(only_segment(tmp_path))
    first, last = log.headers[0], log.headers[-1]
    assert ends is not None
    assert (ends.first_seq, ends.first_prev_hash) == (1, first.prev_hash)
    assert (ends.last_seq, ends.last_hash, ends.records) == (700, last.hash, 700)
    assert ends.first_at < ends.last_at


@pytest.mark.parametrize("form", FORMS)
def test_bounds_hold_for_the_largest_records_and_a_torn_end(tmp_path: Path, form: str) -> None:
    log = write_log(tmp_path, records=1, details={"pad": ""})
    room = MAX_RECORD_BYTES + 1 - len(log.lines[0])
    log.append(8, details={"pad": "x" * room})
    assert len(log.lines[-1]) == MAX_RECORD_BYTES + 1
    log.append_raw(b"y" * MAX_RECORD_BYTES)
    if form:
        log.compress(0, form)
    ends = bounds(only_segment(tmp_path))
    assert ends is not None
    assert (ends.first_seq, ends.last_seq) == (1, 9)


def test_bounds_of_a_segment_without_a_whole_line_are_none(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=1)
    for content in (b"", b'{"v":1,"log":'):
        log.active.write_bytes(content)
        assert bounds(only_segment(tmp_path)) is None


def test_bounds_behind_a_long_run_of_zeros_are_damage_and_not_nothing(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3)
    log.append_raw(bytes(1 << 18))
    with pytest.raises(LogDamaged, match="no line ends"):
        bounds(only_segment(tmp_path))


def test_open_any_form_finds_what_retention_made_of_the_segment(tmp_path: Path) -> None:
    log = write_log(tmp_path, records=3)
    segment = only_segment(tmp_path)
    for form in PACKED:
        target = log.compress(0, form, keep_plain=True)
        plain = log.active.rename(tmp_path / "away")
        stream, path = open_any_form(segment)
        with stream:
            assert path == target
            assert stream.read() == b"".join(log.lines)
        plain.rename(log.active)
        target.unlink()
    log.active.unlink()
    with pytest.raises(FileNotFoundError):
        open_any_form(segment)


def test_a_symlink_is_not_read(tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=1)
    link = tmp_path / log.active.name
    link.symlink_to(log.active)
    with pytest.raises(OSError, match="symbolic link"):
        list(read(link, log_events=True))


def test_reading_a_segment_that_was_deleted_meanwhile_says_so(
    tmp_path: Path,
) -> None:
    log = write_log(tmp_path, records=1)
    (listed,) = segments_of(tmp_path)
    log.active.unlink()
    with pytest.raises(AuditLogError, match="deleted"):
        list(records_of(listed, last=True))


def test_a_path_that_is_no_segment_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InvalidName):
        list(read(tmp_path / "notes.txt", log_events=True))
    with pytest.raises(FileNotFoundError):
        list(read(tmp_path / "nowhere", log_events=True))


def test_a_closed_stream_leaves_no_descriptor_open(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path)
    log.append(3)
    for form in PACKED:
        log.compress(0, form, keep_plain=True)
    for form in FORMS:
        with open_segment(log.active.with_name(log.active.name + form)) as stream:
            stream.read(10)
    opened = {Path(file.path) for file in psutil.Process().open_files()}
    assert not opened & set(tmp_path.iterdir())
