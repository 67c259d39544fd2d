from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import orjson

from auditctl.agent.alarms import AlarmBook
from auditlog.verification.continuous import VerificationAlarm

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

ALARM = VerificationAlarm(
    "/audit",
    "queen-rbee@hive1",
    "missing_segment",
    "queen-rbee@hive1.2026-11-23.0002.ndjson",
    7,
    "records 7 to 9 are missing",
)


def entries(state_dir: Path) -> list[dict[str, object]]:
    path = state_dir / "quarantine/verification.ndjson"
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    AlarmBook(tmp_path).enter(ALARM)
    [record] = caplog.records
    assert record.levelno == logging.CRITICAL
    assert record.getMessage() == (
        "ALARM queen-rbee@hive1: missing_segment: records 7 to 9 are missing"
    )


def test_kept(tmp_path: Path) -> None:
    for _ in range(2):  # the second is that of an agent that was started again
        AlarmBook(tmp_path).enter(ALARM)
    [entry] = entries(tmp_path)
    assert (entry["kind"], entry["log"], entry["seq"]) == ("chain_break", ALARM.log, 7)
    assert entry["reason"] == "missing_segment: records 7 to 9 are missing"
    AlarmBook(tmp_path).enter(
        VerificationAlarm("/audit", "", "missing_directory", "", None, "it is gone")
    )
    assert [entry["log"] for entry in entries(tmp_path)] == [ALARM.log, "/audit"]


def test_that_it_cannot_be_kept_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "quarantine").write_text("in the way")
    AlarmBook(tmp_path).enter(ALARM)
    assert [record.levelname for record in caplog.records] == ["CRITICAL", "ERROR"]
    assert "cannot be kept" in caplog.text
