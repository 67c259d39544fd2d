"""llama-orch production: workers, hosts, shutdowns, models, tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard

from deploy.grafana.panels import graph, new_dashboard, number

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

__all__ = ["llama_orch"]

_ALL = '{instance=~"$instance"}'
_IDLE = 'sum(rbee_hive_workers_total{instance=~"$instance",state="idle"})'


def llama_orch() -> Dashboard:
    """The dashboard of the monitoring guide, and the rest of its metrics."""
    built = new_dashboard(
        "llama-orch-production",
        "llama-orch production",
        "Workers, hosts, shutdowns, models and tasks. Red begins where an alert does.",
        "rbee-hive",
    )
    _overview(built)
    _workers(built)
    _hosts(built)
    _shutdowns(built)
    _models_and_tasks(built)
    return built.build()


def _overview(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Now"))
    for panel in (
        number(
            "Services down",
            'sum(1 - up{job=~"queen-rbee|rbee-hive"})',
            says="Of queen-rbee and rbee-hive. ServiceDown fires after a minute.",
            limit=1,
        ),
        number(
            "Alerts",
            'count(ALERTS{alertstate="firing"}) or vector(0)',
            says="That fire now.",
            limit=1,
        ),
        number("Idle workers", f"{_IDLE} or vector(0)", says="Over all chosen hives."),
        number(
            "Worker utilisation",
            'sum(rbee_hive_workers_total{instance=~"$instance",state="busy"}) '
            '/ sum(rbee_hive_workers_total{instance=~"$instance",state=~"idle|busy"})',
            "percentunit",
            says="Busy workers, of those that can work.",
        ),
        number(
            "Workers that do not answer",
            f"sum(rbee_hive_workers_failed_health_checks{_ALL})",
            says="Workers that did not answer the last time.",
            limit=4,
        ),
        number("Running tasks", "sum(queen_rbee_tasks_running)", says="Taken on and not ended."),
    ):
        built.with_panel(panel)


def _workers(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Workers"))
    for panel in (
        graph(
            "Workers by state",
            {"{{state}}": f"sum by (state) (rbee_hive_workers_total{_ALL})"},
            says="How many workers there are. A gauge, in spite of its name.",
            stacked=True,
        ),
        graph(
            "Workers by device",
            {
                "{{instance}} {{backend}} {{device}}": "sum by (instance, backend, device) "
                f"(rbee_hive_workers_total{_ALL})"
            },
            says="Where they are.",
        ),
        graph(
            "Failed health checks",
            {"{{instance}}": f"rbee_hive_workers_failed_health_checks{_ALL}"},
            says="Workers whose last health check failed; HighFailedHealthChecks above 3.",
            limit=3,
        ),
        graph(
            "Restarts",
            {"{{instance}}": f"rbee_hive_workers_restart_count{_ALL}"},
            says="Restarts of the workers there are; a worker that is gone takes its own along.",
        ),
        graph(
            "Restart failures",
            {"{{instance}}": f"rate(rbee_hive_worker_restart_failures_total{_ALL}[5m])"},
            "ops",
            says="A second; HighRestartRate above 0.5.",
            limit=0.5,
        ),
        graph(
            "Circuit breakers and refused starts",
            {
                "{{instance}} breaker": "increase("
                f"rbee_hive_circuit_breaker_activations_total{_ALL}[5m])",
                "{{instance}} no resources": "increase("
                f"rbee_hive_worker_spawn_resource_failures_total{_ALL}[5m])",
            },
            says="In 5 minutes: restarts that were suspended, and workers that did not fit.",
        ),
    ):
        built.with_panel(panel)


def _hosts(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Hosts"))
    for panel in (
        graph(
            "Memory usage",
            {
                "{{instance}}": f"1 - rbee_hive_memory_available_bytes{_ALL} "
                f"/ rbee_hive_memory_total_bytes{_ALL}"
            },
            "percentunit",
            says="What is used, of what there is; LowMemory above 90 %.",
            limit=0.9,
            most=1,
        ),
        graph(
            "Disk usage",
            {
                "{{instance}}": f"1 - rbee_hive_disk_available_bytes{_ALL} "
                f"/ rbee_hive_disk_total_bytes{_ALL}"
            },
            "percentunit",
            says="Of the disk with the models; LowDiskSpace above 90 %.",
            limit=0.9,
            most=1,
        ),
        graph(
            "Memory available",
            {"{{instance}}": f"rbee_hive_memory_available_bytes{_ALL}"},
            "bytes",
            says="What can be had without swapping.",
        ),
    ):
        built.with_panel(panel)


def _shutdowns(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Shutdowns"))
    buckets = f"rate(rbee_hive_shutdown_duration_seconds_bucket{_ALL}[15m])"
    for panel in (
        graph(
            "Shutdown duration, p95",
            {"{{instance}}": f"histogram_quantile(0.95, sum by (job, instance, le) ({buckets}))"},
            "s",
            says="19 of 20 shutdowns in 15 minutes took no longer; SlowShutdown above 25 s.",
            limit=25,
        ),
        graph(
            "Force-killed workers",
            {"{{instance}}": f"rate(rbee_hive_workers_force_killed_total{_ALL}[5m])"},
            "ops",
            says="A second; HighForceKillRate above 0.1.",
            limit=0.1,
        ),
        graph(
            "Graceful shutdowns",
            {"{{instance}}": f"rate(rbee_hive_workers_graceful_shutdown_total{_ALL}[5m])"},
            "ops",
            says="Workers that ended when asked to, a second.",
        ),
    ):
        built.with_panel(panel)


def _models_and_tasks(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Models and tasks"))
    for panel in (
        graph(
            "Model downloads",
            {
                "{{instance}} active": f"rbee_hive_download_active{_ALL}",
                "{{instance}} done in 1 h": "increase("
                f"rbee_hive_models_downloaded_total{_ALL}[1h])",
            },
            says="Under way, and finished in the last hour.",
        ),
        graph(
            "Tasks",
            {
                "submitted": "sum(rate(queen_rbee_tasks_submitted_total[5m]))",
                "{{state}}": "sum by (state) (rate(queen_rbee_tasks_ended_total[5m]))",
            },
            "ops",
            says="Taken on and ended, a second.",
        ),
        graph(
            "Refused tasks",
            {"{{reason}}": "sum by (reason) (rate(queen_rbee_tasks_refused_total[5m]))"},
            "ops",
            says="unrecorded: the audit log did not take them in time, so they were not done.",
        ),
    ):
        built.with_panel(panel)
