"""Define the agent's metrics: name, help text, labels and source statistic.

docs/metrics.md is this table in words, and a test holds the two together.  Figures are read from
the snapshots of the parts when they are asked for; nothing is counted twice.  Labels are sinks,
logs, outcomes and reasons: few, and known from the configuration and the names of the segments.
No label holds a path or anything from a record.

Invariants (tests of the same name in tests/auditctl/agent/test_metrics.py):
  balance    read = indexed + duplicate + quarantined + pending, in what is served
  names      every name begins with auditlog_ and ends in a base unit or total
  documented docs/metrics.md describes exactly these, with these labels
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Callable, Iterator

    from prometheus_client import Metric

    from auditctl.agent.evidence import EvidenceStatus
    from auditlog.evidence.service import LogEvidence
    from auditlog.verification.continuous import VerificationStatus
    from retention.schedule import Status
    from shippers.archive.status import ArchiveStatus
    from shippers.stats import LogStats, ShippingStats, SinkStats

__all__ = ["About", "MetricFamily", "metric_families"]


MetricKind = Literal["counter", "gauge"]


@dataclass(frozen=True, slots=True)
class About:
    """The agent itself: version, start time and number of reloads."""

    version: str
    started_at: dt.datetime
    loaded_at: dt.datetime
    reloads: int = 0
    failed_reloads: int = 0


@dataclass(frozen=True, slots=True)
class MetricFamily:
    """One metric; a counter's name is without the ``_total`` that is served."""

    kind: MetricKind
    name: str
    text: str
    labels: tuple[str, ...]
    samples: tuple[tuple[tuple[str, ...], float], ...]

    @property
    def served_name(self) -> str:
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def metric(self) -> Metric:
        make = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        metric = make(self.name, self.text, labels=self.labels)
        for labels, value in self.samples:
            metric.add_metric(labels, value)
        return metric


def metric_families(
    about: About,
    shipping: ShippingStats | None,
    retention: Status | None,
    verification: VerificationStatus | None,
    now: dt.datetime,
    *,
    evidence: EvidenceStatus | None = None,
    archive: ArchiveStatus | None = None,
) -> Iterator[MetricFamily]:
    """Return the metrics of all running services."""
    yield from _agent_metrics(about)
    if shipping is not None:
        yield from _shipping_metrics(shipping)
        yield from _sink_metrics(shipping)
        yield from _log_metrics(shipping, now)
        yield from _last_record_metrics(shipping)
    if retention is not None:
        yield from _retention_metrics(retention)
    if verification is not None:
        yield from _verification_metrics(verification)
    if evidence is not None:
        yield from _evidence_metrics(evidence)
    if archive is not None:
        yield from _archive_metrics(archive)


def _plain(kind: MetricKind, name: str, text: str, value: float) -> MetricFamily:
    return MetricFamily(kind, f"auditlog_{name}", text, (), (((), value),))


def _instant(name: str, text: str, at: dt.datetime | None) -> MetricFamily:
    metric = f"auditlog_{name}_timestamp_seconds"
    samples = () if at is None else (((), at.timestamp()),)
    return MetricFamily("gauge", metric, f"{text} Absent while there is none.", (), samples)


def _agent_metrics(about: About) -> Iterator[MetricFamily]:
    yield MetricFamily(
        "gauge",
        "auditlog_build_info",
        "1, labelled with the versions of auditlog and Python.",
        ("python", "version"),
        (((platform.python_version(), about.version), 1),),
    )
    yield _plain(
        "gauge",
        "agent_start_timestamp_seconds",
        "Time when the agent was started.",
        about.started_at.timestamp(),
    )
    yield MetricFamily(
        "counter",
        "auditlog_agent_reloads",
        "Reloads of the configuration, by result.",
        ("result",),
        ((("success",), about.reloads), (("failure",), about.failed_reloads)),
    )
    yield _plain(
        "gauge",
        "agent_config_loaded_timestamp_seconds",
        "Time when the current configuration was read.",
        about.loaded_at.timestamp(),
    )


def _shipping_metrics(stats: ShippingStats) -> Iterator[MetricFamily]:
    logs = len({entry.log for entry in stats.logs})
    yield _plain("gauge", "shipper_logs", "Logs that are followed.", logs)
    yield _plain(
        "counter",
        "shipper_watcher_rebuilds",
        "Restarts of the directory watcher.",
        stats.watcher_rebuilds,
    )


_OUTCOMES: Final = ("indexed", "duplicate", "quarantined")


