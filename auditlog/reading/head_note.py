"""Record each log's newest segment durably, so that its loss is detected.

    <dir>/.auditlog/<log>.head      one line: the name of the newest segment with a durable record

Only a hint: a log that was copied from another machine has no note.

Invariants (tests of the same name in tests/auditlog/reading/test_head_note.py):
  noted        the note names the segment that was noted last
  unreadable   a note that is missing, damaged or of another log is no note
"""

from __future__ import annotations

from pathlib import Path

from auditlog import durable_fs
from auditlog.errors import InvalidName
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.reading.inventory import STATE_DIRECTORY

__all__ = ["head_path", "known_head", "known_logs", "remember_head"]


def head_path(directory: Path, log: LogId) -> Path:
    return directory / STATE_DIRECTORY / f"{log}.head"


def remember_head(directory: Path, segment: SegmentName) -> None:
    """Note durably that this segment exists, so that its loss is noticed when the log is opened."""
    durable_fs.replace_durably(head_path(directory, segment.log), f"{segment.logical}\n".encode())


def known_head(directory: Path, log: LogId) -> SegmentName | None:
    """The newest segment the log ever had, as noted; None without a (readable) note."""
    try:
        head = SegmentName.parse(head_path(directory, log).read_text("utf-8").strip())
    except (OSError, InvalidName, UnicodeDecodeError):
        return None
    return head if head.log == log else None


def known_logs(directory: Path) -> tuple[LogId, ...]:
    """The logs that ever had a durable record here, as noted; hints, as known_head."""
    logs = []
    for path in sorted((directory / STATE_DIRECTORY).glob("*.head")):
        try:
            logs.append(LogId.parse(path.name.removesuffix(".head")))
        except InvalidName:  # not a note of ours
            continue
    return tuple(logs)
