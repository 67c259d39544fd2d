"""What the agent tells Prometheus, and whether it is alive and ready.

    /metrics    everything below      /healthz    200 while the process can answer
    /readyz     200 while every part runs, 503 when one has ended or the agent is stopping

Figures are read from the services' own snapshots when asked for; nothing is counted twice.  Labels
are sinks, outcomes and reasons: few, and known from the configuration.  No label holds a path, a
log id or anything from a record.

Invariants (tests of the same name in tests/auditctl/test_metrics.py):
  balance    read = indexed + duplicate + quarantined + pending, in what is served
  names      every name begins with auditlog_ and ends in a base unit or total
  loopback   the default address is reachable from this host alone
"""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from auditctl.errors import CommandFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client import Metric

    from auditctl.config_values import Address
    from retention.schedule import Status
    from shippers.stats import Stats

__all__ = ["MetricsServer", "Source"]

_TEXT: Final = "text/plain; charset=utf-8"


class Source(Protocol):
    """What is served: the agent."""

    def shipping(self) -> Stats | None:
        """The shippers' snapshot; None where nothing is shipped."""
        ...

    def retention(self) -> Status | None:
        """The schedule's snapshot; None where retention does not run."""
        ...

    def ready(self) -> bool:
        """Whether every part runs."""
        ...


class MetricsServer:
    """Serves a source over HTTP until closed.  Raises CommandFailed when the port is taken."""

    def __init__(self, address: Address, source: Source) -> None:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_AgentCollector(source))

        class Handler(_Handler):
            def answer(self) -> tuple[HTTPStatus, str, bytes]:
                return _answer(self.path.partition("?")[0], registry, source)

        try:
            self._server = _Server((address.host, address.port), Handler)
        except OSError as error:
            raise CommandFailed(
                f"{address}: metrics cannot be served there",
                errno=error.errno,
                hint='Set metrics to a free address, or to "" for none.',
            ) from error
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """The port that is listened on, also where 0 was asked for."""
        return int(self._server.server_address[1])

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(ThreadingHTTPServer):
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    timeout = 10  # seconds; a client that says nothing holds no thread for ever

    def answer(self) -> tuple[HTTPStatus, str, bytes]:
        raise NotImplementedError

    def do_GET(self) -> None:
        status, content_type, body = self.answer()
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base class names it so)
        """A scrape every few seconds is no news."""


def _answer(
    path: str, registry: CollectorRegistry, source: Source
) -> tuple[HTTPStatus, str, bytes]:
    if path == "/metrics":
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)
    if path == "/healthz":
        return HTTPStatus.OK, _TEXT, b"ok\n"
    if path == "/readyz":
        if source.ready():
            return HTTPStatus.OK, _TEXT, b"ready\n"
        return HTTPStatus.SERVICE_UNAVAILABLE, _TEXT, b"not ready\n"
    return HTTPStatus.NOT_FOUND, _TEXT, b"there are /metrics, /healthz and /readyz\n"


class _AgentCollector(Collector):
    """Turns the source's snapshots into metrics, each time it is asked."""

    def __init__(self, source: Source) -> None:
        self._source = source

    def collect(self) -> Iterator[Metric]:
        if (stats := self._source.shipping()) is not None:
            yield from _of_shipping(stats)
        if (status := self._source.retention()) is not None:
            yield from _of_retention(status)


