"""The log of tombstones."""

from __future__ import annotations

import errno
import os
import threading
from typing import TYPE_CHECKING, Any

import pytest

from auditlog import durable_fs
from auditlog.errors import AuditLogError, LogLocked
from auditlog.format.segment_names import LogId
from auditlog.format.tombstones import SEGMENT_DELETED
from auditlog.reading.inventory import scan
from auditlog.reading.reader import read
from auditlog.verification.verify import tombstones_in
from auditlog.writer.opening import open_log
from retention import tombstone
from retention.content import inspect
from retention.policy import Policy
from retention.proofs import ProofLog

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.logs import LogBuilder


def details_of(built: LogBuilder, index: int) -> dict[str, Any]:
    path = built.paths[index]
    content, _ = inspect(path, "", LogId.parse(built.log), threading.Event())
    return tombstone.details(
        built.log, path.name, content, cursor={}, policy=Policy(), by="schedule"
    )


def buried(directory: Path) -> list[str]:
    return [found.segment for found in tombstones_in(scan(directory).logs)]


def test_durable(daily: LogBuilder, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    fdatasync = durable_fs.fdatasync

    def note(fd: int) -> None:
        fdatasync(fd)
        synced.extend(buried(daily.directory))

    monkeypatch.setattr(durable_fs, "fdatasync", note)
    with ProofLog(daily.directory, "hive1") as proofs:
        proofs.bury(details_of(daily, 0), actor="alice")
        assert synced[-1:] == [daily.paths[0].name]


def test_once(daily: LogBuilder) -> None:
    for _ in range(2):
        with ProofLog(daily.directory, "hive1") as proofs:
            for index in (0, 1, 0):
                proofs.bury(details_of(daily, index), actor="alice")
    assert buried(daily.directory) == [daily.paths[0].name, daily.paths[1].name]


def test_a_run_without_deletions_writes_nothing(daily: LogBuilder) -> None:
    before = sorted(daily.directory.iterdir())
    with ProofLog(daily.directory, "hive1"):
        pass
    assert sorted(daily.directory.iterdir()) == before


def test_a_tombstone_says_who_and_what(daily: LogBuilder) -> None:
    with ProofLog(daily.directory, "hive1") as proofs:
        proofs.bury(details_of(daily, 0), actor="alice")
    own = scan(daily.directory).logs[LogId("retention", "hive1")]
    found = [record for record in read(own[0].path) if record.event_type == SEGMENT_DELETED]
    assert found[0].fields["actor"]["user_id"] == "alice"
    assert found[0].fields["resource"]["resource_id"] == daily.paths[0].name
    assert found[0].fields["details"] == details_of(daily, 0)


def test_a_log_that_another_process_writes_is_an_error(daily: LogBuilder) -> None:
    with (
        open_log(daily.directory, service="retention", host="hive1"),
        ProofLog(daily.directory, "hive1") as proofs,
        pytest.raises(LogLocked),
    ):
        proofs.bury(details_of(daily, 0), actor="alice")


@pytest.mark.parametrize("number", [errno.EIO, errno.EROFS])
def test_a_disk_that_fails_is_an_error(
    daily: LogBuilder, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fail(_fd: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(durable_fs, "fdatasync", fail)
    with pytest.raises((AuditLogError, OSError)), ProofLog(daily.directory, "hive1") as proofs:
        proofs.bury(details_of(daily, 0), actor="alice")


@pytest.mark.parametrize("mode", [0o700, 0o750])
def test_who_may_read_the_directory_may_read_the_proofs(daily: LogBuilder, mode: int) -> None:
    daily.directory.chmod(mode)
    with ProofLog(daily.directory, "hive1") as proofs:
        proofs.bury(details_of(daily, 0), actor="alice")
    own = scan(daily.directory).logs[LogId("retention", "hive1")]
    assert own[0].path.stat().st_mode & 0o777 == mode & 0o640
