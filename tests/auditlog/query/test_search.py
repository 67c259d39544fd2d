from __future__ import annotations

import datetime as dt
import subprocess
import sys
from pathlib import Path

import pytest

import auditlog
from tests.support.logs import LogBuilder, write_log


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    built = write_log(tmp_path, records=10, segments=3, days=1)
    built.compress(0)
    return built


@pytest.mark.parametrize(
    ("query", "options", "arguments"),
    [
        ("", {}, []),
        ("actor=alice details.task_id~^task-1", {}, []),
        ("actor=alice", {"since": "2026-11-25"}, ["--since", "2026-11-25"]),
        ("seq>3", {"until": "2026-11-23", "reverse": True}, ["--until", "2026-11-23", "--reverse"]),
        ("seq<9", {"logs": "rbee-*"}, ["--log", "rbee-*"]),
    ],
)
def test_same(built: LogBuilder, query: str, options: dict[str, str], arguments: list[str]) -> None:
    printed = subprocess.run(
        [sys.executable, "-m", "auditctl", "search", query, built.directory, "--json", *arguments],
        capture_output=True,
        check=False,
    )
    found = list(auditlog.search(built.directory, query, **options))  # type: ignore[arg-type]  # parametrized
    assert b"".join(record.line for record in found) == printed.stdout
    assert bool(found) == (options.get("logs") is None)


def test_a_time_may_be_a_datetime(built: LogBuilder) -> None:
    at = dt.datetime(2026, 11, 24, tzinfo=dt.UTC)
    found = list(auditlog.search(built.directory, "", since=at, until=at + dt.timedelta(days=1)))
    assert {record.at.date() for record in found} == {at.date()}
    assert found[0].actor is not None
    assert found[0].actor.user_id == "alice"


def test_refused(built: LogBuilder, tmp_path: Path) -> None:
    with pytest.raises(auditlog.QueryError, match="Did you mean actor"):
        auditlog.search(built.directory, "acter=alice")
    with pytest.raises(auditlog.QueryError, match="is not a time"):
        auditlog.search(built.directory, "", since="sometime")
    with pytest.raises(auditlog.QueryError, match="swap"):
        auditlog.search(built.directory, "", since="today", until="yesterday")
    with pytest.raises(auditlog.InvalidOption, match="no time zone"):
        auditlog.search(built.directory, "", since=dt.datetime(2026, 11, 24))  # noqa: DTZ001  (the point)
    with pytest.raises(FileNotFoundError, match="no directory to search"):
        auditlog.search(tmp_path / "missing", "")


def test_a_damaged_line_is_named(built: LogBuilder) -> None:
    path = built.path(1)
    content = path.read_bytes()
    path.write_bytes(content[:200] + b"\0" + content[201:])
    with pytest.raises(auditlog.LogDamaged) as refusal:
        list(auditlog.search(built.directory, ""))
    assert refusal.value.path == Path(path.name)
