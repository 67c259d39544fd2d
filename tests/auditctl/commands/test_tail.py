from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.support.logs import write_log

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


def test_short_is_one_line_a_record(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=30)
    result = run("tail", "-n", "3", tmp_path)
    assert (result.code, result.err) == (0, "")
    lines = result.out.splitlines()
    assert [line.split()[2] for line in lines] == [f"queen-rbee@hive1#{n}" for n in (28, 29, 30)]


def test_json_is_the_lines_of_the_file(run: Callable[..., Result], tmp_path: Path) -> None:
    built = write_log(tmp_path, records=30)
    for flag in (["-o", "json"], ["--json"]):
        assert run("tail", tmp_path, *flag).out.encode() == b"".join(built.lines[-10:])


def test_only_the_logs_that_were_asked_for(run: Callable[..., Result], tmp_path: Path) -> None:
    write_log(tmp_path, records=2)
    write_log(tmp_path, "rbee-hive@gpu1", records=2)
    out = run("tail", tmp_path, "--log", "rbee-*").out
    assert "queen-rbee" not in out
    assert out.count("\n") == 2


def test_a_line_that_is_no_record_is_said_and_makes_the_code_65(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    built = write_log(tmp_path, records=1)
    built.append_raw(b"?\n")
    built.append(1)
    result = run("tail", tmp_path)
    assert result.code == 65
    assert f"{built.active.name}: the line at byte" in result.err
    assert result.out.count("\n") == 2


def test_follow_shows_what_is_written_from_now_on(tmp_path: Path) -> None:
    built = write_log(tmp_path, records=2)
    command = [
        sys.executable,
        "-m",
        "auditctl",
        "tail",
        "-f",
        "-n",
        "1",
        "-o",
        "json",
        str(tmp_path),
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == built.lines[1]
        built.append(2)
        assert [process.stdout.readline() for _ in range(2)] == built.lines[2:]
        process.terminate()


def test_verbose_shows_every_value(run: Callable[..., Result], tmp_path: Path) -> None:
    built = write_log(tmp_path, records=2)
    words = [line.split() for line in run("tail", tmp_path, "-o", "verbose").out.splitlines()]
    assert ["details.task_id", "task-2"] in words
    assert ["hash", built.headers[0].hash] in words


def test_a_query_chooses_among_the_newest(run: Callable[..., Result], tmp_path: Path) -> None:
    built = write_log(tmp_path, records=30)
    out = run("tail", tmp_path, "--query", "details.task_id~5$ or seq=1", "--json").out
    assert out.encode() == built.lines[24]
    assert run("tail", tmp_path, "--query", "seq>").code == 2


def test_a_line_is_as_wide_as_there_is_room(
    run: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_log(tmp_path, records=1, details={"text": "x" * 300})
    assert len(run("tail", tmp_path).out) > 300
    monkeypatch.setenv("COLUMNS", "70")
    assert len(run("tail", tmp_path).out.rstrip("\n")) == 70


def test_heartbeats_are_shown_when_they_are_asked_for(
    run: Callable[..., Result], tmp_path: Path
) -> None:
    built = write_log(tmp_path, records=3)
    built.append(30, event_type="log.heartbeat")
    assert run("tail", tmp_path, "-n", "2", "--json").out.encode() == b"".join(built.lines[1:3])
    for asking in (["--log-events"], ["--query", "event_type=log.heartbeat"]):
        shown = run("tail", tmp_path, "-n", "2", "--json", *asking).out
        assert shown.encode() == b"".join(built.lines[-2:])
