from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING

import pytest

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


@pytest.fixture
def sink(run: Callable[..., Result], tmp_path: Path) -> Path:
    """Two logs of two hosts in a SQLite file."""
    audit = tmp_path / "audit"
    audit.mkdir()
    write_log(audit, records=40)
    write_log(audit, "rbee-hive@gpu-1", records=5)
    path = tmp_path / "audit.sqlite"
    assert run("ship", audit, "--to", path, "--once").code == 0
    return path


def test_a_whole_fleet_needs_nobody(run: Callable[..., Result], sink: Path) -> None:
    result = run("fleet", sink, "--all")
    assert result.code == 0
    assert "ok nothing needs attention" in result.out
    assert re.search(r"queen-rbee@hive1 +40 +1-40 ", result.out)
    assert "0 of 2 lines need a person" in result.err


def test_what_is_silent_gapped_or_unknown_is_named(
    run: Callable[..., Result], sink: Path, tmp_path: Path
) -> None:
    connection = sqlite3.connect(sink)
    connection.execute("DELETE FROM records WHERE log = 'queen-rbee@hive1' AND seq IN (7, 8, 30)")
    connection.commit()
    connection.close()
    (tmp_path / "hosts").write_text("hive1  # the orchestrator\n\ngpu-2\n")
    result = run("fleet", sink, "--silent", "1s", "--inventory", tmp_path / "hosts", "--json")
    assert result.code == 1
    lines = {line["name"]: line for line in result.json["lines"]}
    assert lines["queen-rbee@hive1"]["gaps"] == [[7, 8], [30, 30]]
    assert any("silent since" in text for text in lines["queen-rbee@hive1"]["problems"])
    assert "unknown: it is not in the inventory" in lines["rbee-hive@gpu-1"]["problems"]
    assert lines["gpu-2"]["problems"] == ["missing: no record of it"]
    shown = run("fleet", sink, "--silent", "1s")
    assert shown.code == 1
    assert "3 records are missing, the first from seq 7 to 8" in " ".join(shown.out.split())


def test_metrics_are_the_text_format_of_prometheus(run: Callable[..., Result], sink: Path) -> None:
    result = run("fleet", sink, "--metrics")
    assert result.code == 0
    assert 'auditlog_fleet_missing_records{name="queen-rbee@hive1"} 0' in result.out
    assert "# TYPE auditlog_fleet_needs_person gauge" in result.out


def test_a_sink_that_is_not_there_is_said(run: Callable[..., Result], tmp_path: Path) -> None:
    result = run("fleet", tmp_path / "none.sqlite")
    assert result.code != 0
    assert "none.sqlite" in result.err
    assert not (tmp_path / "none.sqlite").exists()
    unknown = run("fleet")
    assert unknown.code == 65
    assert "0 sinks are configured" in unknown.err
