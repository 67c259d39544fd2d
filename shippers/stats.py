"""How shipping stands, as frozen snapshots: for metrics, status and the summary of a one-off run.

Invariant (test of the same name in tests/shippers/test_service.py):
  balance   written = indexed + duplicate + quarantined + pending, for every log and sink
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LogStats", "SinkStats", "Stats"]


@dataclass(frozen=True, slots=True)
class LogStats:
    """One log at one sink.  Counts are of records since the start of the service.

    written             read from the log so far; unread ones are in lag_records
    duplicate           had been delivered before; ``unverified`` of them without comparing hashes
    retries             deliveries of a record that had no final outcome
    chain_breaks        alarms about the log itself
    acknowledged_seq    the last record of the prefix that has a final outcome
    lag_records, lag_bytes   not acknowledged, not read yet (compressed segments by file size)
    trouble             why nothing moves at the moment, or ""
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
    acknowledged_seq: int
    lag_records: int
    lag_bytes: int
    trouble: str


@dataclass(frozen=True, slots=True)
class SinkStats:
    """One sink: what it holds in memory now, and why nothing moves at the moment, or ""."""

    name: str
    address: str
    in_flight: int
    held_bytes: int
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