def _of_shipping(stats: Stats) -> Iterator[Metric]:
    by_sink = {
        sink.name: [entry for entry in stats.logs if entry.sink == sink.name]
        for sink in stats.sinks
    }
    read = CounterMetricFamily(
        "auditlog_shipper_read_records", "Records read from the logs.", labels=["sink"]
    )
    final = CounterMetricFamily(
        "auditlog_shipper_records", "Records with a final outcome.", labels=["sink", "outcome"]
    )
    retried = CounterMetricFamily(
        "auditlog_shipper_retried_records", "Deliveries to be made again.", labels=["sink"]
    )
    breaks = CounterMetricFamily(
        "auditlog_shipper_chain_breaks", "Alarms about a log itself.", labels=["sink"]
    )
    unverified = CounterMetricFamily(
        "auditlog_shipper_unverified_duplicate_records",
        "Duplicates whose stored hash could not be compared.",
        labels=["sink"],
    )
    gauges = {
        "pending": GaugeMetricFamily(
            "auditlog_shipper_pending_records", "Read and without final outcome.", labels=["sink"]
        ),
        "lag_records": GaugeMetricFamily(
            "auditlog_shipper_lag_records", "Not acknowledged and not read yet.", labels=["sink"]
        ),
        "lag_bytes": GaugeMetricFamily(
            "auditlog_shipper_lag_bytes", "Not acknowledged and not read yet.", labels=["sink"]
        ),
    }
    held = GaugeMetricFamily("auditlog_shipper_held_bytes", "Held in memory.", labels=["sink"])
    in_flight = GaugeMetricFamily(
        "auditlog_shipper_in_flight_requests", "Deliveries under way.", labels=["sink"]
    )
    stuck = GaugeMetricFamily(
        "auditlog_shipper_sink_troubled", "1 while nothing moves, with a reason.", labels=["sink"]
    )
    for sink in stats.sinks:
        logs = by_sink[sink.name]
        read.add_metric([sink.name], sum(entry.written for entry in logs))
        for outcome in ("indexed", "duplicate", "quarantined"):
            final.add_metric([sink.name, outcome], sum(getattr(entry, outcome) for entry in logs))
        retried.add_metric([sink.name], sum(entry.retries for entry in logs))
        breaks.add_metric([sink.name], sum(entry.chain_breaks for entry in logs))
        unverified.add_metric([sink.name], sum(entry.unverified for entry in logs))
        for name, gauge in gauges.items():
            gauge.add_metric([sink.name], sum(getattr(entry, name) for entry in logs))
        held.add_metric([sink.name], sink.held_bytes)
        in_flight.add_metric([sink.name], sink.in_flight)
        stuck.add_metric([sink.name], bool(sink.trouble))
    yield from (read, final, retried, breaks, unverified, *gauges.values(), held, in_flight, stuck)
    yield GaugeMetricFamily("auditlog_shipper_logs", "Logs that are followed.", _logs(stats))
    yield CounterMetricFamily(
        "auditlog_shipper_watcher_rebuilds",
        "Times that watching the directories had to begin anew.",
        stats.watcher_rebuilds,
    )


def _logs(stats: Stats) -> int:
    return len({entry.log for entry in stats.logs})


def _of_retention(status: Status) -> Iterator[Metric]:
    yield CounterMetricFamily("auditlog_retention_runs", "Runs, one a directory.", status.runs)
    yield CounterMetricFamily(
        "auditlog_retention_failures", "Runs and segments that failed.", status.failures
    )
    yield GaugeMetricFamily(
        "auditlog_retention_refused", "1 while the circuit breaker asks a person.", status.refused
    )
    yield GaugeMetricFamily("auditlog_retention_running", "1 during a run.", status.running)
    for name, help_text, at in (
        ("last_success", "When every directory had a good run.", status.last_success_at),
        ("next_run", "When the next run is due.", status.next_run_at),
    ):
        if at is not None:
            metric = f"auditlog_retention_{name}_timestamp_seconds"
            yield GaugeMetricFamily(metric, help_text, at.timestamp())
    kept = GaugeMetricFamily(
        "auditlog_retention_kept_segments", "Kept by the last run, by reason.", labels=["reason"]
    )
    for reason, segments in sorted(status.kept.items()):
        kept.add_metric([reason], segments)
    yield kept
    yield CounterMetricFamily(
        "auditlog_retention_compressed_segments", "Compressed.", status.compressed
    )
    yield CounterMetricFamily("auditlog_retention_deleted_segments", "Deleted.", status.deleted)
    yield CounterMetricFamily(
        "auditlog_retention_freed_bytes", "Freed on disk.", status.freed_bytes
    )
