"""How shipping stands, as frozen snapshots: for metrics, status and the summary of a one-off run.

Invariant (test of the same name in tests/shippers/test_service.py):
  balance   written = indexed + duplicate + quarantined + pending, for every log and sink
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt

__all__ = ["LogStats", "SinkStats", "Stats"]


@dataclass(frozen=True, slots=True)
class LogStats:
    """One log at one sink.  Counts are of records since the start of the service.

    written             read from the log so far; unread ones are in lag_records
    duplicate           had been delivered before; ``unverified`` of them without comparing hashes
    retries             deliveries of a record that had no final outcome
    chain_breaks        alarms about the log itself
    tamper_alarms       records that the sink holds with another hash
    acknowledged_seq    the last record of the prefix that has a final outcome
    lag_records, lag_bytes   not acknowledged, not read yet (compressed segments by file size)
    oldest_at           when the first record that is not acknowledged was written; None: there is
                        none
    trouble             why nothing moves at the moment, or ""
    kind                of the source; all files of an ndjson source are one log here
    bad_lines           read, and no JSON object (or journal entry); delivered as text
    cut_lines           read, and longer than allowed; their beginning is delivered
    restarts            times that reading had to begin anew: truncated files, a journalctl that
                        ended, a journal that lost the cursor's entry
    """

    sink: str
    log: str
    written: int
    indexed: int
    duplicate: int
    quarantined: int
    pending: int
    retries: int
    unverified: int
    chain_breaks: int
    tamper_alarms: int
    acknowledged_seq: int
    lag_records: int
    lag_bytes: int
    oldest_at: dt.datetime | None
    trouble: str
    kind: str = "audit_log"
    bad_lines: int = 0
    cut_lines: int = 0
    restarts: int = 0

    def lag_seconds(self, now: dt.datetime) -> float:
        """How long the first record that is not acknowledged has waited; 0 when there is none."""
        if self.oldest_at is None:
            return 0.0
        return max(0.0, (now - self.oldest_at).total_seconds())


@dataclass(frozen=True, slots=True)
class SinkStats:
    """One sink now.

    in_flight               deliveries under way; ``_records`` and ``_bytes`` are what they carry
    held_bytes              read and not passed, in memory
    quarantine_entries      in its file, with ``quarantine_bytes``; None when it cannot be read
    last_success_at         when it last gave a record a final outcome
    trouble                 why nothing moves at the moment, or ""
    """

    name: str
    address: str
    in_flight: int
    in_flight_records: int
    in_flight_bytes: int
    held_bytes: int
    quarantine_entries: int | None
    quarantine_bytes: int | None
    last_success_at: dt.datetime | None
    trouble: str


@dataclass(frozen=True, slots=True)
class Stats:
    """All logs at all sinks."""

    logs: tuple[LogStats, ...]
    sinks: tuple[SinkStats, ...]
    watcher_rebuilds: int = 0

    @property
    def written(self) -> int:
        return sum(entry.written for entry in self.logs)

    @property
    def indexed(self) -> int:
        return sum(entry.indexed for entry in self.logs)

    @property
    def duplicate(self) -> int:
        return sum(entry.duplicate for entry in self.logs)

    @property
    def quarantined(self) -> int:
        return sum(entry.quarantined for entry in self.logs)

    @property
    def pending(self) -> int:
        return sum(entry.pending for entry in self.logs)

    @property
    def chain_breaks(self) -> int:
        return sum(entry.chain_breaks for entry in self.logs)
