from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

import auditlog
from auditlog.bridges.prometheus import LogCollector


def served(*logs: auditlog.Log) -> dict[tuple[str, str], float]:
    registry = CollectorRegistry()
    registry.register(LogCollector(*logs))
    families = text_string_to_metric_families(generate_latest(registry).decode())
    samples = [sample for family in families for sample in family.samples]
    assert all({"log"} <= set(sample.labels) <= {"log", "rule"} for sample in samples)
    return {(sample.name, sample.labels["log"]): sample.value for sample in samples}


def test_names(log: auditlog.Log) -> None:
    endings = ("_total", "_bytes", "_seconds", "_records", "_record", "_state")
    names = {name for name, _ in served(log)}
    assert len(names) == 13
    assert all(name.startswith("auditlog_writer_") and name.endswith(endings) for name in names)


def test_fresh(log: auditlog.Log, tmp_path: Path) -> None:
    log.emit("pool.drained")
    with auditlog.open(tmp_path / "audit", service="rbee-hive", host="hive1") as other:
        metrics = served(log, other)
        assert metrics["auditlog_writer_durable_records_total", "rbee-hive@hive1"] == 2
    mine = str(log.id)
    stats = log.stats()
    assert metrics["auditlog_writer_durable_records_total", mine] == stats.durable == 3
    assert metrics["auditlog_writer_written_records_total", mine] == stats.written == 3
    assert metrics["auditlog_writer_durable_bytes_total", mine] == stats.durable_bytes > 0
    assert metrics["auditlog_writer_commits_total", mine] == stats.commits
    assert metrics["auditlog_writer_durable_record", mine] == stats.durable_seq
    assert metrics["auditlog_writer_last_record", mine] == stats.last_seq
    assert metrics["auditlog_writer_last_commit_seconds", mine] == stats.last_commit_seconds > 0
    assert metrics["auditlog_writer_commit_p99_seconds", mine] == stats.commit_p99_seconds
    assert metrics["auditlog_writer_refused_records_total", mine] == 0
    assert metrics["auditlog_writer_queued_bytes", mine] == 0
    assert metrics["auditlog_writer_queued_records", mine] == 0
    assert metrics["auditlog_writer_failed_state", mine] == 0
    assert metrics["auditlog_writer_space_state", mine] == 0


def test_importing_auditlog_imports_no_bridge() -> None:
    code = "import sys, auditlog; print([name for name in sys.modules if '.bridges' in name])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_redactions_are_counted_by_rule(log: auditlog.Log) -> None:
    log.emit("pool.drained", details={"password": "hunter33y", "pin": 4711, "note": "pin: 4712"})
    registry = CollectorRegistry()
    registry.register(LogCollector(log))
    exposed = generate_latest(registry).decode()
    for rule, count in (("password", 1), ("pin", 2)):
        labels = f'log="{log.id}",rule="{rule}"'
        assert f"auditlog_writer_redactions_total{{{labels}}} {count}.0" in exposed
