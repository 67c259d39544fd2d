"""Select records that the hash chain proves, and explain why others are not.

Each directory is verified as a whole, since a chain proves records only from its beginning on.
Records after the first finding are not proven; records written meanwhile were not verified.

Invariants (tests of the same name in tests/auditctl/search/test_proof.py):
  prefix   in each log the proven records end before the first finding, whatever follows it
  said     records that are left out are reported, with the log, the reason and what to do
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from auditlog.format.record import is_intact
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.reading.inventory import scan
from auditlog.verification.verify import verify

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from auditlog.format.record import Record
    from auditlog.query.files import Ends
    from auditlog.query.scope import SearchScope
    from auditlog.verification.verify import LogReport

__all__ = ["Proof", "proven"]


@dataclass(frozen=True, slots=True)
class Proof:
    """The end of the proven records in each log; ``unproven`` are sentences about the rest."""

    through: Mapping[str, int]
    ends: Ends
    unproven: tuple[str, ...]

    def covers(self, record: Record) -> bool:
        """Whether a record before its log's end is still the one that was verified."""
        proven = record.seq <= self.through.get(record.log, 0)
        return proven and is_intact(record.header, record.line)


def proven(directories: Sequence[Path], scope: SearchScope) -> Proof:
    """Verify the directories.  Raises AuditLogError, OSError."""
    through: dict[str, int] = {}
    ends: dict[LogId, tuple[SegmentName, int]] = {}
    unproven: list[str] = []
    for directory in directories:
        found = scan(directory).logs
        for log in verify(directory).logs:
            if not scope.has_log(log.log):
                continue
            if not log.ok:
                unproven.append(_sentence(directory, log))
            name = LogId.parse(log.log)
            if name in found:
                through[log.log] = log.verified_through_seq
                ends[name] = _end(log) or (found[name][-1].name, sys.maxsize)
    return Proof(through, ends, tuple(unproven))


def _end(log: LogReport) -> tuple[SegmentName, int] | None:
    """The place of the first finding that has one."""
    for finding in log.findings:
        if finding.fatal and finding.segment and finding.line:
            return SegmentName.parse(finding.segment), finding.offset
    return None


def _sentence(directory: Path, log: LogReport) -> str:
    first = next(finding for finding in log.findings if finding.fatal)
    if log.suspect_records:
        kept = f"proven through seq {log.verified_through_seq:,}; left out are the lines from there"
        kept += f" on, {log.suspect_records:,} of them"
    else:
        kept = "what is there is proven, but something is missing"
    place = f" in {first.segment}" if first.segment else ""
    why = f"{first.kind}{place}: {first.detail}"
    return f"{log.log}: {kept} ({why}). See auditctl verify {directory}."
