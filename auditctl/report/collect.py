"""Collect report data from segments, verification, cursors, tombstones.

Reads only.  Every record of the period is read once and counted; the chain of every log is verified
from its beginning, since a part of a chain proves nothing.

Invariants (tests of the same name in tests/auditctl/report/test_collect.py):
  reads_only   nothing is created or changed
  sourced      every number on the page can be found in the files it was taken from
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditctl.report.counts import EventCounts
from auditctl.survey.survey import Survey, survey
from auditlog.errors import LogDamaged
from auditlog.format.record import format_timestamp
from auditlog.query.files import FileSearch
from auditlog.query.scope import SearchScope
from auditlog.query.syntax import parse
from auditlog.reading.inventory import scan
from auditlog.reading.registry import known_records_by_directory
from auditlog.verification.verify import LogReport
from auditlog.verification.verify import verify as verify_logs

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Sequence
    from pathlib import Path

    from auditctl.config.model import Config
    from auditlog.format.erasures import Erasure
    from auditlog.format.tombstones import Tombstone

__all__ = ["ActivityReport", "collect"]


@dataclass(frozen=True, slots=True)
class ActivityReport:
    """Everything the page shows.  ``deleted`` are the segments deleted within the time, and
    ``erased`` the erasures.
    """

    at: dt.datetime
    directories: tuple[Path, ...]
    state_dir: Path
    counts: EventCounts
    verified: tuple[LogReport, ...]
    survey: Survey
    deleted: tuple[Tombstone, ...]
    erased: tuple[Erasure, ...] = ()

    @property
    def ok(self) -> bool:
        return all(log.ok for log in self.verified)

    @property
    def gaps(self) -> int:
        """Places where a chain does not hold, and what was only counted beyond the first ones."""
        findings = [finding for log in self.verified for finding in log.findings if finding.fatal]
        return len(findings) + sum(log.findings_omitted for log in self.verified)

    def to_json(self) -> dict[str, Any]:
        """The object that ``auditctl report --json`` prints."""
        return {
            "schema": "auditctl.report/1",
            "at": format_timestamp(self.at),
            "since": format_timestamp(self.counts.since_at),
            "until": format_timestamp(self.counts.until_at),
            "ok": self.ok,
            **self.counts.to_json(),
            "verify": [log.to_json() for log in self.verified],
            "status": self.survey.to_json(),
            "deleted": [
                {
                    "log": gone.log,
                    "segment": gone.segment,
                    "first_seq": gone.first_seq,
                    "last_seq": gone.last_seq,
                    "records": gone.records,
                    "deleted_at": gone.deleted_at,
                }
                for gone in self.deleted
            ],
            "erased": [{"log": gone.log, **gone.to_json()} for gone in self.erased],
        }


def collect(
    config: Config,
    directories: Sequence[Path],
    since_at: dt.datetime,
    until_at: dt.datetime,
    now: dt.datetime,
) -> ActivityReport:
    """Read it all.  Raises OSError; QueryError for a time that ends before it begins."""
    state_dir = config.state_directory()
    scope = SearchScope("*", since_at, until_at)
    counts = EventCounts(since_at, until_at)

    def trouble(segment: str, offset: int, reason: str) -> None:
        del segment, offset, reason  # where and why is verification's to say
        counts.unreadable += 1

    for record in FileSearch(directories, trouble).records(parse(""), scope):
        try:
            counts.add(record)
        except LogDamaged:
            counts.unreadable += 1
    # A directory without any log yet, of which nobody knows one, has nothing to verify.
    known = known_records_by_directory(directories, state_dir)
    verified = tuple(
        log
        for directory in directories
        if directory.is_dir() and (known.get(directory) or scan(directory).logs)
        for log in verify_logs(
            directory, known=known[directory], retention_hosts=config.deleting_hosts()
        ).logs
    )
    gone = {tombstone for log in verified for tombstone in log.deleted}
    deleted = tuple(
        tombstone
        for tombstone in sorted(gone, key=lambda each: (each.deleted_at, each.log, each.first_seq))
        if scope.since <= tombstone.deleted_at < scope.until
    )
    erased = tuple(
        erasure
        for log in verified
        for erasure in log.erased
        if scope.since <= erasure.erased_at < scope.until
    )
    found = survey(config, directories, state_dir, now)
    places = tuple(directories)
    return ActivityReport(now, places, state_dir, counts, verified, found, deleted, erased)
