from __future__ import annotations

import datetime as dt
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from auditctl.config import load
from auditlog import _fs
from auditlog.cursors import CursorStore
from auditlog.verify import verify
from tests.support.logs import LogBuilder, write_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.auditctl.conftest import Result

PATIENCE_SECONDS = 30


@pytest.fixture
def config(tmp_path: Path) -> Path:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = tmp_path / "config.toml"
    path.write_text(
        f"directories = ['{tmp_path}/audit']\nstate_dir = '{tmp_path}/state'\n"
        f"metrics = '127.0.0.1:{port}'\n"
        f"[sinks.main]\nkind = 'sqlite'\npath = '{tmp_path}/sink.sqlite'\n"
    )
    return path


@pytest.fixture
def old(tmp_path: Path) -> LogBuilder:
    """A log whose first segments are old enough to be compressed."""
    at = dt.datetime.now(dt.UTC) - dt.timedelta(days=60)
    return write_log(tmp_path / "audit", records=20, segments=4, days=20, at=at)


def in_sink(tmp_path: Path) -> set[tuple[str, int, str]]:
    path = tmp_path / "sink.sqlite"
    if not path.exists():
        return set()
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return {tuple(row) for row in connection.execute("SELECT log, seq, hash FROM records")}
        except sqlite3.OperationalError:  # the table is about to be made
            return set()


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


@contextmanager
def running(config: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "auditctl", "agent", "--config", str(config), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()


def metrics(config: Path, path: str = "metrics") -> str:
    address = str(load(config, environ={}).metrics)
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=10) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.URLError:  # it does not listen yet, or no more
        return ""


def test_together(config: Path, old: LogBuilder, tmp_path: Path) -> None:
    with running(config):
        eventually(lambda: len(in_sink(tmp_path)) == 80)
        old.append(5)
        expected = {(header.log, header.seq, header.hash) for header in old.headers}
        eventually(lambda: in_sink(tmp_path) >= expected)
        eventually(lambda: "auditlog_retention_runs_total 1.0" in metrics(config))
        assert metrics(config, "readyz") == "ready\n"
        assert 'auditlog_shipper_records_total{outcome="indexed",sink="main"}' in metrics(config)
    assert verify(old.directory).ok


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=str)
def test_stops(config: Path, old: LogBuilder, tmp_path: Path, number: int, code: int) -> None:
    with running(config) as process:
        eventually(lambda: len(in_sink(tmp_path)) == 80)
        started = time.monotonic()
        process.send_signal(number)
        assert process.wait(20) == code
        assert time.monotonic() - started < 5
        assert process.stderr is not None
        said = process.stderr.read().decode()
    assert "Traceback" not in said
    assert "stopped" in said
    cursor = CursorStore(tmp_path / "state").load("main", old.log)
    assert cursor is not None
    assert (cursor.seq, cursor.hash) == (80, old.headers[-1].hash)


def test_a_killed_agent_goes_on_where_it_was(config: Path, old: LogBuilder, tmp_path: Path) -> None:
    with running(config, "--only", "ship") as process:
        eventually(lambda: len(in_sink(tmp_path)) > 0)
        process.kill()
    old.append(3)
    with running(config, "--only", "ship"):
        eventually(lambda: len(in_sink(tmp_path)) == 83)
    assert {seq for _, seq, _ in in_sink(tmp_path)} == set(range(1, 84))


def test_all_or_none(
    config: Path, old: LogBuilder, tmp_path: Path, program: Callable[..., Result]
) -> None:
    _fs.make_directory(tmp_path / "state")
    lock = _fs.FileLock(tmp_path / "state/ship.lock", "pid 4711")
    try:
        result = program("agent", "--config", config)
    finally:
        lock.release()
    assert result.code == 75
    assert "pid 4711" in result.err
    assert "Traceback" not in result.err
    assert metrics(config) == ""


def test_a_second_agent_is_locked_out(
    config: Path, old: LogBuilder, tmp_path: Path, program: Callable[..., Result]
) -> None:
    with running(config, "--only", "ship") as process:
        eventually(lambda: len(in_sink(tmp_path)) == 80)
        text = config.read_text()
        config.write_text(text.replace("metrics = ", "metrics = '' #"))
        result = program("agent", "--only", "ship", "--config", config)
    assert result.code == 75
    assert f"pid {process.pid}" in result.err
    assert "Traceback" not in result.err


def test_a_metrics_port_that_is_taken_ends_it_with_its_address(
    config: Path, old: LogBuilder, program: Callable[..., Result]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = program("agent", "--config", config, env={"AUDITLOG_METRICS": address})
    assert result.code == 1
    assert address in result.err


def test_only_retain_ships_nothing(config: Path, old: LogBuilder, tmp_path: Path) -> None:
    with running(config, "--only", "retain"):
        eventually(lambda: "auditlog_retention_runs_total 1.0" in metrics(config))
    assert in_sink(tmp_path) == set()
    assert all(path.exists() for path in old.paths), "nothing is shipped, so nothing is touched"


def test_only_ship_needs_a_sink(tmp_path: Path, program: Callable[..., Result]) -> None:
    path = tmp_path / "config.toml"
    path.write_text(f"directories = ['{tmp_path}']\n")
    result = program("agent", "--only", "ship", "--config", path)
    assert result.code == 65
    assert "[sinks.main]" in result.err
