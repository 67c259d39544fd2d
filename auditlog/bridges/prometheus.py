"""Export a log's statistics to Prometheus, read from Log.stats on each scrape.

    prometheus_client.REGISTRY.register(LogCollector(log))

Needs prometheus-client.  The labels are ``log``, of which a process writes few, and ``rule``.

Invariants (tests of the same name in tests/auditlog/bridges/test_prometheus.py):
  names   every name begins with auditlog_writer_ and ends in its unit or total
  fresh   what is served is what stats says at that moment
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from prometheus_client import Metric

    from auditlog.writer.disk_space import Level
    from auditlog.writer.log import Log

__all__ = ["LogCollector"]

_SPACE_LEVELS: Final[Mapping[Level, int]] = {"ok": 0, "low": 1, "critical": 2}


class LogCollector(Collector):
    """Serves the figures of one log or several."""

    def __init__(self, *logs: Log) -> None:
        self._logs = logs

    def collect(self) -> Iterator[Metric]:
        """The metrics of each log at this moment."""
        every = [log.stats() for log in self._logs]
        for name, help_text, counts in (
            ("written_records", "Records that write(2) took since it was opened.", "written"),
            ("durable_records", "Records made durable since it was opened.", "durable"),
            ("durable_bytes", "Bytes made durable since it was opened.", "durable_bytes"),
            ("refused_records", "Events refused because the queue was full.", "refused"),
            ("commits", "Writes with their fdatasync.", "commits"),
        ):
            counter = CounterMetricFamily(f"auditlog_writer_{name}", help_text, labels=["log"])
            for stats in every:
                counter.add_metric([stats.log], getattr(stats, counts))
            yield counter
        redactions = CounterMetricFamily(
            "auditlog_writer_redactions",
            "Secrets taken out of events, by the rule that found them.",
            labels=["log", "rule"],
        )
        for stats in every:
            for rule, count in sorted(stats.redactions.items()):
                redactions.add_metric([stats.log, rule], count)
        yield redactions
        for name, help_text, measures in (
            ("queued_records", "Records that are not durable yet.", "queued"),
            ("queued_bytes", "Bytes that are not durable yet.", "queued_bytes"),
            ("last_commit_seconds", "Write and fdatasync of the last one.", "last_commit_seconds"),
            ("commit_p99_seconds", "99 % were no slower, of the last.", "commit_p99_seconds"),
            ("last_record", "Number of the newest record.", "last_seq"),
            ("durable_record", "Number of the newest record that is durable.", "durable_seq"),
            ("failed_state", "1 when the log takes no more events.", "failed"),
        ):
            gauge = GaugeMetricFamily(f"auditlog_writer_{name}", help_text, labels=["log"])
            for stats in every:
                gauge.add_metric([stats.log], getattr(stats, measures))
            yield gauge
        space = GaugeMetricFamily(
            "auditlog_writer_space_state",
            "Free disk: 0 enough, 1 low, 2 critical.",
            labels=["log"],
        )
        for stats in every:
            space.add_metric([stats.log], _SPACE_LEVELS[stats.space])
        yield space