def _sink_metrics(stats: ShippingStats) -> Iterator[MetricFamily]:
    logs: dict[str, list[LogStats]] = {sink.name: [] for sink in stats.sinks}
    for entry in stats.logs:
        logs[entry.sink].append(entry)

    for kind, name, text, statistic in _SINK_TOTALS:
        totals = tuple(
            ((sink,), sum(getattr(entry, statistic) for entry in entries))
            for sink, entries in logs.items()
        )
        yield MetricFamily(kind, f"auditlog_shipper_{name}", text, ("sink",), totals)
    yield MetricFamily(
        "counter",
        "auditlog_shipper_records",
        "Records with a final outcome: indexed, duplicate or quarantined.",
        ("outcome", "sink"),
        tuple(
            ((outcome, sink), sum(getattr(entry, outcome) for entry in entries))
            for sink, entries in logs.items()
            for outcome in _OUTCOMES
        ),
    )
    redactions: Counter[tuple[str, ...]] = Counter()
    for entry in stats.logs:
        for rule, count in entry.redactions.items():
            redactions[rule, entry.sink] += count
    yield MetricFamily(
        "counter",
        "auditlog_shipper_redactions",
        "Secrets taken out of lines of other programs.",
        ("rule", "sink"),
        tuple(sorted(redactions.items())),
    )
    for name, text, value in _SINK_GAUGES:
        samples = tuple(
            ((sink.name,), figure) for sink in stats.sinks if (figure := value(sink)) is not None
        )
        yield MetricFamily("gauge", f"auditlog_shipper_{name}", text, ("sink",), samples)


_SINK_TOTALS: Final[tuple[tuple[MetricKind, str, str, str], ...]] = (
    ("counter", "read_records", "Records read from the logs.", "written"),
    ("gauge", "pending_records", "Records read that have no final outcome yet.", "pending"),
    ("counter", "retried_records", "Records to be delivered again.", "retries"),
    ("counter", "chain_breaks", "Alarms about a log itself.", "chain_breaks"),
    ("counter", "tamper_alarms", "Records stored in the sink with another hash.", "tamper_alarms"),
    (
        "counter",
        "unverified_duplicate_records",
        "Duplicates whose stored hash could not be compared.",
        "unverified",
    ),
    ("counter", "bad_lines", "Lines that are not JSON objects, delivered as text.", "bad_lines"),
    ("counter", "cut_lines", "Lines that were too long, delivered in part.", "cut_lines"),
    ("counter", "source_restarts", "Restarts of reading a file or journal.", "restarts"),
)
"""Kind, name, help text, and the statistic of each log that is summed up for a sink."""

_SINK_GAUGES: Final[tuple[tuple[str, str, Callable[[SinkStats], float | None]], ...]] = (
    ("in_flight_requests", "Requests in flight.", lambda sink: sink.in_flight),
    ("in_flight_records", "Records in requests in flight.", lambda sink: sink.in_flight_records),
    (
        "in_flight_bytes",
        "Bytes of records in requests in flight.",
        lambda sink: sink.in_flight_bytes,
    ),
    ("held_bytes", "Bytes in memory that have no final outcome yet.", lambda sink: sink.held_bytes),
    ("quarantine_entries", "Entries in the quarantine.", lambda sink: sink.quarantine_entries),
    ("quarantine_bytes", "Size of the quarantine.", lambda sink: sink.quarantine_bytes),
    (
        "last_success_timestamp_seconds",
        "Time of the last final outcome; absent before the first.",
        lambda sink: None if sink.last_success_at is None else sink.last_success_at.timestamp(),
    ),
    ("sink_troubled", "1 while nothing can be delivered.", lambda sink: bool(sink.trouble)),
)


def _log_metrics(stats: ShippingStats, now: dt.datetime) -> Iterator[MetricFamily]:
    gauges: tuple[tuple[str, str, Callable[[LogStats], float]], ...] = (
        ("lag_records", "Records that are not acknowledged.", lambda e: e.lag_records),
        (
            "lag_bytes",
            "Bytes that are not read yet; compressed segments by file size.",
            lambda e: e.lag_bytes,
        ),
        (
            "lag_seconds",
            "Age of the first record that is not acknowledged; 0 when there is none.",
            lambda e: e.lag_seconds(now),
        ),
        (
            "source_troubled",
            "1 while something of a log or another source cannot be read.",
            lambda e: bool(e.unreadable),
        ),
        (
            "name_taken",
            "1 while a sink has records of another installation under this log's name.",
            lambda e: e.name_taken,
        ),
    )
    for name, text, value in gauges:
        samples = tuple(((entry.log, entry.sink), value(entry)) for entry in stats.logs)
        yield MetricFamily("gauge", f"auditlog_shipper_{name}", text, ("log", "sink"), samples)


def _last_record_metrics(stats: ShippingStats) -> Iterator[MetricFamily]:
    """One sample a log, however many sinks it goes to."""
    last = {entry.log: entry for entry in stats.logs if entry.last_at is not None}
    yield MetricFamily(
        "gauge",
        "auditlog_log_last_record_timestamp_seconds",
        "Time of the newest record in the files of a log.",
        ("log",),
        tuple(((log,), entry.last_at.timestamp()) for log, entry in last.items() if entry.last_at),
    )
    yield MetricFamily(
        "gauge",
        "auditlog_log_open",
        "1 when that is not log.closed: the log is open, or its writer was killed.",
        ("log",),
        tuple(((log,), entry.is_open) for log, entry in last.items()),
    )


