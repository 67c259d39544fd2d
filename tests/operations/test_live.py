"""Prometheus, Alertmanager, both services and the agent, all real: what is asked, and what is told.

The tests share one running system and go on where the one before ended.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from shutil import disk_usage
from typing import Any, Final

import psutil
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from tests.support.monitoring import Alertmanager, Prometheus, expressions_of
from tests.support.operations import DEPLOY, alerts
from tests.support.ports import free_port
from tests.support.rbee import Process, Rbee
from tests.support.waiting import eventually

ROOT: Final = DEPLOY.parent
# Served by an agent with witnesses or an archive, by a witness and by `auditctl fleet --metrics`,
# none of which is here: see the tests of evidence, test_alerts.py and the tests of the command.
NOT_IN_THE_STACK: Final = {
    "auditlog_archive_manifest_timestamp_seconds",
    "auditlog_archive_newest_timestamp_seconds",
    "auditlog_archive_oldest_timestamp_seconds",
    "auditlog_archive_stored_segments",
    "auditlog_archive_troubled",
    "auditlog_archive_unfinished_timestamp_seconds",
    "auditlog_archive_upload_failures_total",
    "auditlog_archive_waiting_bytes",
    "auditlog_archive_waiting_segments",
    "auditlog_evidence_signed_records",
    "auditlog_evidence_troubled",
    "auditlog_evidence_witnessed_records",
    "auditlog_evidence_witnessed_timestamp_seconds",
    "auditlog_fleet_forked_records",
    "auditlog_fleet_last_record_timestamp_seconds",
    "auditlog_fleet_missing_records",
    "auditlog_fleet_needs_person",
    "auditlog_witness_checkpoint_age_seconds",
    "auditlog_witness_log_records",
}
NOT_ARCHIVED: Final = 'reason="not_archived"'  # a reason of agents with an archive
DISK: Final = disk_usage(tempfile.gettempdir())
DASHBOARDS: Final = sorted((DEPLOY / "grafana/dashboards").glob("*.json"))
GUIDE: Final = ROOT / "docs/monitoring.md"


@dataclass
class Stack:
    rbee: Rbee
    agent: Process
    prometheus: Prometheus
    alertmanager: Alertmanager
    told: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def told_of(self, job: str) -> list[tuple[str, dict[str, Any]]]:
        """Each time that a job was told to be down, with the receiver that was told."""
        return [
            (path, alert)
            for path, message in self.told
            for alert in message["alerts"]
            if alert["labels"].get("job") == job
            and alert["labels"]["alertname"] == "ServiceDown"
            and alert["status"] == "firing"
        ]

    def names_told(self, status: str = "firing") -> set[str]:
        return {
            alert["labels"]["alertname"]
            for _, message in self.told
            for alert in message["alerts"]
            if alert["status"] == status
        }


@pytest.fixture(scope="module")
def stack(needs: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    needs("prometheus", "prometheus-alertmanager")
    place = tmp_path_factory.mktemp("live")
    told: list[tuple[str, dict[str, Any]]] = []

    def webhook(request: Request) -> Response:
        told.append((request.path, json.loads(request.data)))
        return Response("")

    port = free_port()
    config = place / "config.toml"
    config.write_text(
        f"directories = ['{place}/audit']\nstate_dir = '{place}/state'\nhost = 'hive1'\n"
        f"metrics = '127.0.0.1:{port}'\n"
        f"[sinks.main]\nkind = 'sqlite'\npath = '{place}/index.sqlite'\n"
    )
    command = [sys.executable, "-m", "auditctl", "agent", "--config", str(config)]
    with (
        Rbee(place, shutdown_grace=5.2, health_interval=60) as rbee,
        HTTPServer() as server,
    ):
        server.expect_request(re.compile("/.*")).respond_with_handler(webhook)
        agent = Process(command, port, place / "agent.log")
        alertmanager = Alertmanager(place, server.url_for("").rstrip("/"))
        ports = {
            "queen-rbee": [rbee.services["queen"].port],
            "rbee-hive": [rbee.services["hive"].port],
            "auditlog-agent": [port],
        }
        prometheus = Prometheus(place, ports, alertmanager.port)
        try:
            rbee.start("hive", "queen")
            agent.start("/readyz")
            alertmanager.start("/-/ready")
            prometheus.start("/-/ready")
            eventually(lambda: prometheus.value("sum(up)") == 4, "all is scraped")
            yield Stack(rbee, agent, prometheus, alertmanager, told)
        finally:
            for process in (prometheus, alertmanager, agent):
                process.close()


def test_what_the_services_do_is_what_prometheus_says(stack: Stack) -> None:
    rbee, prometheus = stack.rbee, stack.prometheus
    rbee.pool(3)
    rbee.pool(1, "b")
    [stubborn] = rbee.workers("b")
    os.kill(stubborn["pid"], signal.SIGSTOP)
    assert rbee.ask("DELETE", "hive", "/v2/pools/b").status_code == 204
    rbee.task()
    asked = {"model_ref": "llama", "prompt": "x", "max_tokens": 1000, "seconds": 600}
    rbee.post("queen", "/v2/tasks", asked)
    busy = 'sum(rbee_hive_workers_total{state="busy"})'
    eventually(lambda: prometheus.value(busy) == 1)
    eventually(lambda: prometheus.value("sum(auditlog_shipper_lag_records)") == 0)
    eventually(lambda: (prometheus.value("sum(auditlog_retention_runs_total)") or 0) >= 1)
    killed = "rate(rbee_hive_workers_force_killed_total[5m])"
    eventually(lambda: (prometheus.value(killed) or 0) > 0)
    for expression, implied in VALUES.items():
        eventually(lambda: _holds(prometheus.value(expression), implied), expression)  # noqa: B023  (called at once)


def _holds(value: float | None, implied: Callable[[float], bool]) -> bool:
    return value is not None and implied(value)


def near(expected: Callable[[], float], margin: float) -> Callable[[float], bool]:
    return lambda value: abs(value - expected()) < margin


VALUES: Final[dict[str, Callable[[float], bool]]] = {
    'sum(rbee_hive_workers_total{state="idle"})': lambda value: value == 2,
    'sum(rbee_hive_workers_total{state="busy"}) '
    '/ sum(rbee_hive_workers_total{state=~"idle|busy"})': lambda value: value == 1 / 3,
    "1 - rbee_hive_memory_available_bytes / rbee_hive_memory_total_bytes": near(
        lambda: 1 - psutil.virtual_memory().available / psutil.virtual_memory().total, 0.1
    ),
    "1 - rbee_hive_disk_available_bytes / rbee_hive_disk_total_bytes": near(
        lambda: (
            1 - disk_usage(tempfile.gettempdir()).free / disk_usage(tempfile.gettempdir()).total
        ),
        0.1,
    ),
    # One shutdown, and it took the grace of 5.2 s: the bucket from 5 to 10.
    "histogram_quantile(0.95, sum by (job, instance, le) "
    "(rate(rbee_hive_shutdown_duration_seconds_bucket[15m])))": near(lambda: 9.75, 0.01),
    "rbee_hive_workers_force_killed_total": lambda value: value == 1,
    "rate(rbee_hive_workers_force_killed_total[5m])": lambda value: 0 < value < 1,
    "rate(rbee_hive_worker_restart_failures_total[5m])": lambda value: value == 0,
    "rbee_hive_models_downloaded_total": lambda value: value == 2,
    "sum(queen_rbee_tasks_running)": lambda value: value == 1,
    "sum(queen_rbee_tasks_submitted_total)": lambda value: value == 2,
    "sum(auditlog_writer_failed_state)": lambda value: value == 0,
    "sum(auditlog_shipper_read_records_total) - sum(auditlog_shipper_records_total) "
    "- sum(auditlog_shipper_pending_records)": lambda value: value == 0,
    "sum(auditlog_shipper_records_total) - sum(auditlog_writer_durable_record)": (
        # The retention service's own log is shipped, too, and has no writer that is scraped.
        lambda value: value >= 0
    ),
}


def promql_of_the_guide() -> list[str]:
    blocks = re.findall(
        r"^```promql\n(.*?)^```$", GUIDE.read_text("utf-8"), re.MULTILINE | re.DOTALL
    )
    return [line for block in blocks for line in block.splitlines() if line and line[0] != "#"]


def test_every_expression_of_dashboards_rules_and_guide_can_be_asked(stack: Stack) -> None:
    prometheus = stack.prometheus
    asked = promql_of_the_guide()
    for path in DASHBOARDS:
        asked += expressions_of(json.loads(path.read_text("utf-8")))
    assert len(promql_of_the_guide()) >= 6
    # A scrape that took too long leaves a gap of a second.
    absent = {*NOT_IN_THE_STACK, NOT_ARCHIVED}
    here = [text for text in asked if not any(name in text for name in absent)]
    assert len(asked) - len(here) < 20
    for text in here:
        eventually(lambda: prometheus.query(text), f"{text} shows something")  # noqa: B023  (called at once)
    memory, disk = psutil.virtual_memory(), disk_usage(stack.rbee.place)
    by_host = {
        "LowMemory": memory.available / memory.total < 0.1,
        "LowDiskSpace": disk.free / disk.total < 0.1,
        "AuditSpaceLow": disk.free < 1 << 30,
    }
    for _, rule in alerts():
        if rule["alert"] != "AuditSyncSlow":  # that is for the disk to say
            eventually(
                lambda: bool(prometheus.query(rule["expr"])) == by_host.get(rule["alert"], False),  # noqa: B023  (called at once)
                f"{rule['alert']} is as it should be",
            )


def test_every_metric_that_is_named_exists(stack: Stack) -> None:
    texts = [path.read_text("utf-8") for path in DASHBOARDS]
    texts += [rule["expr"] for _, rule in alerts()]
    texts += promql_of_the_guide()
    named = {
        name
        for text in texts
        for name in re.findall(r"\b(?:rbee_hive|queen_rbee|auditlog)_[a-z0-9_]+", text)
    }
    assert len(named) > 40
    seen: set[str] = set()  # a service that another test restarts has nothing to tell meanwhile

    def missing() -> set[str]:
        seen.update(stack.prometheus.names())
        return named - seen - NOT_IN_THE_STACK

    eventually(lambda: not missing(), "all are there")


def nothing_new_is_down(stack: Stack, *known: str) -> None:
    """Begin here: scrapes that took too long may have been told of before, and of their end."""
    down = {"ServiceDown", "AuditAgentDown", "NoIdleWorkers"} - set(known)
    eventually(lambda: not down & stack.prometheus.firing(), "all are scraped")
    eventually(lambda: not down & stack.alertmanager.alerts().keys(), "and that is known")
    stack.told.clear()


def test_a_service_that_stops_is_told_and_the_warning_it_explains_is_not(stack: Stack) -> None:
    prometheus, alertmanager = stack.prometheus, stack.alertmanager
    nothing_new_is_down(stack)
    stack.rbee.services["hive"].stop()
    eventually(lambda: "ServiceDown" in prometheus.firing(), "Prometheus notices", 60)
    eventually(lambda: stack.told_of("rbee-hive"), "the webhook is told", 60)
    path, alert = stack.told_of("rbee-hive")[0]
    assert path == "/slack-and-mail"
    assert alert["labels"]["severity"] == "critical"
    assert alert["labels"]["cluster"] == "llama-orch"
    assert alert["annotations"]["summary"] == (
        f"rbee-hive on 127.0.0.1:{stack.rbee.services['hive'].port} is down"
    )
    eventually(lambda: "NoIdleWorkers" in prometheus.firing(), "its consequence fires", 60)
    eventually(lambda: "NoIdleWorkers" in alertmanager.alerts(), "and is known", 60)
    assert alertmanager.alerts()["NoIdleWorkers"]["status"]["state"] == "suppressed"
    assert alertmanager.alerts()["NoIdleWorkers"]["status"]["inhibitedBy"]

    # Later alerts have arrived, so alerts that have not are suppressed.
    stack.agent.stop(signal.SIGKILL)
    eventually(lambda: "AuditAgentDown" in stack.names_told(), "the webhook is told", 60)
    assert "NoIdleWorkers" not in stack.names_told()

    # Back again: the end is told, and so is the warning, which nothing explains any more.
    stack.rbee.start("hive")
    eventually(lambda: "ServiceDown" in stack.names_told("resolved"), "the end is told", 60)
    eventually(lambda: "NoIdleWorkers" in stack.names_told(), "the hive has no pool any more", 60)
    assert {path for path, _ in stack.told} <= {"/slack-and-mail", "/slack"}


def test_alerts_wait_for_an_alertmanager_that_is_down(stack: Stack) -> None:
    nothing_new_is_down(stack, "AuditAgentDown", "NoIdleWorkers")
    stack.alertmanager.stop(signal.SIGKILL)
    stack.rbee.services["queen"].stop()
    down = 'ALERTS{alertname="ServiceDown",alertstate="firing",job="queen-rbee"}'
    eventually(lambda: stack.prometheus.query(down), "Prometheus notices", 60)
    assert not stack.told_of("queen-rbee")
    stack.alertmanager.start("/-/ready")
    eventually(lambda: stack.told_of("queen-rbee"), "it is told after all", 90)
