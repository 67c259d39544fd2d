"""Segments written anew with stubs, in every form."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
import zstandard

from auditlog import durable_fs
from auditlog.format.erasures import stub_digest
from auditlog.reading.inventory import SegmentFile, scan
from auditlog.reading.reader import open_segment
from retention.errors import SegmentChanged, SegmentDamaged
from retention.policy import RetentionPolicy
from retention.rewrite import replace_records
from tests.support.erasures import stub
from tests.support.logs import LogBuilder, write_log

NEVER = threading.Event()


def segment_of(log: LogBuilder) -> SegmentFile:
    return next(iter(scan(log.directory).logs.values()))[0]


def erase(log: LogBuilder, *seqs: int) -> None:
    stubs = {seq: stub_digest(stub(log.lines[seq - 1])) for seq in seqs}
    replace_records(segment_of(log), stubs, RetentionPolicy(), NEVER)


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    return write_log(tmp_path, records=9, details={"name": "Ottilie"})


@pytest.mark.parametrize("forms", [("",), (".zst",), (".gz",), ("", ".zst"), ("", ".gz")])
def test_all_forms(log: LogBuilder, forms: tuple[str, ...]) -> None:
    """all_forms: no form of the segment holds an erased line; every other byte is the same"""
    for form in forms:
        if form:
            log.compress(0, form, keep_plain="" in forms)
    erase(log, 1, 5, 9)
    expected = [stub(line) if n in (0, 4, 8) else line for n, line in enumerate(log.lines)]
    there = sorted(path.name for path in log.directory.iterdir())
    assert there == sorted(f"{log.active.name}{form}" for form in forms)
    for form in forms:
        with open_segment(log.active.with_name(f"{log.active.name}{form}")) as stream:
            assert stream.read() == b"".join(expected)
    before = [path.stat().st_ino for path in log.directory.iterdir()]
    erase(log, 1, 5, 9)  # again: nothing is written
    assert [path.stat().st_ino for path in log.directory.iterdir()] == before


def test_either(log: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    """either: at any instant the segment is the old or the new one, whole"""
    old = log.active.read_bytes()
    new = old.replace(log.lines[4], stub(log.lines[4]))
    seen: list[bytes] = []
    for name in ("create_exclusive", "write_all", "fsync", "rename", "unlink", "fsync_directory"):
        real = getattr(durable_fs, name)

        def observed(*args: object, real: object = real) -> object:
            seen.append(log.active.read_bytes())
            result = real(*args)  # type: ignore[operator]  # the function of that name
            seen.append(log.active.read_bytes())
            return result

        monkeypatch.setattr(durable_fs, name, observed)
    erase(log, 5)
    assert set(seen) == {old, new}
    assert seen == sorted(seen, key=[old, new].index)


def test_attributes(log: LogBuilder) -> None:
    """attributes: mode, owner and modification time are those of the old segment"""
    log.active.chmod(0o640)
    os.utime(log.active, (1_700_000_000, 1_700_000_001))
    erase(log, 5)
    state = log.active.stat()
    assert (state.st_mode & 0o777, int(state.st_mtime)) == (0o640, 1_700_000_001)


@pytest.mark.parametrize("damage", ["byte", "torn", "other", "packed"])
def test_untouched(log: LogBuilder, damage: str) -> None:
    """untouched: a segment that is damaged or changes during the run stays as it is"""
    path, wrong = log.active, {5: stub_digest(stub(log.lines[4]))}
    if damage == "byte":
        path.write_bytes(path.read_bytes().replace(b"task_submitted", b"task_submittee", 1))
    elif damage == "torn":
        log.append_raw(b'{"v":1,')
    elif damage == "other":
        wrong = {5: stub_digest(stub(log.lines[3]))}
    else:
        path = log.compress(0)
        path.write_bytes(path.read_bytes()[:-9])
    before = path.read_bytes()
    with pytest.raises((SegmentDamaged, SegmentChanged)):
        replace_records(segment_of(log), wrong, RetentionPolicy(), NEVER)
    assert [(each.name, each.read_bytes()) for each in log.directory.iterdir()] == [
        (path.name, before)
    ]


def test_the_compressed_form_keeps_its_checksum(log: LogBuilder) -> None:
    packed = log.compress(0)
    erase(log, 2)
    assert zstandard.get_frame_parameters(packed.read_bytes()).has_checksum


def test_the_plain_form_which_readers_prefer_comes_last(
    log: LogBuilder, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.compress(0, keep_plain=True)
    renamed: list[str] = []
    real = durable_fs.rename

    def observed(source: Path, target: Path) -> None:
        renamed.append(target.name)
        real(source, target)

    monkeypatch.setattr(durable_fs, "rename", observed)
    erase(log, 5)
    assert renamed == [f"{log.active.name}.zst", log.active.name]