def _retention_metrics(status: Status) -> Iterator[MetricFamily]:
    for kind, name, text, figure in _RETENTION:
        yield _plain(kind, f"retention_{name}", text, getattr(status, figure))
    for name, text, at in (
        ("last_success", "Time of the last success in every directory.", status.last_success_at),
        ("next_run", "Time when the next run is due.", status.next_run_at),
        ("oldest_record", "Time of the oldest record that is kept.", status.oldest_record_at),
    ):
        yield _instant(f"retention_{name}", text, at)
    yield MetricFamily(
        "gauge",
        "auditlog_retention_kept_segments",
        "Segments that the last run kept, by reason.",
        ("reason",),
        tuple(((reason,), segments) for reason, segments in sorted(status.kept.items())),
    )
    yield MetricFamily(
        "gauge",
        "auditlog_retention_bytes",
        "Bytes on disk after the last run: of plain and of compressed segments, of foreign files.",
        ("form",),
        tuple(((form,), size) for form, size in sorted(status.bytes_by_form.items())),
    )


_RETENTION: Final[tuple[tuple[MetricKind, str, str, str], ...]] = (
    ("counter", "runs", "Runs, counted for each directory.", "runs"),
    ("counter", "failures", "Runs and segments that failed.", "failures"),
    ("gauge", "refused", "1 while the circuit breaker waits for confirmation.", "refused"),
    ("gauge", "running", "1 during a run.", "running"),
    (
        "gauge",
        "over_bytes",
        "Bytes above max_total_bytes that cannot be deleted yet.",
        "over_bytes",
    ),
    ("counter", "compressed_segments", "Segments compressed.", "compressed"),
    ("counter", "deleted_segments", "Segments deleted.", "deleted"),
    ("counter", "freed_bytes", "Bytes freed on disk.", "freed_bytes"),
)
"""Kind, name, help text, and the field of retention's status."""


def _verification_metrics(status: VerificationStatus) -> Iterator[MetricFamily]:
    yield _plain(
        "gauge",
        "verification_alarms",
        "Findings of the last verification of each log, and directories that are gone.",
        len(status.alarms),
    )
    yield _plain("counter", "verification_records", "Records verified.", status.verified_records)
    yield MetricFamily(
        "gauge",
        "auditlog_verification_full_timestamp_seconds",
        "Time since when every log was verified at least once. Absent before that.",
        (),
        () if status.full_at is None else (((), status.full_at.timestamp()),),
    )
    yield _plain(
        "gauge",
        "verification_overdue_seconds",
        "How much longer than verify_every that is.",
        status.overdue.total_seconds(),
    )


def _evidence_metrics(status: EvidenceStatus) -> Iterator[MetricFamily]:
    gauges: tuple[tuple[str, str, Callable[[LogEvidence], float | None]], ...] = (
        ("signed_records", "Records in the newest checkpoint.", lambda e: e.signed_seq),
        (
            "witnessed_records",
            "Records in the newest checkpoint that a quorum of witnesses cosigned.",
            lambda e: e.witnessed_seq,
        ),
        (
            "witnessed_timestamp_seconds",
            "When a witness last cosigned that. Absent before.",
            lambda e: None if e.witnessed_at is None else e.witnessed_at.timestamp(),
        ),
    )
    for name, text, value in gauges:
        samples = tuple(
            ((entry.log,), figure) for entry in status.logs if (figure := value(entry)) is not None
        )
        yield MetricFamily("gauge", f"auditlog_evidence_{name}", text, ("log",), samples)
    yield _plain(
        "gauge",
        "evidence_troubled",
        "Logs that are not signed or cosigned, for a reason.",
        sum(bool(entry.trouble) for entry in status.logs) + bool(status.trouble),
    )


def _archive_metrics(status: ArchiveStatus) -> Iterator[MetricFamily]:
    yield _plain("gauge", "archive_stored_segments", "Segments in the archive.", status.objects)
    yield _plain(
        "gauge", "archive_waiting_segments", "Finished segments without upload.", status.waiting
    )
    yield _plain("gauge", "archive_waiting_bytes", "Their size on disk.", status.waiting_bytes)
    unfinished = status.unfinished[0].written_at if status.unfinished else None
    for name, text, at in (
        (
            "oldest",
            "When the oldest finished segment without upload was last written to.",
            status.oldest_at,
        ),
        (
            "unfinished",
            "The last write to the log whose newest segment waits longest to be finished.",
            unfinished,
        ),
        ("newest", "When the newest segment in the archive was uploaded.", status.newest_at),
        ("manifest", "When the newest manifest was made.", status.manifest_at),
    ):
        yield _instant(f"archive_{name}", text, at)
    yield _plain("counter", "archive_upload_failures", "Uploads that failed.", status.failures)
    yield _plain(
        "gauge",
        "archive_troubled",
        "1 while uploads fail, or the oldest finished segment waits longer than late_after.",
        int(bool(status.trouble) or status.late),
    )
