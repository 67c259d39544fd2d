from __future__ import annotations

import datetime as dt
import time
from typing import TYPE_CHECKING

import auditlog
from auditctl.config.model import Config
from auditctl.doctor.disks import check_directory
from auditctl.survey.ahead import logs_ahead
from auditctl.survey.survey import survey
from auditlog.reading.inventory import scan

if TYPE_CHECKING:
    from pathlib import Path


def write(directory: Path, ahead: dt.timedelta) -> None:
    by = int(ahead.total_seconds()) * 10**9
    with auditlog.open(directory, service="s", host="h", clock=lambda: time.time_ns() + by) as log:
        log.emit("a.b")


def test_named(tmp_path: Path) -> None:
    write(tmp_path, dt.timedelta(days=3, hours=1))
    now = dt.datetime.now(dt.UTC)
    ((log, newest),) = logs_ahead(scan(tmp_path), now)
    assert str(log) == "s@h"
    assert newest - now > dt.timedelta(days=3)

    found = survey(Config(directories=(tmp_path,)), (tmp_path,), tmp_path / ".auditlog", now)
    (problem,) = found.logs[0].problems
    assert problem.startswith("its newest record is 3 d ahead of this host's clock")
    (clock,) = [result for result in check_directory(tmp_path) if result.check == "clock"]
    assert clock.state == "warn"
    assert "s@h has a record of" in clock.detail


def test_a_log_of_today_is_not_ahead(tmp_path: Path) -> None:
    write(tmp_path, dt.timedelta(hours=1))
    assert [*logs_ahead(scan(tmp_path), dt.datetime.now(dt.UTC))] == []


def test_succeeded(tmp_path: Path) -> None:
    write(tmp_path, dt.timedelta(days=400))
    now = dt.datetime.now(dt.UTC)
    assert len([*logs_ahead(scan(tmp_path), now)]) == 1
    write(tmp_path, dt.timedelta(0))
    assert {str(log) for log in scan(tmp_path).logs} == {"s@h", "s@h+s1"}
    assert [*logs_ahead(scan(tmp_path), now)] == []
