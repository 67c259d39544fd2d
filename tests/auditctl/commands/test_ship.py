from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from auditlog import durable_fs
from shippers.quarantine.store import read_entries
from tests.support.erasures import erase
from tests.support.logs import LogBuilder, write_log
from tests.support.tombstones import delete_second_segment
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.auditctl.conftest import Result


@pytest.fixture
def built(tmp_path: Path) -> LogBuilder:
    built = write_log(tmp_path / "audit", records=10, segments=3)
    built.compress(0)
    return built


def lines(path: Path) -> list[bytes]:
    with closing(sqlite3.connect(path)) as connection:
        return [
            bytes(row[0]) for row in connection.execute("SELECT line FROM records ORDER BY seq")
        ]


def test_once_ships_every_line_as_it_is(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    result = run("ship", built.directory, "--to", tmp_path / "x.sqlite", "--once")
    assert result.code == 0
    assert lines(tmp_path / "x.sqlite") == built.lines
    assert "queen-rbee@hive1" in result.out


def test_again_ships_only_what_is_new(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    arguments = ("ship", built.directory, "--to", tmp_path / "x.sqlite", "--once", "--json")
    assert run(*arguments).json["totals"]["indexed"] == 30
    built.append(2)
    shown = run(*arguments).json
    assert shown["schema"] == "auditctl.ship/1"
    assert shown["ok"] is True
    assert shown["totals"] == {
        "indexed": 2, "duplicate": 0, "quarantined": 0, "pending": 0, "chain_breaks": 0,
    }  # fmt: skip
    (log,) = shown["logs"]
    assert (log["log"], log["acknowledged_seq"]) == (built.log, 32)


def test_another_target_gets_everything_too(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    for name in ("x.sqlite", "y.sqlite"):
        assert run("ship", built.directory, "--to", tmp_path / name, "--once").code == 0
        assert lines(tmp_path / name) == built.lines


def test_a_sqlite_file_that_vanished_is_not_taken_for_full(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    target = tmp_path / "x.sqlite"
    run("ship", built.directory, "--to", target, "--once")
    for path in tmp_path.glob("x.sqlite*"):
        path.unlink()
    result = run("ship", built.directory, "--to", target, "--once")
    assert result.code == 1
    assert f"{target}: the file is gone" in result.err
    assert not target.exists()


def test_a_changed_record_goes_to_the_sink_and_the_quarantine_and_makes_the_code_3(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    built.append_raw(b"not a record\n")
    result = run("ship", built.directory, "--to", tmp_path / "x.sqlite", "--once", "--json")
    assert result.code == 3
    assert result.json["totals"]["quarantined"] == 1
    assert result.json["ok"] is False


def test_without_a_sink_it_says_how_to_name_one(
    run: Callable[..., Result], built: LogBuilder
) -> None:
    result = run("ship", built.directory, "--once")
    assert result.code == 65
    assert "--to" in result.err


@pytest.mark.parametrize(
    ("writer", "hosts", "breaks"),
    [("hive9", "", 2), ("hive9", "hive8", 2), ("hive9", "hive9", 0), ("hive1", "", 0)],
)
def test_deletions_and_erasures_are_believed_of_the_hosts_that_verify_believes(
    run: Callable[..., Result], tmp_path: Path, writer: str, hosts: str, breaks: int
) -> None:
    log = write_log(tmp_path / "audit", records=5, segments=3, days=1)
    erase(log, 13, host=f"{writer}+erasure")  # a log of its own
    delete_second_segment(log, writer)
    config = tmp_path / "config.toml"
    config.write_text(
        f'directories = ["{log.directory}"]\nhost = "here"\nstate_dir = "{tmp_path}/state"\n'
        + (f'retention_hosts = ["{hosts}"]\n' if hosts else "")
        + f'[sinks.main]\nkind = "sqlite"\npath = "{tmp_path}/x.sqlite"\n'
    )
    shown = run("ship", "--config", config, "--once", "--json")
    assert shown.json["totals"]["chain_breaks"] == breaks
    assert run("verify", "--config", config).code == (1 if breaks else 0)
    entries = read_entries(tmp_path / "state" / "quarantine" / "main.ndjson")
    reasons = sorted(entry.fields["reason"].partition(":")[0] for entry in entries)
    assert reasons == (["erasure_unproven", "seq_gap"] if breaks else [])


def test_a_second_shipper_is_locked_out(
    run: Callable[..., Result], built: LogBuilder, tmp_path: Path
) -> None:
    durable_fs.make_directory(built.directory / ".auditlog")
    lock = durable_fs.FileLock(built.directory / ".auditlog/ship.lock", "pid 4711")
    result = run("ship", built.directory, "--to", tmp_path / "x.sqlite", "--once")
    lock.release()
    assert result.code == 75
    assert "pid 4711" in result.err


def test_without_once_it_follows_until_it_is_stopped(built: LogBuilder, tmp_path: Path) -> None:
    target = tmp_path / "x.sqlite"
    command = [sys.executable, "-m", "auditctl", "ship", str(built.directory), "--to", str(target)]
    with subprocess.Popen(command, stderr=subprocess.PIPE) as process:
        assert len(built.lines) == 30
        eventually(lambda: target.exists() and _has(target, 30))
        built.append(1)
        eventually(lambda: _has(target, 31))
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0


def _has(target: Path, count: int) -> bool:
    try:
        return len(lines(target)) == count
    except sqlite3.OperationalError:
        return False
