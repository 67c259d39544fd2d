from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING

from auditlog.archived import ArchiveMemory
from shippers.archive.options import ArchiveOptions
from shippers.archive.status import ArchiveStatus, UnfinishedLog, state_of, waiting
from tests.support.logs import LogBuilder

if TYPE_CHECKING:
    from pathlib import Path

NOW = dt.datetime(2026, 12, 1, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def written(path: Path, hours_ago: int) -> None:
    at = (NOW - hours_ago * HOUR).timestamp()
    os.utime(path, (at, at))


def seen(directory: Path) -> ArchiveStatus:
    options = ArchiveOptions(bucket="b", late_after=6 * HOUR)
    with ArchiveMemory(directory / "state") as memory:
        return state_of([directory, directory / "missing"], memory, options, NOW)


def test_finished(tmp_path: Path) -> None:
    log = LogBuilder(tmp_path)
    for _ in range(3):
        log.append(2)
        log.rotate()
    log.append(2)
    with ArchiveMemory(tmp_path / "state") as memory:
        assert [each.path for each in waiting([tmp_path], memory)] == log.paths[:3]
        log.compress(3, keep_plain=True)
        assert [each.path for each in waiting([tmp_path], memory)] == log.paths[:3]
        log.active.unlink()
        assert len(waiting([tmp_path], memory)) == 4, "no writer appends to a compressed one"
    for hours_ago, late in ((5, False), (7, True)):
        for index in range(4):
            written(log.path(index), hours_ago)
        status = seen(tmp_path)
        assert (status.waiting, status.late) == (4, late)
        assert status.oldest_at == NOW - hours_ago * HOUR


def test_unfinished(tmp_path: Path) -> None:
    for hours_ago, service in enumerate(("queen-rbee", "rbee-hive", "worker"), 1):
        log = LogBuilder(tmp_path, f"{service}@hive1")
        log.append(1)
        written(log.active, hours_ago)
    log.compress(0)
    assert seen(tmp_path).unfinished == (
        UnfinishedLog("rbee-hive@hive1", NOW - 2 * HOUR),
        UnfinishedLog("queen-rbee@hive1", NOW - HOUR),
    )
