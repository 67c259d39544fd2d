from __future__ import annotations

import datetime as dt
import os
import queue
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import orjson
import pytest
from werkzeug import Request, Response

import auditlog
from auditctl.config.model import load
from auditlog import durable_fs
from auditlog.cursors import CursorStore
from auditlog.verification.verify import verify
from tests.support.journal import UNIT, Journal, need_journal
from tests.support.logs import LogBuilder, write_log
from tests.support.ndjson import App
from tests.support.ports import own_port
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pytest_httpserver import HTTPServer

    from tests.auditctl.conftest import Result

PATIENCE_SECONDS = 60
JSON = {"Content-Type": "application/json", "X-Elastic-Product": "Elasticsearch"}


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "config.toml"
    with own_port() as port:
        path.write_text(
            f"directories = ['{tmp_path}/audit']\nstate_dir = '{tmp_path}/state'\n"
            f"metrics = '127.0.0.1:{port}'\n"
            f"[sinks.main]\nkind = 'sqlite'\npath = '{tmp_path}/sink.sqlite'\n"
        )
        yield path


@pytest.fixture
def another_port() -> Iterator[int]:
    with own_port() as port:
        yield port


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


@contextmanager
def running(
    config: Path, *arguments: str, environ: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """The program; what it says is in a file beside the configuration."""
    command = [sys.executable, "-m", "auditctl", "agent", "--config", str(config), *arguments]
    with (config.parent / "agent.log").open("wb") as log:
        process = subprocess.Popen(command, stderr=log, env={**os.environ, **(environ or {})})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def said(config: Path) -> str:
    return (config.parent / "agent.log").read_text()


def set_in(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert text.count(old) == 1
    config.write_text(text.replace(old, new))


class Supervisor:
    """The receiving end of sd_notify(3), as systemd has it, for an agent with a watchdog.

    Each message is taken at once: with ten of them waiting the agent would wait to send the next.
    """

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        self.environ = {"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "400000"}

    def until(self, words: str) -> str:
        """The first message from here on that has the words."""
        while words not in (heard := self._heard.get(timeout=PATIENCE_SECONDS)):
            pass
        return heard

    def silent_for(self, seconds: float) -> None:
        """Wait for a time in which nothing comes."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        with suppress(queue.Empty):
            while time.monotonic() < deadline:
                self._heard.get(timeout=seconds)
            raise AssertionError("it was never silent")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _listen(self) -> None:
        while message := self._socket.recv(4096):
            self._heard.put(message.decode())


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    one = Supervisor(tmp_path / "notify")
    yield one
    one.close()


def metrics(config: Path, path: str = "metrics") -> str:
    address = str(load(config, environ={}).metrics)
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=PATIENCE_SECONDS) as answer:
            text: str = answer.read().decode()
            return text
    except urllib.error.URLError:  # it does not listen yet, or no more
        return ""


def readiness(config: Path) -> tuple[int, str]:
    address = str(load(config, environ={}).metrics)
    try:
        with urllib.request.urlopen(f"http://{address}/readyz", timeout=PATIENCE_SECONDS) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()
    except urllib.error.URLError:  # it does not listen yet
        return 0, ""


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
        process.send_signal(number)
        assert process.wait(PATIENCE_SECONDS) == code
    assert "Traceback" not in said(config)
    assert "stopped" in said(config)
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
    durable_fs.make_directory(tmp_path / "state")
    lock = durable_fs.FileLock(tmp_path / "state/ship.lock", "pid 4711")
    try:
        result = program("agent", "--config", config)
    finally:
        lock.release()
    assert result.code == 75
    assert "pid 4711" in result.err
    assert "Traceback" not in result.err
    assert metrics(config) == ""


@pytest.mark.parametrize("only", ["ship", "retain", None])
def test_alone(
    config: Path, old: LogBuilder, program: Callable[..., Result], only: str | None
) -> None:
    """The metrics port is taken too, and is not what the second one meets."""
    arguments = ["--only", only] if only else []
    with running(config, *arguments) as process:
        eventually(lambda: metrics(config, "readyz") == "ready\n")
        result = program("agent", *arguments, "--config", config)
        assert metrics(config, "readyz") == "ready\n"
    assert result.code == 75
    assert f"pid {process.pid}" in result.err
    assert "Traceback" not in result.err


def test_shipping_and_retention_may_be_two_agents(
    config: Path, old: LogBuilder, tmp_path: Path
) -> None:
    with running(config, "--only", "ship"):
        eventually(lambda: len(in_sink(tmp_path)) == 80)
        other = tmp_path / "other" / "config.toml"
        other.parent.mkdir()
        other.write_text(config.read_text().replace("metrics = ", "metrics = '' #"))
        with running(other, "--only", "retain"):
            eventually((tmp_path / "state/retention.json").exists)


def test_reloads(config: Path, old: LogBuilder, tmp_path: Path, supervisor: Supervisor) -> None:
    with running(config, "--only", "ship", environ=supervisor.environ) as process:
        supervisor.until("READY=1")
        eventually(lambda: len(in_sink(tmp_path)) == 80)
        second = f"[sinks.second]\nkind = 'sqlite'\npath = '{tmp_path}/second/sink.sqlite'\n"
        config.write_text(config.read_text() + second)
        set_in(config, "/audit'", f"/audit', '{tmp_path}/more'")
        other = write_log(tmp_path / "more", "rbee-hive@gpu1", records=30)
        old.append(5)
        process.send_signal(signal.SIGHUP)
        assert "MONOTONIC_USEC=" in supervisor.until("RELOADING=1")
        assert "second" in supervisor.until("READY=1")
        expected = {(h.log, h.seq, h.hash) for h in (*old.headers, *other.headers)}
        eventually(lambda: in_sink(tmp_path) == in_sink(tmp_path / "second") == expected)
        text = metrics(config)
        assert 'auditlog_agent_reloads_total{result="success"} 1.0' in text
        assert 'auditlog_shipper_records_total{outcome="duplicate",sink="main"} 0.0' in text
        process.send_signal(signal.SIGTERM)
        supervisor.until("STOPPING=1")
        assert process.wait(PATIENCE_SECONDS) == 0
    assert "reloaded: ships to main" in said(config)
    cursor = CursorStore(tmp_path / "state").load("second", other.log)
    assert cursor is not None
    assert cursor.seq == 30


def test_reloads_under_load_lose_and_double_nothing(config: Path, tmp_path: Path) -> None:
    log = write_log(tmp_path / "audit", records=2000)
    with running(config, "--only", "ship") as process:
        eventually(lambda: len(in_sink(tmp_path)) > 0)
        for count in range(1, 6):
            log.append(500)
            process.send_signal(signal.SIGHUP)
            taken = f'auditlog_agent_reloads_total{{result="success"}} {count}.0'
            eventually(lambda: taken in metrics(config))  # noqa: B023  (called in this turn)
        expected = {(h.log, h.seq, h.hash) for h in log.headers}
        eventually(lambda: in_sink(tmp_path) == expected)
    assert not (tmp_path / "state/quarantine/main.ndjson").exists()


def test_a_new_password_is_used_after_a_reload(
    config: Path, old: LogBuilder, tmp_path: Path, httpserver: HTTPServer
) -> None:
    """The server refuses one password and takes the other; neither is said anywhere."""

    def answer(request: Request) -> Response:
        authorization = request.authorization
        password = authorization.password if authorization is not None else None
        if password != "after-the-rotation":
            return Response('{"error":{"type":"security_exception"}}', 401, JSON)
        if request.path != "/_bulk":
            return Response("{}", 200, JSON)
        actions = [orjson.loads(line) for line in request.data.split(b"\n")[:-1:2]]
        ids = [action["create"]["_id"] for action in actions]
        accepted.update(ids)
        items = [{"create": {"_id": name, "status": 201}} for name in ids]
        return Response(orjson.dumps({"items": items}), 200, JSON)

    accepted: set[str] = set()
    httpserver.expect_request(re.compile("/.*")).respond_with_handler(answer)
    password = tmp_path / "password"
    password.write_text("before-the-rotation\n")
    config.write_text(
        config.read_text().partition("[sinks.main]")[0]
        + f"[sinks.main]\nkind = 'elasticsearch'\nurls = ['{httpserver.url_for('')}']\n"
        f"username = 'shipper'\npassword_file = '{password}'\n"
    )
    with running(config, "--only", "ship") as process:
        eventually(lambda: "401" in readiness(config)[1])
        assert readiness(config)[0] == 503
        assert metrics(config, "healthz") == "ok\n", "a restart would not help"
        password.write_text("after-the-rotation\n")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: len(accepted) == 80)
        eventually(lambda: readiness(config) == (200, "ready\n"))
    assert accepted == {f"{header.log}:{header.seq}" for header in old.headers}
    assert "the-rotation" not in said(config)


def test_keeps(config: Path, old: LogBuilder, tmp_path: Path, supervisor: Supervisor) -> None:
    """Whatever is wrong with the new configuration: it is said, and the old one goes on."""
    (tmp_path / "strange.sqlite").write_text("this is no database, and long enough to be looked at")
    good = config.read_text()
    wrong = (
        ("[sinks.main]", "[sinks.main", "not valid TOML"),
        ("state_dir = ", "stat_dir = ", "no setting stat_dir"),
        (f"{tmp_path}/state", f"{tmp_path}/elsewhere", "state_dir cannot change"),
        (f"{tmp_path}/sink.sqlite", f"{tmp_path}/strange.sqlite", "SQLite file"),
        ("metrics = ", "metrics = '192.0.2.1:9464' #", "metrics cannot be served"),
    )
    with running(config, "--only", "ship", environ=supervisor.environ) as process:
        supervisor.until("READY=1")
        for count, (present, new, words) in enumerate(wrong, 1):
            set_in(config, present, new)
            process.send_signal(signal.SIGHUP)
            supervisor.until("RELOADING=1")
            supervisor.until("READY=1")
            config.write_text(good)
            refused = [line for line in said(config).splitlines() if "is refused" in line]
            assert len(refused) == count
            assert words in refused[-1]
            assert f'auditlog_agent_reloads_total{{result="failure"}} {count}.0' in metrics(config)
        old.append(5)
        eventually(lambda: len(in_sink(tmp_path)) == 85)
        assert metrics(config, "readyz") == "ready\n"
    assert said(config).count("the previous one stays in use") == len(wrong)
    assert "Traceback" not in said(config)


def test_the_metrics_move_with_a_reload(config: Path, old: LogBuilder, another_port: int) -> None:
    before = str(load(config, environ={}).metrics)
    with running(config, "--only", "ship") as process:
        eventually(lambda: metrics(config, "readyz") == "ready\n")
        set_in(config, before, f"127.0.0.1:{another_port}")
        process.send_signal(signal.SIGHUP)
        eventually(lambda: metrics(config, "readyz") == "ready\n")
        with pytest.raises(urllib.error.URLError):
            urllib.request.urlopen(f"http://{before}/healthz", timeout=PATIENCE_SECONDS)


def test_the_watchdog_is_told_only_while_the_loops_come_round(
    config: Path, old: LogBuilder, tmp_path: Path, supervisor: Supervisor
) -> None:
    with running(config, "--only", "ship", environ=supervisor.environ):
        supervisor.until("READY=1")
        for _ in range(3):
            supervisor.until("WATCHDOG=1")
        eventually(lambda: len(in_sink(tmp_path)) == 80)
        # A disk that hangs: whoever opens this pipe to read waits until somebody writes.
        pipe = tmp_path / "state/cursors/main/rbee-hive@gpu1.cursor"
        os.mkfifo(pipe)
        write_log(tmp_path / "audit", "rbee-hive@gpu1", records=5)
        eventually(lambda: "delivery to main is stuck" in said(config))
        supervisor.silent_for(1)
        os.close(os.open(pipe, os.O_WRONLY))
        supervisor.until("WATCHDOG=1")
        eventually(lambda: len(in_sink(tmp_path)) == 85)


def test_cursors_that_cannot_be_saved_are_said_by_readiness_and_at_the_stop(
    config: Path, tmp_path: Path
) -> None:
    with running(config, "--only", "ship") as agent:
        with auditlog.open(tmp_path / "audit", service="queen-rbee", host="hive1") as log:
            log.emit("pool.drained")
            cursors = tmp_path / "state/cursors/main"
            eventually(lambda: cursors.exists() and readiness(config)[0] == 200)
            cursors.rename(tmp_path / "aside")
            cursors.touch()
            log.emit("pool.drained")
            eventually(lambda: "its cursors cannot be saved" in readiness(config)[1])
        agent.send_signal(signal.SIGTERM)
        assert agent.wait(PATIENCE_SECONDS) == 0
    assert "cursors could not be saved" in said(config)
    assert "everything acknowledged" not in said(config)


def test_a_server_and_a_directory_may_come_later(
    config: Path, tmp_path: Path, supervisor: Supervisor, another_port: int
) -> None:
    """Start order is free: neither is there, and that is no error."""
    config.write_text(
        config.read_text().partition("[sinks.main]")[0] + "[sinks.main]\nkind = 'elasticsearch'\n"
        f"urls = ['http://127.0.0.1:{another_port}']\n"
    )
    with running(config, "--only", "ship", environ=supervisor.environ):
        supervisor.until("READY=1")
        missing = f"{tmp_path / 'audit'}: No such file or directory"
        assert readiness(config) == (503, f"{missing}; it is looked for again\n")
        log = write_log(tmp_path / "audit", records=3)
        eventually(lambda: missing not in readiness(config)[1])
        eventually(lambda: readiness(config)[0] == 503)
        assert "Connection refused" in readiness(config)[1]
        assert "Connection refused" in supervisor.until("STATUS=sink main: ")
        eventually(lambda: lag_seconds(config, log.log) > 0)
        assert metrics(config, "healthz") == "ok\n"


def lag_seconds(config: Path, log: str) -> float:
    found = re.search(
        rf'^auditlog_shipper_lag_seconds{{log="{log}",sink="main"}} (\S+)$',
        metrics(config),
        re.MULTILINE,
    )
    return float(found[1]) if found else 0.0


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


def only_sources(config: Path, tmp_path: Path) -> None:
    """A host without audit logs, where another program's files are all there is to ship."""
    text = config.read_text().partition("\n")[2]
    config.write_text(
        f"{text}[[sources.ndjson]]\nname = 'worker'\npaths = ['{tmp_path}/worker/*.log*']\n"
    )


def documents_in(tmp_path: Path) -> int:
    path = tmp_path / "sink.sqlite"
    if not path.exists():
        return 0
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        try:
            return int(connection.execute("SELECT count(*) FROM documents").fetchone()[0])
        except sqlite3.OperationalError:  # the table is about to be made
            return 0


def test_a_host_without_audit_logs_ships_its_other_sources(config: Path, tmp_path: Path) -> None:
    only_sources(config, tmp_path)
    app = App(tmp_path / "worker")
    app.write(20)
    with running(config) as process:
        eventually(lambda: documents_in(tmp_path) == 20)
        app.write(5)
        process.send_signal(signal.SIGHUP)
        eventually(lambda: 'reloads_total{result="success"} 1.0' in metrics(config))
        eventually(lambda: documents_in(tmp_path) == 25)
        assert readiness(config) == (200, "ready\n")
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    assert "retains" not in said(config), "what other programs wrote is not ours to delete"
    assert "Traceback" not in said(config)


def test_a_damaged_file_of_the_journal_is_a_reason_and_a_metric(
    config: Path, tmp_path: Path
) -> None:
    need_journal()
    journal = Journal(tmp_path / "journal")
    journal.add(200)
    journal.damage(100)
    _, _, sinks = config.read_text().partition("\n")
    source = f"name = 'journal'\nunits = ['{UNIT}']\ndirectory = '{journal.directory}'\n"
    config.write_text(f"{sinks}[[sources.journald]]\n{source}")
    with running(config, "--only", "ship"):
        eventually(lambda: "entries are left out" in readiness(config)[1])
        assert readiness(config)[0] == 503
        sample = 'auditlog_shipper_source_troubled{log="journal",sink="main"} 1.0'
        eventually(lambda: sample in metrics(config))


def test_a_host_without_audit_logs_ships_them_once(
    config: Path, tmp_path: Path, program: Callable[..., Result]
) -> None:
    only_sources(config, tmp_path)
    App(tmp_path / "worker").write(20)
    assert program("config", "check", "--config", config).code == 0
    assert program("ship", "--once", "--config", config).code == 0
    assert documents_in(tmp_path) == 20


def test_a_host_without_audit_logs_is_told_what_it_lacks(
    config: Path, tmp_path: Path, program: Callable[..., Result]
) -> None:
    only_sources(config, tmp_path)
    retain = program("agent", "--only", "retain", "--config", config)
    assert (retain.code, "no directory is configured" in retain.err) == (65, True)
    whole = config.read_text()
    set_in(config, f"state_dir = '{tmp_path}/state'\n", "")
    for command in (("agent",), ("ship", "--once"), ("config", "check")):
        stateless = program(*command, "--config", config)
        assert (stateless.code, "Add state_dir = " in stateless.err) == (65, True)
    config.write_text(whole.partition("[sinks.main]")[0] + whole[whole.index("[[sources") :])
    sinkless = program("agent", "--config", config)
    assert (sinkless.code, "there is no sink to ship to" in sinkless.err) == (65, True)


def tampered(log: LogBuilder) -> None:
    path = log.path(0)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"task-3", b"task-4", 1))


@pytest.mark.parametrize(
    ("tamper", "named"),
    [
        (tampered, "hash_mismatch"),
        (lambda log: log.path(0).unlink(), "missing_segment"),
        (lambda log: shutil.rmtree(log.directory), "missing_directory"),
    ],
    ids=["edited", "deleted", "directory"],
)
def test_what_is_done_to_a_log_while_it_runs_raises_an_alarm(
    config: Path,
    tmp_path: Path,
    run: Callable[..., Result],
    tamper: Callable[[LogBuilder], None],
    named: str,
) -> None:
    log = write_log(tmp_path / "audit", records=10, segments=2, days=1, at=dt.datetime.now(dt.UTC))
    config.write_text(
        f"{config.read_text()}\n[evidence]\nverify_every = '1s'\nverify_cpu_share = 0.5\n"
    )
    with running(config):
        eventually(lambda: "auditlog_verification_full_timestamp_seconds" in metrics(config))
        eventually(lambda: len(in_sink(tmp_path)) == log.seq)
        assert readiness(config) == (200, "ready\n")
        assert run("status", "--config", config).code == 0
        tamper(log)
        eventually(lambda: f": {named}: " in readiness(config)[1])
        assert readiness(config)[0] == 503
        eventually(lambda: f"{named}: " in run("quarantine", "list", "--config", config).out)
        alarms = re.search(
            r"^auditlog_verification_alarms ([0-9.]+)$", metrics(config), re.MULTILINE
        )
        assert alarms is not None
        assert float(alarms[1]) >= 1
        # The alarm is raised first, and only then is the state that status reads saved.
        eventually(lambda: run("status", "--config", config).code == 1)
    assert re.search(rf"ALARM .*: {named}: ", said(config))
