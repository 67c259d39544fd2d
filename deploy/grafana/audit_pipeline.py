"""The audit pipeline: written, durable, shipped, kept, deleted; how late, and what is wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING

from grafana_foundation_sdk.builders import dashboard

from deploy.grafana.panels import graph, new_dashboard, number

if TYPE_CHECKING:
    from grafana_foundation_sdk.models.dashboard import Dashboard

__all__ = ["audit_pipeline"]

_ALL = '{instance=~"$instance"}'


def audit_pipeline() -> Dashboard:
    """From emit to tombstone."""
    built = new_dashboard(
        "auditlog-pipeline",
        "Audit pipeline",
        "What becomes of audit records: written, durable, shipped, kept, deleted.",
        "queen-rbee|rbee-hive|auditlog-agent",
    )
    _faults(built)
    _written(built)
    _shipped(built)
    _ended(built)
    _archived(built)
    _witnessed(built)
    _fleet(built)
    _agent(built)
    return built.build()


def _faults(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("What is wrong"))
    for panel in (
        number(
            "Logs that failed",
            f"sum(auditlog_writer_failed_state{_ALL})",
            says="They take no more events until their service is restarted.",
            limit=1,
        ),
        number(
            "Agents down",
            'sum(1 - up{job="auditlog-agent"})',
            says="Nothing is lost: records wait in their files.",
            limit=1,
        ),
        number(
            "Silent logs",
            f"count(time() - auditlog_log_last_record_timestamp_seconds{_ALL} > 900 "
            f"and auditlog_log_open{_ALL} == 1) or vector(0)",
            says="Open, and without a heartbeat for a quarter of an hour.",
            limit=1,
        ),
        number(
            "Chain breaks",
            f"sum(auditlog_shipper_chain_breaks_total{_ALL})",
            says="Lines that are missing, changed or strange. auditctl verify says which.",
            limit=1,
        ),
        number(
            "Tamper alarms",
            f"sum(auditlog_shipper_tamper_alarms_total{_ALL})",
            says="Records whose copy in a sink has another hash.",
            limit=1,
        ),
        number(
            "In quarantine",
            f"sum(auditlog_shipper_quarantine_entries{_ALL})",
            says="Records that a sink refuses for good, and alarms.",
            limit=1,
        ),
        number(
            "Retention refused",
            f"sum(auditlog_retention_refused{_ALL})",
            says="1: the circuit breaker asks a person.",
            limit=1,
        ),
        number(
            "Archives in trouble",
            f"sum(auditlog_archive_troubled{_ALL})",
            says="Agents whose archive refuses uploads, or is late. Nothing is deleted meanwhile.",
            limit=1,
        ),
    ):
        built.with_panel(panel)


def _written(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Written and durable"))
    for panel in (
        graph(
            "Durable records",
            {"{{log}}": f"rate(auditlog_writer_durable_records_total{_ALL}[5m])"},
            "ops",
            says="A second, the log's own records included.",
        ),
        graph(
            "Waiting to become durable",
            {
                "{{log}} queued": f"auditlog_writer_queued_records{_ALL}",
                "{{log}} behind": f"auditlog_writer_last_record{_ALL} "
                f"- auditlog_writer_durable_record{_ALL}",
            },
            says="Records in memory; AuditWriterStalled when none becomes durable for 2 minutes.",
        ),
        graph(
            "Commit time",
            {
                "{{log}} p99": f"auditlog_writer_commit_p99_seconds{_ALL}",
                "{{log}} last": f"auditlog_writer_last_commit_seconds{_ALL}",
            },
            "s",
            says="One write with its fdatasync; AuditSyncSlow above half a second.",
            limit=0.5,
        ),
        graph(
            "Records a commit",
            {
                "{{log}}": f"rate(auditlog_writer_durable_records_total{_ALL}[5m]) "
                f"/ rate(auditlog_writer_commits_total{_ALL}[5m])"
            },
            says="How many share one fdatasync.",
        ),
        graph(
            "Since the last record",
            {
                "{{log}}": f"time() - auditlog_log_last_record_timestamp_seconds{_ALL} "
                f"and auditlog_log_open{_ALL} == 1"
            },
            "s",
            says="Of logs that are open, heartbeats included; AuditLogSilent above 900 s.",
            limit=900,
        ),
        graph(
            "Refused events",
            {"{{log}}": f"rate(auditlog_writer_refused_records_total{_ALL}[5m])"},
            "ops",
            says="The queue was full. How many is recorded in the chain, too.",
        ),
        graph(
            "Free disk",
            {"{{log}}": f"auditlog_writer_space_state{_ALL}"},
            says="0 enough, 1 low, 2 critical.",
            limit=1,
            most=2,
        ),
    ):
        built.with_panel(panel)


def _shipped(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Shipped"))
    for panel in (
        graph(
            "Delivered records",
            {
                "{{sink}} {{outcome}}": "sum by (sink, outcome) "
                f"(rate(auditlog_shipper_records_total{_ALL}[5m]))"
            },
            "ops",
            says="Final outcomes, a second.",
        ),
        graph(
            "How late: age",
            {"{{log}} to {{sink}}": f"auditlog_shipper_lag_seconds{_ALL}"},
            "s",
            says="Of the oldest record that is not acknowledged; AuditShippingLate above 300 s.",
            limit=300,
        ),
        graph(
            "How late: records",
            {"{{log}} to {{sink}}": f"auditlog_shipper_lag_records{_ALL}"},
            says="Written and not acknowledged; AuditShippingBacklog above 100,000.",
            limit=100_000,
        ),
        graph(
            "Where they are",
            {
                "{{sink}} pending": f"auditlog_shipper_pending_records{_ALL}",
                "{{sink}} in flight": f"auditlog_shipper_in_flight_records{_ALL}",
            },
            says="Read and without final outcome; of these, on their way.",
        ),
        graph(
            "Tried again",
            {"{{sink}}": f"rate(auditlog_shipper_retried_records_total{_ALL}[5m])"},
            "ops",
            says="Deliveries that are to be made again, a second.",
        ),
        graph(
            "Sinks that accept nothing",
            {"{{instance}} {{sink}}": f"auditlog_shipper_sink_troubled{_ALL}"},
            says="1 while nothing moves; /readyz and the agent's log say why.",
            limit=1,
            most=1,
        ),
        graph(
            "Balance",
            {
                "{{sink}}": f"sum by (sink) (auditlog_shipper_read_records_total{_ALL}) "
                f"- sum by (sink) (auditlog_shipper_records_total{_ALL}) "
                f"- sum by (sink) (auditlog_shipper_pending_records{_ALL})"
            },
            says="Read less delivered less pending: 0, always. Anything else is a defect.",
        ),
        graph(
            "Held in memory",
            {"{{sink}}": f"auditlog_shipper_held_bytes{_ALL}"},
            "bytes",
            says="At most max_in_flight and one batch, whatever the backlog.",
        ),
        graph(
            "Quarantine",
            {"{{instance}} {{sink}}": f"auditlog_shipper_quarantine_bytes{_ALL}"},
            "bytes",
            says="Size of the file that keeps what a sink refused.",
        ),
    ):
        built.with_panel(panel)


def _ended(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Kept and deleted"))
    for panel in (
        graph(
            "Since the last good run",
            {"{{instance}}": f"time() - auditlog_retention_last_success_timestamp_seconds{_ALL}"},
            "s",
            says="AuditRetentionOverdue above two days.",
            limit=172_800,
        ),
        graph(
            "Kept segments, by reason",
            {"{{reason}}": f"sum by (reason) (auditlog_retention_kept_segments{_ALL})"},
            says="By the last run. not_shipped: old enough to go, and a sink does not have it.",
            stacked=True,
        ),
        graph(
            "Compressed and deleted",
            {
                "compressed": "sum(increase("
                f"auditlog_retention_compressed_segments_total{_ALL}[1d]))",
                "deleted": f"sum(increase(auditlog_retention_deleted_segments_total{_ALL}[1d]))",
            },
            says="Segments in a day; each deletion has its tombstone.",
        ),
        graph(
            "Freed",
            {"{{instance}}": f"increase(auditlog_retention_freed_bytes_total{_ALL}[1d])"},
            "bytes",
            says="On disk, in a day.",
        ),
        graph(
            "Failures",
            {"{{instance}}": f"increase(auditlog_retention_failures_total{_ALL}[1d])"},
            says="Runs and segments, in a day.",
        ),
        graph(
            "Runs",
            {"{{instance}}": f"increase(auditlog_retention_runs_total{_ALL}[1d])"},
            says="In a day, one a directory.",
        ),
    ):
        built.with_panel(panel)


def _archived(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Archived"))
    for panel in (
        graph(
            "How late the archive is",
            {"{{instance}}": f"time() - auditlog_archive_oldest_timestamp_seconds{_ALL}"},
            "s",
            says="Age of the oldest finished segment without upload; AuditArchiveTroubled above "
            "late_after, six hours by default, and AuditArchiveBehind above a day. No curve: "
            "nothing waits.",
            limit=21_600,
        ),
        graph(
            "Finished segments without upload",
            {"{{instance}}": f"auditlog_archive_waiting_segments{_ALL}"},
            says="Retention deletes none of them.",
        ),
        graph(
            "Bytes without upload",
            {"{{instance}}": f"auditlog_archive_waiting_bytes{_ALL}"},
            "bytes",
            says="Size of these segments on disk. It falls while a backlog is uploaded.",
        ),
        graph(
            "Since the newest upload",
            {"{{instance}}": f"time() - auditlog_archive_newest_timestamp_seconds{_ALL}"},
            "s",
            says="It grows while nothing is finished, too: see the segments without upload.",
        ),
        graph(
            "Segments in the archive",
            {"{{instance}}": f"auditlog_archive_stored_segments{_ALL}"},
            says="Each is locked until retain has passed.",
        ),
        graph(
            "Failed uploads",
            {"{{instance}}": f"increase(auditlog_archive_upload_failures_total{_ALL}[1h])"},
            says="In an hour; each is tried again. /readyz and the agent's log say why.",
        ),
        graph(
            "Since the last manifest",
            {"{{instance}}": f"time() - auditlog_archive_manifest_timestamp_seconds{_ALL}"},
            "s",
            says="One an hour by default, while segments are finished.",
        ),
        graph(
            "Kept for the archive",
            {
                "{{instance}}": "sum by (instance) (auditlog_retention_kept_segments"
                '{instance=~"$instance",reason="not_archived"})'
            },
            says="Segments that are old enough to go, and are not in the archive.",
        ),
    ):
        built.with_panel(panel)


def _witnessed(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("Signed and witnessed"))
    for panel in (
        graph(
            "Logs that are not signed or cosigned",
            {"{{instance}}": f"auditlog_evidence_troubled{_ALL}"},
            says="AuditEvidenceTroubled above 0; /readyz and the agent's log say why.",
            limit=1,
        ),
        graph(
            "Since a quorum cosigned",
            {"{{log}}": f"time() - auditlog_evidence_witnessed_timestamp_seconds{_ALL}"},
            "s",
            says="AuditNotWitnessed above an hour. A log that does not grow is cosigned again.",
            limit=3600,
        ),
        graph(
            "Signed and not witnessed",
            {
                "{{log}}": f"auditlog_evidence_signed_records{_ALL} "
                f"- auditlog_evidence_witnessed_records{_ALL}"
            },
            says="Records of which no quorum of witnesses knows yet.",
        ),
        graph(
            "Age of what our witness remembers",
            {"{{origin}}": "auditlog_witness_checkpoint_age_seconds"},
            "s",
            says="AuditHostSilent above an hour: the host of that log asks for no cosignature.",
            limit=3600,
        ),
        graph(
            "Growth of what our witness remembers",
            {"{{origin}}": "rate(auditlog_witness_log_records[5m])"},
            "ops",
            says="Records a second in the checkpoints that it cosigned.",
        ),
    ):
        built.with_panel(panel)


def _fleet(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("All hosts, as the index has them"))
    for panel in (
        number(
            "Need a person",
            "sum(auditlog_fleet_needs_person)",
            says="Silent, missing, unknown or incomplete logs; auditctl fleet names them.",
            limit=1,
        ),
        number(
            "Missing records",
            "sum(auditlog_fleet_missing_records)",
            says="By their sequence numbers.",
            limit=1,
        ),
        number(
            "Numbers used twice",
            "sum(auditlog_fleet_forked_records)",
            says="Two hosts write under one name, or a log was rewritten.",
            limit=1,
        ),
        graph(
            "Oldest last record",
            {"{{name}}": "topk(10, time() - auditlog_fleet_last_record_timestamp_seconds)"},
            "s",
            says="The ten logs that have been silent longest.",
        ),
    ):
        built.with_panel(panel)


def _agent(built: dashboard.Dashboard) -> None:
    built.with_row(dashboard.Row("The agent"))
    for panel in (
        graph(
            "CPU",
            {"{{instance}}": f"rate(auditlog_agent_process_cpu_seconds_total{_ALL}[5m])"},
            "percentunit",
            says="Of one core.",
        ),
        graph(
            "Memory",
            {"{{instance}}": f"auditlog_agent_process_resident_memory_bytes{_ALL}"},
            "bytes",
            says="Resident.",
        ),
        graph(
            "Reloads",
            {
                "{{instance}} {{result}}": f"increase(auditlog_agent_reloads_total{_ALL}[1h])",
            },
            says="In an hour; a failed one leaves the old configuration at work.",
        ),
    ):
        built.with_panel(panel)
