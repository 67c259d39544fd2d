"""Every example runs as its first lines say, and what it writes verifies."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import auditlog
from tests.support.logs import write_log

ROOT: Final = Path(__file__).parents[2]
SERVERS: Final = {"asgi_app.py", "wsgi_app.py"}  # tests/auditlog/bridges/test_servers.py runs them


def run(name: str, audit: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", ROOT / "examples" / name, audit],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert auditlog.verify(audit).ok
    return done.stdout


def details_of(audit: Path, event_type: str) -> dict[str, object]:
    (found,) = [
        record
        for record in auditlog.read(audit, log_events=True)
        if record.event_type == event_type
    ]
    details: dict[str, object] = found.fields["details"]
    return details


def test_every_example_is_run() -> None:
    run_here = {
        "celery_tasks.py",
        "django_project.py",
        "fastapi_app.py",
        "logging_handler.py",
        "prometheus_metrics.py",
        "retention_run.py",
        "ship_directory.py",
        "structlog_processor.py",
        "tracing.py",
    }
    assert {path.name for path in (ROOT / "examples").glob("*.py")} == run_here | SERVERS


def test_logging_handler(tmp_path: Path) -> None:
    printed = run("logging_handler.py", tmp_path / "audit")
    assert details_of(tmp_path / "audit", "pool.drained")["pool"] == "a"
    failure = details_of(tmp_path / "audit", "queen.logged")
    assert failure["exception"] == {
        "type": "builtins.TimeoutError",
        "message": "hive1 did not answer",
    }
    assert "0123456789abcdef" not in printed
    assert printed.count("\n") == 2


def test_ship_directory(tmp_path: Path) -> None:
    first = run("ship_directory.py", tmp_path / "audit")
    assert first.startswith("4 shipped, 0 refused: complete=True\n")
    assert first.count("pool.drained") == 1
    again = run("ship_directory.py", tmp_path / "audit")
    assert again.startswith("3 shipped"), "what was shipped before is not shipped again"
    assert again.count("pool.drained") == 2


def test_retention_run(tmp_path: Path) -> None:
    at = dt.datetime.now(dt.UTC) - dt.timedelta(days=120)
    built = write_log(tmp_path / "audit", segments=3, days=50, at=at)
    printed = run("retention_run.py", built.directory).splitlines()
    assert printed[2].startswith(f"keep     {built.names[2]}  active: ")
    assert printed[-1].startswith("1 keep, 1 compress, 1 delete, ")


def test_structlog_processor(tmp_path: Path) -> None:
    printed = run("structlog_processor.py", tmp_path / "audit")
    assert printed.startswith("event='pool drained' event_type='pool.drained' pool='a'")
    assert details_of(tmp_path / "audit", "pool.drained")["pool"] == "a"
    assert details_of(tmp_path / "audit", "quota.changed")["gpus"] == 4
    assert "event='quota changed'" not in printed


def test_tracing_with_the_real_sdk(tmp_path: Path) -> None:
    trace_id = run("tracing.py", tmp_path / "audit").strip()
    details = details_of(tmp_path / "audit", "pool.drained")
    assert details["trace_id"] == trace_id
    assert len(str(details["span_id"])) == 16


def test_prometheus_metrics(tmp_path: Path) -> None:
    printed = run("prometheus_metrics.py", tmp_path / "audit")
    assert 'auditlog_writer_durable_records_total{log="queen-rbee@hive1"} 3.0' in printed


def test_django_project(tmp_path: Path) -> None:
    assert run("django_project.py", tmp_path / "audit") == "200 alice orders/<int:number>\n"


def test_celery_tasks(tmp_path: Path) -> None:
    assert run("celery_tasks.py", tmp_path / "audit").splitlines() == [
        "shipped",
        "order.shipped success alice req-1",
        "celery.task_succeeded success alice req-1",
        "celery.task_failed failure alice req-1",
    ]


def test_fastapi_app(tmp_path: Path) -> None:
    lines = run("fastapi_app.py", tmp_path / "audit").splitlines()
    assert lines.count("http.request alice acme") == 2
    assert {"order.read alice acme", "report.read alice acme"} <= set(lines)
