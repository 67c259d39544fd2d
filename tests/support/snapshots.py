"""How the parts of an agent stand, as snapshots: two sinks, two logs, a retention that ran."""

from __future__ import annotations

import datetime as dt
from typing import Final

from auditctl.agent.evidence import EvidenceStatus
from auditctl.agent.metrics import About
from auditlog.evidence.service import LogEvidence
from auditlog.verification.continuous import VerificationAlarm, VerificationStatus
from retention.schedule import Status
from shippers.archive.status import ArchiveStatus
from shippers.stats import LogStats, ShippingStats, SinkStats

__all__ = ["ABOUT", "ARCHIVE", "EVIDENCE", "NOON", "RETENTION", "SHIPPING", "VERIFICATION"]

NOON: Final = dt.datetime(2026, 11, 23, 12, tzinfo=dt.UTC)


def _log_stats(sink: str, log: str, scale: int) -> LogStats:
    return LogStats(
        sink=sink,
        log=log,
        written=10 * scale,
        indexed=5 * scale,
        duplicate=2 * scale,
        quarantined=scale,
        retries=7 * scale,
        unverified=0,
        chain_breaks=scale,
        tamper_alarms=0,
        acknowledged_seq=8 * scale,
        lag_records=3 * scale,
        lag_bytes=300 * scale,
        oldest_at=NOON - dt.timedelta(seconds=scale) if sink == "copy" else None,
        last_at=NOON - dt.timedelta(seconds=scale),
        is_open=scale == 1,
        trouble="",
        redactions={"password": scale, "jwt": 2 * scale},
    )


def _sink_stats(name: str, address: str, trouble: str, at: dt.datetime | None) -> SinkStats:
    return SinkStats(
        name=name,
        address=address,
        in_flight=1,
        in_flight_records=2000,
        in_flight_bytes=1_000_000,
        held_bytes=4096,
        quarantine_entries=3,
        quarantine_bytes=900,
        last_success_at=at,
        trouble=trouble,
    )


_SINKS: Final = (
    _sink_stats("main", "https://es.example", "", NOON),
    _sink_stats("copy", "/var/lib/copy.sqlite", "cannot connect", None),
)
_LOGS: Final = ("queen-rbee@hive1", "rbee-hive@gpu1")
SHIPPING: Final = ShippingStats(
    tuple(
        _log_stats(sink.name, log, scale) for sink in _SINKS for scale, log in enumerate(_LOGS, 1)
    ),
    _SINKS,
    watcher_rebuilds=1,
)
RETENTION: Final = Status(
    NOON,
    NOON + dt.timedelta(days=1),
    runs=3,
    failures=1,
    kept={"active": 2, "not_shipped": 1},
    deleted=4,
)
ABOUT: Final = About("0.1.0", NOON, NOON, reloads=2, failed_reloads=1)
VERIFICATION: Final = VerificationStatus(
    logs=2,
    full_at=NOON,
    overdue=dt.timedelta(seconds=60),
    alarms=(
        VerificationAlarm(
            "/audit", "queen-rbee@hive1", "missing_segment", "", 7, "records 7 to 9 are missing"
        ),
    ),
    verified_records=30,
)
EVIDENCE: Final = EvidenceStatus(
    tuple(
        LogEvidence(
            log=log,
            origin=f"audit.example.com/{log}",
            read_seq=12 * scale,
            signed_seq=10 * scale,
            signed_at=NOON,
            witnessed_seq=9 * scale,
            witnessed_at=NOON,
            witnesses=("w1", "w3"),
            trouble="" if scale == 1 else "records 25 to 29 are missing",
        )
        for scale, log in enumerate(_LOGS, 1)
    )
)
ARCHIVE: Final = ArchiveStatus(
    waiting=2,
    waiting_bytes=4096,
    oldest_at=NOON,
    objects=40,
    object_bytes=1 << 20,
    newest_at=NOON,
    failures=3,
    trouble="the server cannot be reached",
    manifest=7,
    manifest_at=NOON,
)
