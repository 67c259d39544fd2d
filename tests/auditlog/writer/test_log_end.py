from __future__ import annotations

import datetime as dt
import errno
import os
from pathlib import Path

import pytest

from auditlog import durable_fs
from auditlog.errors import LogFailed
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.reading.inventory import STATE_DIRECTORY
from auditlog.writer.log_end import LogEnd
from auditlog.writer.recovery import known_head
from auditlog.writer.ticket import Commit

LOG = LogId("queen-rbee", "hive1")
FIRST = SegmentName(LOG, dt.date(2026, 11, 23), 1)
SECOND = SegmentName(LOG, dt.date(2026, 11, 23), 2)


def commit_of(*lines: bytes, segment: SegmentName = FIRST, offset: int = 0) -> Commit:
    commit = Commit(segment, offset, 1)
    commit.lines += lines
    return commit


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / STATE_DIRECTORY).mkdir()
    return tmp_path


def test_noted(directory: Path) -> None:
    end = LogEnd(directory, 0o600)
    assert known_head(directory, LOG) is None
    assert end.write(commit_of(b"one\n", b"two\n")) is None
    assert known_head(directory, LOG) == FIRST
    assert end.write(commit_of(b"three\n", segment=SECOND)) is None
    assert known_head(directory, LOG) == SECOND
    end.close()
    assert (directory / FIRST.logical).read_bytes() == b"one\ntwo\n"
    assert (directory / SECOND.logical).read_bytes() == b"three\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_cut_back(directory: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    end = LogEnd(directory, 0o600)
    assert end.write(commit_of(b"one\n")) is None

    def half(fd: int, data: bytes) -> None:
        os.write(fd, data[: len(data) // 2])
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable_fs, "write_all", half)
    second = commit_of(b"two\n", offset=4)
    outcome = end.write(second)
    assert (directory / FIRST.logical).read_bytes() == b"one\n"
    monkeypatch.undo()
    if number == errno.ENOSPC:
        assert isinstance(outcome, OSError)
        assert end.write(second) is None
        assert (directory / FIRST.logical).read_bytes() == b"one\ntwo\n"
    else:
        assert isinstance(outcome, LogFailed)
        assert (outcome.errno, outcome.offset) == (errno.EIO, 4)


def test_foreign_hands_are_seen_by_a_look(directory: Path) -> None:
    end = LogEnd(directory, 0o600)
    assert end.look() is None
    assert end.write(commit_of(b"one\n")) is None
    assert end.look() is None
    (directory / FIRST.logical).write_bytes(b"on")
    assert isinstance(end.look(), LogFailed)
