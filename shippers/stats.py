"""Define snapshots of shipping's counts and lag, for metrics, status and one-off runs.

Invariant (test of the same name in tests/shippers/test_service.py):
  balance   written = indexed + duplicate + quarantined + pending, for every log and sink
"""

from __future__ import annotations

from dataclasses import astuple, dataclass, field, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping

__all__ = ["Counts", "LogStats", "ShippingStats", "SinkStats"]


@dataclass(frozen=True, slots=True)
class Counts:
    """Counts of records since the start of the service; they can be added up.

    written         read from the log so far
    duplicate       the sink had them; ``unverified`` of them without comparing hashes
    retries         deliveries of a record without a final outcome
    chain_breaks    alarms about the log itself
    tamper_alarms   records that the sink holds with another hash
    bad_lines       are not a JSON object (or journal entry); delivered as text
    cut_lines       are longer than allowed; their beginning is delivered
    """

    written: int = 0
    indexed: int = 0
    duplicate: int = 0
    quarantined: int = 0
    retries: int = 0
    unverified: int = 0
    chain_breaks: int = 0
    tamper_alarms: int = 0
    bad_lines: int = 0
    cut_lines: int = 0

    @property
    def pending(self) -> int:
        """Read, without a final outcome."""
        return self.written - self.indexed - self.duplicate - self.quarantined

    @staticmethod
    def total(parts: Iterable[Counts]) -> Counts:
        figures = [astuple(part)[: len(fields(Counts))] for part in parts]
        return Counts(*map(sum, zip(*figures, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class LogStats(Counts):
    """One log at one sink.

    acknowledged_seq   the last record of the prefix that has a final outcome
    lag_records        not acknowledged
    lag_bytes          not read yet (compressed segments by file size)
    oldest_at          when the first record that is not acknowledged was written; None: there is
                       none
    last_at            when the newest record was written; None: no record, or another source
    is_open            the log was not closed since: its writer has it open, or was killed
    trouble            why nothing moves at the moment, or ""
    kind               of the source; all files of an ndjson source are one log here
    restarts           times that reading began anew: truncated files, a journalctl that ended, a
                       journal that lost the cursor's entry
    redactions         how often each rule took a secret out of a line of another program
    name_taken         the sink has another installation's records under this name
    unreadable         why something of the source cannot be read at the moment, or ""
    """

    sink: str
    log: str
    acknowledged_seq: int
    lag_records: int
    lag_bytes: int
    oldest_at: dt.datetime | None
    trouble: str
    last_at: dt.datetime | None = None
    is_open: bool = False
    kind: str = "audit_log"
    restarts: int = 0
    redactions: Mapping[str, int] = field(default_factory=dict)
    unreadable: str = ""
    name_taken: bool = False

    def lag_seconds(self, now: dt.datetime) -> float:
        """The age of the first record that is not acknowledged; 0 if there is none."""
        if self.oldest_at is None:
            return 0.0
        return max(0.0, (now - self.oldest_at).total_seconds())


@dataclass(frozen=True, slots=True)
class SinkStats:
    """One sink now.

    in_flight            deliveries under way; ``_records`` and ``_bytes`` are what they carry
    held_bytes           in memory: read and not passed
    quarantine_entries   in its file, with ``quarantine_bytes``; None if it cannot be read
    last_success_at      when a record last got a final outcome
    trouble              why nothing moves at the moment, or ""
    unsaved              why the cursors cannot be saved at the moment, or ""
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
    unsaved: str = ""


@dataclass(frozen=True, slots=True)
class ShippingStats:
    """All logs at all sinks."""

    logs: tuple[LogStats, ...]
    sinks: tuple[SinkStats, ...]
    watcher_rebuilds: int = 0

    @property
    def totals(self) -> Counts:
        return Counts.total(self.logs)
