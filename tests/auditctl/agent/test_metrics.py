from __future__ import annotations

import re
from dataclasses import replace
from inspect import getsource
from pathlib import Path

from auditctl.agent.metrics import MetricFamily, metric_families
from auditlog.evidence import witness_server
from tests.support.snapshots import (
    ABOUT,
    ARCHIVE,
    EVIDENCE,
    NOON,
    RETENTION,
    SHIPPING,
    VERIFICATION,
)

DOCUMENT = Path(__file__).parents[3] / "docs" / "metrics.md"
# Given by the Prometheus client, for every process alike.
OF_PROCESS = {
    "auditlog_agent_process_cpu_seconds_total",
    "auditlog_agent_process_max_fds",
    "auditlog_agent_process_open_fds",
    "auditlog_agent_process_resident_memory_bytes",
    "auditlog_agent_process_start_time_seconds",
    "auditlog_agent_process_virtual_memory_bytes",
}


def everything() -> dict[str, MetricFamily]:
    return {
        f.served_name: f
        for f in metric_families(
            ABOUT, SHIPPING, RETENTION, VERIFICATION, NOON, evidence=EVIDENCE, archive=ARCHIVE
        )
    }


def figures() -> dict[tuple[str, ...], float]:
    return {
        (name, *labels): value
        for name, family in everything().items()
        for labels, value in family.samples
    }


def test_balance() -> None:
    found = figures()
    for sink in ("main", "copy"):
        final = [
            found["auditlog_shipper_records_total", outcome, sink]
            for outcome in ("indexed", "duplicate", "quarantined")
        ]
        pending = found["auditlog_shipper_pending_records", sink]
        assert found["auditlog_shipper_read_records_total", sink] == sum(final) + pending == 30


def test_names() -> None:
    units = "total|records|bytes|seconds|segments|requests|entries|info"
    states = "shipper_logs|shipper_sink_troubled|retention_refused|retention_running"
    states += (
        "|shipper_source_troubled|shipper_name_taken|verification_alarms|evidence_troubled"
        "|archive_troubled|log_open"
    )
    name = re.compile(
        rf"auditlog_(?:(?:(?:shipper|retention|agent)_)?[a-z_]+_(?:{units})|{states})"
    )
    for served, family in everything().items():
        assert name.fullmatch(served), served
        assert family.text.endswith(".")
        assert set(family.labels) <= {
            "form",
            "sink",
            "log",
            "outcome",
            "reason",
            "result",
            "rule",
            "version",
            "python",
        }
        for labels, _ in family.samples:
            assert len(labels) == len(family.labels)
            assert not any("/" in value for value in labels), "no path"


def test_documented() -> None:
    """Each row of docs/metrics.md is | `name` | type | labels | what it says |."""
    rows = re.findall(
        r"^\| `(auditlog_\w+)` \| (\w+) \| ([^|]*) \| [^|]+ \|$",
        DOCUMENT.read_text("utf-8"),
        re.MULTILINE,
    )
    described = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows}
    assert len(described) == len(rows), "one row each"
    expected = {name: (f.kind, f.labels) for name, f in everything().items()}
    of_process = {name for name in described if name.startswith("auditlog_agent_process_")}
    assert of_process == OF_PROCESS
    of_witness = {name for name in described if name.startswith("auditlog_witness_")}
    assert of_witness == set(re.findall(r"# TYPE (\w+) gauge", getsource(witness_server)))
    others = of_process | of_witness
    assert {name: row for name, row in described.items() if name not in others} == expected


def test_redactions_are_told_by_rule_for_each_sink() -> None:
    found = figures()
    for sink in ("main", "copy"):
        assert found["auditlog_shipper_redactions_total", "password", sink] == 3
        assert found["auditlog_shipper_redactions_total", "jwt", sink] == 6


def test_the_lag_is_told_for_each_log() -> None:
    found = figures()
    assert found["auditlog_shipper_lag_seconds", "rbee-hive@gpu1", "copy"] == 2
    assert found["auditlog_shipper_lag_seconds", "rbee-hive@gpu1", "main"] == 0
    assert found["auditlog_shipper_lag_records", "rbee-hive@gpu1", "main"] == 6
    assert found["auditlog_shipper_lag_bytes", "queen-rbee@hive1", "main"] == 300


def test_the_last_record_of_a_log_is_told_once_for_all_sinks() -> None:
    found = everything()
    at, is_open = (found[f"auditlog_log_{name}"].samples
                   for name in ("last_record_timestamp_seconds", "open"))  # fmt: skip
    assert at == (
        (("queen-rbee@hive1",), NOON.timestamp() - 1),
        (("rbee-hive@gpu1",), NOON.timestamp() - 2),
    )
    assert is_open == ((("queen-rbee@hive1",), True), (("rbee-hive@gpu1",), False))


def test_what_never_happened_has_no_time() -> None:
    found = figures()
    assert found["auditlog_shipper_last_success_timestamp_seconds", "main"] == NOON.timestamp()
    assert ("auditlog_shipper_last_success_timestamp_seconds", "copy") not in found
    assert found["auditlog_shipper_sink_troubled", "copy"] == 1
    never = replace(RETENTION, last_success_at=None)
    names = {f.name: f for f in metric_families(ABOUT, None, never, None, NOON)}
    assert names["auditlog_retention_last_success_timestamp_seconds"].samples == ()
    assert found["auditlog_retention_last_success_timestamp_seconds",] == NOON.timestamp()
    assert found["auditlog_retention_kept_segments", "not_shipped"] == 1
