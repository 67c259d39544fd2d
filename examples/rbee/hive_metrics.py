"""Define rbee-hive's Prometheus metrics, by the names that its dashboards and alerts use.

rbee_hive_workers_total is a gauge in spite of its name: so the monitoring guide calls it, and
renaming it would break whoever uses it.  Gauges are read from the hive when they are asked for.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

import psutil
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from rbee.worker_process import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from prometheus_client import Metric

    from rbee.pools import Worker

__all__ = ["HiveMetrics"]

_SHUTDOWN_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 20, 25, 30, 45, 60)
"""Seconds; 25 is where the alert SlowShutdown begins, so it is a bound."""


class HiveMetrics:
    """The counters that the hive moves; everything else is looked at when scraped."""

    def __init__(self, disk: Path) -> None:
        self.registry = CollectorRegistry()
        self._disk = disk
        self.restart_failures = self._counter(
            "rbee_hive_worker_restart_failures", "Restarts of a worker that did not succeed."
        )
        self.breaker_activations = self._counter(
            "rbee_hive_circuit_breaker_activations", "Times that a pool's restarts were suspended."
        )
        self.spawn_failures = self._counter(
            "rbee_hive_worker_spawn_resource_failures", "Workers not started for want of resources."
        )
        self.graceful = self._counter(
            "rbee_hive_workers_graceful_shutdown", "Workers that ended when asked to."
        )
        self.killed = self._counter(
            "rbee_hive_workers_force_killed", "Workers that had to be killed."
        )
        self.downloaded = self._counter("rbee_hive_models_downloaded", "Model files fetched.")
        self.downloading = Gauge(
            "rbee_hive_download_active", "Downloads under way.", registry=self.registry
        )
        self.shutdown_seconds = Histogram(
            "rbee_hive_shutdown_duration_seconds",
            "From asking a worker to stop until it had ended.",
            buckets=_SHUTDOWN_BUCKETS,
            registry=self.registry,
        )

    def watch(self, workers: Callable[[], Iterable[Worker]]) -> None:
        """Serve the state of these workers and of the host, too."""
        self.registry.register(_Looked(workers, self._disk))

    def _counter(self, name: str, text: str) -> Counter:
        return Counter(name, text, registry=self.registry)


class _Looked(Collector):
    def __init__(self, workers: Callable[[], Iterable[Worker]], disk: Path) -> None:
        self._workers = workers
        self._disk = disk

    def collect(self) -> Iterator[Metric]:
        workers = list(self._workers())
        yield _by_state(workers)
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(self._disk))
        for name, text, value in (
            (
                "workers_failed_health_checks",
                "Workers whose last health check failed.",
                sum(worker.failed_checks > 0 for worker in workers),
            ),
            (
                "workers_restart_count",
                "Restarts of the workers there are.",
                sum(worker.restarts for worker in workers),
            ),
            ("memory_total_bytes", "Memory of the host.", memory.total),
            ("memory_available_bytes", "Memory that can be had.", memory.available),
            ("disk_total_bytes", "The disk that models are kept on.", disk.total),
            ("disk_available_bytes", "Free there for a service.", disk.free),
        ):
            yield GaugeMetricFamily(f"rbee_hive_{name}", text, value)


def _by_state(workers: Iterable[Worker]) -> Metric:
    """Every state of each kind of worker, also where there is none: 0 is not the same as absent."""
    gauge = GaugeMetricFamily(
        "rbee_hive_workers_total", "Workers there are.", labels=["state", "backend", "device"]
    )
    tally = Tally((worker.state, worker.pool.backend, worker.pool.device) for worker in workers)
    for backend, device in sorted({(w.pool.backend, w.pool.device) for w in workers}):
        for state in STATES:
            gauge.add_metric([state, backend, str(device)], tally[state, backend, device])
    return gauge
