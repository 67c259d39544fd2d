"""Every alert, by promtool's own unit tests: fires after its time, not before, and stops.

Values are promtool's notation: ``0x5`` is 0 for minutes 0 to 5, ``1+2x5`` grows by 2 a minute.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest
import yaml

from tests.support.operations import DEPLOY, alerts, ran

DAY: Final = 1440
HIVE: Final = 'job="rbee-hive",instance="h1:8081"'
AGENT: Final = 'job="auditlog-agent",instance="h1:9464"'
WRITER: Final = 'job="queen-rbee",instance="q:8080",log="queen-rbee@h1"'
SINK: Final = f'{AGENT},sink="main"'
WITNESSED: Final = 'job="auditlog-witness",instance="w1:7380",origin="audit.example.com/h1/a@h1"'
OF_FLEET: Final = 'job="node",instance="mon:9100",name="queen-rbee@h1"'
OF_LOG: Final = 'log="queen-rbee@h1"'
LAG: Final = f'{SINK},log="queen-rbee@h1"'
ALL_UP: Final = {
    'up{job="queen-rbee",instance="q:8080"}': "1x9000",
    f"up{{{HIVE}}}": "1x9000",
    f"up{{{AGENT}}}": "1x9000",
}


@dataclass(frozen=True)
class Case:
    """``fires`` and ``silent`` are minutes; ``labels`` those of the alert beside its severity."""

    alert: str
    series: dict[str, str]
    fires: tuple[int, ...]
    silent: tuple[int, ...]
    labels: dict[str, str] = field(default_factory=dict)
    interval: str = "1m"


def of(text: str) -> dict[str, str]:
    return dict(re.findall(r'(\w+)="([^"]*)"', text))


CASES: Final = [
    # 4 workers fail from minute 1 to 10.
    Case(
        "HighFailedHealthChecks",
        {f"rbee_hive_workers_failed_health_checks{{{HIVE}}}": "3 4x9 3x5"},
        (6, 10), (0, 5, 11, 15), of(HIVE),
    ),
    Case(
        "NoIdleWorkers",
        {
            f'rbee_hive_workers_total{{{HIVE},state="idle",backend="cuda"}}': "1 0x14 1x5",
            f'rbee_hive_workers_total{{{HIVE},state="busy",backend="cuda"}}': "9x20",
        },
        (11, 15), (0, 10, 16),
    ),
    # No hive tells anything: the guide's own expression is silent here.
    Case("NoIdleWorkers", {}, (10, 15), (9,)),
    # One host of two has an idle worker: the sum is over all.
    Case(
        "NoIdleWorkers",
        {
            'rbee_hive_workers_total{instance="h1:8081",state="idle"}': "0x20",
            'rbee_hive_workers_total{instance="h2:8081",state="idle"}': "1x20",
        },
        (), (10, 20),
    ),
    Case(
        "LowMemory",
        {
            f"rbee_hive_memory_available_bytes{{{HIVE}}}": "10 9x9 10x5",
            f"rbee_hive_memory_total_bytes{{{HIVE}}}": "100x20",
            'rbee_hive_memory_available_bytes{job="rbee-hive",instance="h2:8081"}': "9000x20",
            'rbee_hive_memory_total_bytes{job="rbee-hive",instance="h2:8081"}': "10000x20",
        },
        (6, 10), (0, 5, 11), of(HIVE),
    ),
    Case(
        "LowDiskSpace",
        {
            f"rbee_hive_disk_available_bytes{{{HIVE}}}": "10 9x9 10x5",
            f"rbee_hive_disk_total_bytes{{{HIVE}}}": "100x20",
        },
        (6, 10), (0, 5, 11), of(HIVE),
    ),
    # 12 a minute are 0.2 a second; it takes some of the window until the rate is above 0.1.
    Case(
        "HighForceKillRate",
        {f"rbee_hive_workers_force_killed_total{{{HIVE}}}": "0x5 0+12x14 168x20"},
        (14, 19), (0, 8, 28), of(HIVE),
    ),
    # 3 a minute are 0.05 a second.
    Case(
        "HighForceKillRate",
        {f"rbee_hive_workers_force_killed_total{{{HIVE}}}": "0+3x40"},
        (), (20, 40),
    ),
    # One shutdown of less than 30 seconds, at minute 5: p95 is 29.75.
    Case(
        "SlowShutdown",
        {
            f'rbee_hive_shutdown_duration_seconds_bucket{{{HIVE},le="25"}}': "0x60",
            f'rbee_hive_shutdown_duration_seconds_bucket{{{HIVE},le="30"}}': "0x4 1x55",
            f'rbee_hive_shutdown_duration_seconds_bucket{{{HIVE},le="+Inf"}}': "0x4 1x55",
        },
        (10, 18), (5, 9, 21), of(HIVE),
    ),
    Case(
        "SlowShutdown",
        {
            f'rbee_hive_shutdown_duration_seconds_bucket{{{HIVE},le="25"}}': "0+20x60",
            f'rbee_hive_shutdown_duration_seconds_bucket{{{HIVE},le="30"}}': "0+20x60",
            f'rbee_hive_shutdown_duration_seconds_bucket{{{HIVE},le="+Inf"}}': "0+20x60",
        },
        (), (10, 30, 60),
    ),
    Case("ServiceDown", {f"up{{{HIVE}}}": "1 0x5 1x5"}, (2, 6), (1, 7), of(HIVE)),
    Case(
        "ServiceDown",
        {'up{job="queen-rbee",instance="q:8080"}': "1 0x5 1x5"},
        (2, 6), (1, 7), {"job": "queen-rbee", "instance": "q:8080"},
    ),
    # The job has no series at all: the guide's own expression does not fire here.
    Case("ServiceDown", {f"up{{{HIVE}}}": "_x3 1x5"}, (1, 2), (0, 3), {"job": "rbee-hive"}),
    Case(
        "HighRestartRate",
        {f"rbee_hive_worker_restart_failures_total{{{HIVE}}}": "0x5 0+60x14 840x20"},
        (14, 19), (0, 8, 28), of(HIVE),
    ),
    Case(
        "CircuitBreakerActive",
        {f"rbee_hive_circuit_breaker_activations_total{{{HIVE}}}": "0x2 1x20"},
        (4, 7), (0, 2, 3, 9), of(HIVE),
    ),
    Case(
        "AuditWriterFailed",
        {f"auditlog_writer_failed_state{{{WRITER}}}": "0 1x5 0x5"},
        (2, 6), (1, 7), of(WRITER),
    ),
    Case(
        "AuditWriterRefusing",
        {f"auditlog_writer_refused_records_total{{{WRITER}}}": "0x2 7x20"},
        (4, 7), (0, 3, 9), of(WRITER),
    ),
    Case(
        "AuditWriterStalled",
        {
            f"auditlog_writer_queued_records{{{WRITER}}}": "0x3 5x9 0x5",
            f"auditlog_writer_durable_record{{{WRITER}}}": "1+1x3 4x20",
        },
        (8, 13), (2, 6, 14), of(WRITER),
    ),
    # Always something queued, and always something written: a busy log.
    Case(
        "AuditWriterStalled",
        {
            f"auditlog_writer_queued_records{{{WRITER}}}": "5x20",
            f"auditlog_writer_durable_record{{{WRITER}}}": "1+100x20",
        },
        (), (5, 10, 20),
    ),
    Case(
        "AuditSyncSlow",
        {f"auditlog_writer_commit_p99_seconds{{{WRITER}}}": "0.5 0.6x14 0.5x5"},
        (11, 15), (0, 10, 16), of(WRITER),
    ),
    Case(
        "AuditSpaceLow",
        {f"auditlog_writer_space_state{{{WRITER}}}": "0 1x9 0x5"},
        (6, 10), (5, 11), of(WRITER),
    ),
    Case("AuditSpaceLow", {f"auditlog_writer_space_state{{{WRITER}}}": "2x20"}, (), (10, 20)),
    Case(
        "AuditSpaceCritical",
        {f"auditlog_writer_space_state{{{WRITER}}}": "1 2x5 1x5"},
        (2, 6), (1, 7), of(WRITER),
    ),
    Case("AuditAgentDown", {f"up{{{AGENT}}}": "1 0x5 1x5"}, (3, 6), (2, 7), of(AGENT)),
    Case(
        "AuditAgentDown",
        {f"up{{{AGENT}}}": "_x4 1x5"},
        (2, 3), (1, 4), {"job": "auditlog-agent"},
    ),
    Case(
        "AuditAgentReloadFailed",
        {f'auditlog_agent_reloads_total{{{AGENT},result="failure"}}': "0x2 1x30"},
        (4, 15), (3, 20), of(AGENT) | {"result": "failure"},
    ),
    Case(
        "AuditShippingBacklog",
        {f"auditlog_shipper_lag_records{{{LAG}}}": "100000 100001x14 0x5"},
        (11, 15), (10, 16), of(LAG),
    ),
    Case(
        "AuditShippingLate",
        {f"auditlog_shipper_lag_seconds{{{LAG}}}": "300 301x9 0x5"},
        (6, 10), (5, 11), of(LAG),
    ),
    Case(
        "AuditSinkRejecting",
        {f"auditlog_shipper_sink_troubled{{{SINK}}}": "0 1x9 0x5"},
        (6, 10), (5, 11), of(SINK),
    ),
    Case(
        "AuditSourceTroubled",
        {f"auditlog_shipper_source_troubled{{{LAG}}}": "0 1x9 0x5"},
        (6, 10), (5, 11), of(LAG),
    ),
    Case(
        "AuditNameTaken",
        {f"auditlog_shipper_name_taken{{{LAG}}}": "0 1x9 0x5"},
        (1, 10), (0, 11), of(LAG),
    ),
    Case(
        "AuditQuarantineNotEmpty",
        {f"auditlog_shipper_quarantine_entries{{{SINK}}}": "0 2x9 0x5"},
        (6, 10), (5, 11), of(SINK),
    ),
    # Seen for the first time at 1, when the agent was restarted: no increase() would notice.
    Case(
        "AuditChainBreak",
        {f"auditlog_shipper_chain_breaks_total{{{SINK}}}": "_ 1x5 0x5"},
        (1, 6), (0, 7), of(SINK),
    ),
    Case(
        "AuditVerificationAlarm",
        {f"auditlog_verification_alarms{{{AGENT}}}": "0 2x5 0x5"},
        (1, 6), (0, 7), of(AGENT),
    ),
    Case(
        "AuditVerificationOverdue",
        {f"auditlog_verification_overdue_seconds{{{AGENT}}}": "86400 86401x9 0x5"},
        (6, 10), (5, 11), of(AGENT),
    ),
    Case(
        "AuditEvidenceTroubled",
        {f"auditlog_evidence_troubled{{{AGENT}}}": "0 1x9 0x5"},
        (6, 10), (5, 11), of(AGENT),
    ),
    Case(
        "AuditArchiveTroubled",
        {f"auditlog_archive_troubled{{{AGENT}}}": "0 1x20 0x5"},
        (16, 21), (5, 15, 22), of(AGENT),
    ),
    # Finished at minute 0; uploaded in minute 1500, when the next one has been finished.
    Case(
        "AuditArchiveBehind",
        {f"auditlog_archive_oldest_timestamp_seconds{{{AGENT}}}": "0x1500 90060x5"},
        (DAY + 31, 1500), (DAY, DAY + 30, 1501), of(AGENT),
    ),
    # In steps of a minute: the last cosignature was at minute 0.
    Case(
        "AuditNotWitnessed",
        {f"auditlog_evidence_witnessed_timestamp_seconds{{{AGENT}}}": "0x75 4560x5"},
        (66, 75), (60, 65, 76), of(AGENT),
    ),
    # Cosigned every ten minutes until minute 10, when the host falls silent.
    Case(
        "AuditHostSilent",
        {f"auditlog_witness_checkpoint_age_seconds{{{WITNESSED}}}": "0+60x9 0+60x75 0x5"},
        (76, 84), (60, 70, 75, 86), of(WITNESSED),
    ),
    Case(
        "AuditTamperAlarm",
        {f"auditlog_shipper_tamper_alarms_total{{{SINK}}}": "_ 1x5 0x5"},
        (1, 6), (0, 7), of(SINK),
    ),
    Case(
        "AuditUnverifiedDuplicates",
        {f"auditlog_shipper_unverified_duplicate_records_total{{{SINK}}}": "_ 1x9 0x5"},
        (7, 10), (0, 5, 11), of(AGENT),
    ),
    # After a restart of the agent: the cursors still name them.
    Case(
        "AuditUnverifiedDuplicates",
        {f'auditlog_retention_kept_segments{{{AGENT},reason="not_verified"}}': "0 1x9 0x5"},
        (7, 10), (0, 5, 11), of(AGENT),
    ),
    # A heartbeat at minute 0 and the next at minute 25; threshold 15 minutes, for 5 more.
    Case(
        "AuditLogSilent",
        {
            f"auditlog_log_last_record_timestamp_seconds{{{AGENT},{OF_LOG}}}": "0x24 1500x9",
            f"auditlog_log_open{{{AGENT},{OF_LOG}}}": "1x30",
        },
        (21, 24), (15, 20, 25), of(f"{AGENT},{OF_LOG}"),
    ),
    # It was closed: its silence is as it should be.
    Case(
        "AuditLogSilent",
        {
            f"auditlog_log_last_record_timestamp_seconds{{{AGENT},{OF_LOG}}}": "0x90",
            f"auditlog_log_open{{{AGENT},{OF_LOG}}}": "0x90",
        },
        (), (30, 80), {},
    ),
    Case(
        "AuditFleetIncomplete",
        {f"auditlog_fleet_missing_records{{{OF_FLEET}}}": "0 3x20 0x5"},
        (11, 21), (1, 10, 22), of(OF_FLEET),
    ),
    Case(
        "AuditFleetIncomplete",
        {f"auditlog_fleet_forked_records{{{OF_FLEET}}}": "0 1x20 0x5"},
        (11, 21), (1, 10, 22), of(OF_FLEET),
    ),
    Case(
        "AuditFleetNeedsPerson",
        {f"auditlog_fleet_needs_person{{{OF_FLEET}}}": "0 1x20 0x5"},
        (11, 21), (1, 10, 22), of(OF_FLEET),
    ),
    # In steps of an hour: the last success was at minute 0.
    Case(
        "AuditRetentionOverdue",
        {
            f"auditlog_retention_last_success_timestamp_seconds{{{AGENT}}}": "0x60 216000x20",
            f"auditlog_retention_running{{{AGENT}}}": "0x80",
            f"auditlog_agent_start_timestamp_seconds{{{AGENT}}}": "0x80",
        },
        (50 * 60, 60 * 60), (40 * 60, 61 * 60), of(AGENT), "1h",
    ),
    # No run has succeeded since the agent was started.
    Case(
        "AuditRetentionOverdue",
        {
            f"auditlog_retention_running{{{AGENT}}}": "0x80",
            f"auditlog_agent_start_timestamp_seconds{{{AGENT}}}": "0x80",
        },
        (50 * 60,), (40 * 60,), of(AGENT), "1h",
    ),
    # An agent that only ships has nothing that could be overdue.
    Case(
        "AuditRetentionOverdue",
        {f"auditlog_agent_start_timestamp_seconds{{{AGENT}}}": "0x80"},
        (), (50 * 60, 70 * 60), {}, "1h",
    ),
    Case(
        "AuditRetentionTripped",
        {f"auditlog_retention_refused{{{AGENT}}}": "0 1x5 0x5"},
        (2, 6), (1, 7), of(AGENT),
    ),
    Case(
        "AuditUnshippedNearDeletion",
        {f"auditlog_shipper_lag_seconds{{{LAG}}}": f"{75 * 86400} {75 * 86400 + 1}x19 0x5"},
        (16, 20), (15, 21), of(AGENT),
    ),
    Case(
        "AuditUnshippedNearDeletion",
        {f'auditlog_retention_kept_segments{{{AGENT},reason="not_shipped"}}': "0 1x19 0x5"},
        (16, 20), (15, 21), of(AGENT),
    ),
]  # fmt: skip


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    named = {rule["alert"] for _, rule in alerts()}
    assert named == {case.alert for case in CASES}
    assert named == {case.alert for case in CASES if case.fires and case.silent}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.alert)
def test_fires_after_its_time_and_not_before_and_stops(
    case: Case, promtool: str, tmp_path: Path
) -> None:
    [(path, rule)] = [(path, rule) for path, rule in alerts() if rule["alert"] == case.alert]
    # No other alert fires, except in the case where all series are absent.
    base = {} if case.alert in ("ServiceDown", "AuditAgentDown") else ALL_UP
    labels = {"alertname": case.alert, "alertstate": "firing", **rule["labels"], **case.labels}
    written = ",".join(f'{name}="{value}"' for name, value in sorted(labels.items()))
    if case.alert == "ServiceDown":  # the other job is well
        jobs = {"queen-rbee", "rbee-hive"} - {of(next(iter(case.series)))["job"]}
        base = {name: value for name, value in ALL_UP.items() if of(name)["job"] in jobs}
    test = {
        "rule_files": [str(path)],
        "evaluation_interval": case.interval,
        "tests": [
            {
                "interval": case.interval,
                "input_series": [
                    {"series": series, "values": values}
                    for series, values in {**base, **case.series}.items()
                ],
                "promql_expr_test": [
                    {
                        "expr": f'ALERTS{{alertname="{case.alert}",alertstate="firing"}}',
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": f"ALERTS{{{written}}}", "value": 1}]
                        if minute in case.fires
                        else [],
                    }
                    for minute in sorted({*case.fires, *case.silent})
                ],
            }
        ],
    }
    written_to = tmp_path / "case.yml"
    written_to.write_text(yaml.safe_dump(test))
    ran(promtool, "test", "rules", written_to)


def test_the_configuration_and_the_rules_are_valid(promtool: str) -> None:
    for path in (DEPLOY / "prometheus/rules").glob("*.yml"):
        ran(promtool, "check", "rules", "--lint=all", "--lint-fatal", path)
    ran(promtool, "check", "config", "--lint=all", DEPLOY / "prometheus/prometheus.yml")


NINE: Final = {  # the monitoring guide: name, for, severity
    ("HighFailedHealthChecks", "5m", "warning"),
    ("NoIdleWorkers", "10m", "warning"),
    ("LowMemory", "5m", "critical"),
    ("LowDiskSpace", "5m", "critical"),
    ("HighForceKillRate", "5m", "warning"),
    ("SlowShutdown", "5m", "warning"),
    ("ServiceDown", "1m", "critical"),
    ("HighRestartRate", "5m", "warning"),
    ("CircuitBreakerActive", "1m", "critical"),
}


def test_the_nine_alerts_of_the_guide_have_its_times_and_severities() -> None:
    found = {
        (rule["alert"], rule["for"], rule["labels"]["severity"])
        for path, rule in alerts()
        if path.stem == "llama-orch"
    }
    assert found == NINE


@pytest.mark.parametrize("rule", [rule for _, rule in alerts()], ids=lambda rule: rule["alert"])
def test_every_alert_says_what_it_is_and_where_its_runbook_is(
    rule: dict[str, dict[str, str]],
) -> None:
    assert rule["labels"]["severity"] in ("warning", "critical")
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    address = f"https://docs.llama-orch.example/monitoring.html#{str(rule['alert']).lower()}"
    assert rule["annotations"]["runbook_url"] == address
