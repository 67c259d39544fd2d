"""Check that no known log is missing or ends before its last known record.

Names and the ends of logs are read; whether the records between are unchanged is for verify.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditctl.doctor.check_result import CheckResult
from auditctl.doctor.disks import why_unlisted
from auditlog.errors import AuditLogError
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from auditlog.reading.registry import known_records_by_directory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.registry import KnownRecord

__all__ = ["check_registry"]


def check_registry(directories: Sequence[Path], state_dir: Path | None) -> Iterator[CheckResult]:
    """Compare what head notes and cursors know with the files.  Raises OSError."""
    listed = [*directories]
    for directory in directories:
        if reason := why_unlisted(directory):
            detail = f"{directory}: {reason}, so no cursor is compared with the files"
            mend = "Run as its owner, or as a member of its group."
            yield CheckResult("records", "fail", detail, mend)
            listed.remove(directory)
            state_dir = None  # a cursor does not say in which directory its log lies
    yield from _compare(listed, state_dir)


def _compare(directories: Sequence[Path], state_dir: Path | None) -> Iterator[CheckResult]:
    found = False
    for directory, known in known_records_by_directory(directories, state_dir).items():
        logs = scan(directory).logs
        furthest: dict[str, KnownRecord] = {}
        for expected in known:
            if expected.log not in furthest or expected.seq > furthest[expected.log].seq:
                furthest[expected.log] = expected
        for log, expected in sorted(furthest.items()):
            found = True
            if detail := _lacking(logs.get(LogId.parse(log), ()), expected):
                mend = f"Restore its files from a copy; auditctl verify {directory}"
                yield CheckResult("records", "fail", f"{log}: {detail}", mend)
            else:
                yield CheckResult("records", "ok", f"{log}: all that is known of it is there")
    if not found:
        yield CheckResult("records", "ok", "no log is known yet")


def _lacking(segments: Sequence[SegmentFile], expected: KnownRecord) -> str:
    known = f"{expected.source} knows it" + (f" up to seq {expected.seq}" if expected.seq else "")
    if not segments:
        return f"missing_log: no segment of it is left, but {known}"
    for segment in reversed(segments):
        try:
            ends = bounds(segment)
        except AuditLogError:
            return ""  # it is damaged, which verify says
        if ends is not None:
            if ends.last_seq >= expected.seq:
                return ""
            return f"tail_missing: the files end at seq {ends.last_seq}, but {known}"
    return f"tail_missing: the files hold no record, but {known}" if expected.seq else ""
