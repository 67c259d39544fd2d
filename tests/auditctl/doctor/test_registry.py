"""Test the findings of doctor about logs that others know."""

from __future__ import annotations

import datetime as dt
from pathlib import Path

import pytest

from auditctl.doctor.registry import check_registry
from auditlog.cursors import Cursor, CursorStore
from tests.support.logs import LogBuilder, write_log


@pytest.fixture
def log(tmp_path: Path) -> LogBuilder:
    """Two segments with three records each, of which a sink acknowledged all."""
    log = write_log(tmp_path / "audit", records=3, segments=2)
    last = log.headers[-1]
    size = log.paths[1].stat().st_size
    cursor = Cursor(log.log, log.paths[1].name, size, last.seq, last.hash, dt.datetime.now(dt.UTC))
    CursorStore(tmp_path / "state").save("main", cursor)
    return log


def found(log: LogBuilder) -> list[tuple[str, str]]:
    state = log.directory.parent / "state"
    return [(each.state, each.detail) for each in check_registry([log.directory], state)]


def test_a_log_that_is_all_there_is_ok(log: LogBuilder) -> None:
    assert found(log) == [("ok", "queen-rbee@hive1: all that is known of it is there")]


def test_a_tail_that_is_missing_fails(log: LogBuilder) -> None:
    log.paths[1].write_bytes(log.lines[3])
    ((state, detail),) = found(log)
    assert state == "fail"
    assert "tail_missing: the files end at seq 4" in detail
    assert "the cursor of sink main knows it up to seq 6" in detail


def test_a_log_that_is_missing_fails(log: LogBuilder) -> None:
    for path in log.paths:
        path.unlink()
    ((state, detail),) = found(log)
    assert state == "fail"
    assert "missing_log: no segment of it is left" in detail


def test_a_log_without_any_record_fails_where_one_was_known(log: LogBuilder) -> None:
    for path in log.paths:
        path.write_bytes(b"")
    ((state, detail),) = found(log)
    assert (state, "tail_missing: the files hold no record" in detail) == ("fail", True)


def test_no_log_at_all_is_ok(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    (only,) = check_registry([tmp_path / "audit"], tmp_path / "state")
    assert (only.state, only.detail) == ("ok", "no log is known yet")
