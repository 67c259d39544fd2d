"""Details of tombstones as retention writes them, for tests that need no whole run of it."""

from __future__ import annotations

from typing import Any

from auditlog.format.record import GENESIS_HASH
from retention.policy import RetentionPolicy
from tests.support.logs import LogBuilder

__all__ = ["delete_second_segment", "tombstone_details"]


def tombstone_details(
    log: str,
    segment: str,
    first_seq: int,
    last_seq: int,
    *hashes: str,
    **more: Any,
) -> dict[str, Any]:
    """Return the details of a tombstone; by default of a deletion that the default policy allows.

    ``hashes`` are that before the first record, and that of the last one.
    """
    first_prev_hash, last_hash = hashes or (GENESIS_HASH, "ab" * 32)
    records = last_seq - first_seq + 1
    return {
        "log": log,
        "segment": segment,
        "first_seq": first_seq,
        "last_seq": last_seq,
        "first_prev_hash": first_prev_hash,
        "last_hash": last_hash,
        "records": records,
        "bytes": 300 * records,
        "sha256": "cd" * 32,
        "last_record_at": "2026-05-01T12:00:00.000000Z",
        "cursor": {"main": last_seq},
        "policy": RetentionPolicy().to_json(),
        "rule": "age",
        "at": "2026-11-01T12:00:00.000000Z",
        "simulated": False,
        "confirmed": False,
        "by": "schedule",
        **more,
    }


def delete_second_segment(log: LogBuilder, writer: str) -> None:
    """Delete it as retention of the host ``writer`` does, of a log with five records a segment."""
    first, last = log.headers[5], log.headers[9]
    hashes = first.prev_hash, last.hash
    details = tombstone_details(log.log, log.names[1].logical, first.seq, last.seq, *hashes)
    retention = LogBuilder(log.directory, f"retention@{writer}", at=log.at)
    retention.append(event_type="retention.segment_deleted", details=details)
    log.path(1).unlink()
