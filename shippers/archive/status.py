"""Describe what a host has archived, what waits for its upload, and which logs are not finished.

A segment is finished when a newer one of its log is there, or when it is compressed: a writer only
appends to the newest, and never to a compressed one.

Invariants (tests of the same name in tests/shippers/archive/test_status.py):
  finished     what is finished waits until the archive has it, and nothing else does
  unfinished   each log whose newest records no archive can have yet is named, with its last write
"""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from auditlog.reading.inventory import scan

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from auditlog.archived import ArchiveMemory
    from auditlog.reading.inventory import SegmentFile
    from shippers.archive.options import ArchiveOptions

__all__ = ["ArchiveStatus", "UnfinishedLog", "state_of", "waiting"]


class UnfinishedLog(NamedTuple):
    """A log whose newest segment may still grow, and when that was last written to."""

    log: str
    written_at: dt.datetime


@dataclass(frozen=True, slots=True)
class ArchiveStatus:
    """The state of the archive; ``trouble`` says why an upload failed, "" when none did.

    ``oldest_at`` is when the oldest finished segment without upload was written to for the last
    time; ``late`` says that this is longer ago than it may be.  ``newest_at`` is when the newest
    object was uploaded.  ``unfinished`` begins with the log that was not written to for the longest
    time.
    """

    waiting: int = 0
    waiting_bytes: int = 0
    oldest_at: dt.datetime | None = None
    late: bool = False
    unfinished: tuple[UnfinishedLog, ...] = ()
    objects: int = 0
    object_bytes: int = 0
    newest_at: dt.datetime | None = None
    failures: int = 0
    trouble: str = ""
    manifest: int = 0
    manifest_at: dt.datetime | None = None


def waiting(directories: Sequence[Path], memory: ArchiveMemory) -> list[SegmentFile]:
    """The finished segments that the archive does not have, oldest first.

    A directory that is missing is left out: continuous verification raises that alarm.
    """
    found: list[SegmentFile] = []
    for segments in _logs(directories):
        known = memory.has(str(segments[0].name.log))
        finished = segments[:-1] if _may_grow(segments[-1]) else segments
        found += [each for each in finished if each.name.logical not in known]
    return sorted(found, key=lambda each: (each.name.day, str(each.name.log), each.name.part))


def state_of(
    directories: Sequence[Path], memory: ArchiveMemory, options: ArchiveOptions, now: dt.datetime
) -> ArchiveStatus:
    """Describe what is archived and what waits, as far as files and memory tell."""
    left = waiting(directories, memory)
    oldest_at = min(filter(None, map(_written_at, left)), default=None)
    unfinished = [
        UnfinishedLog(str(newest.name.log), written_at)
        for *_, newest in _logs(directories)
        if _may_grow(newest) and (written_at := _written_at(newest)) is not None
    ]
    totals = memory.totals()
    newest = memory.newest_manifest()
    stored = newest is not None and newest.version is not None
    return ArchiveStatus(
        waiting=len(left),
        waiting_bytes=sum(each.size_bytes for each in left),
        oldest_at=oldest_at,
        late=oldest_at is not None and now - oldest_at > options.late_after,
        unfinished=tuple(sorted(unfinished, key=lambda each: each.written_at)),
        objects=totals.objects,
        object_bytes=totals.size_bytes,
        newest_at=totals.newest_at,
        manifest=newest.number if newest is not None and stored else 0,
        manifest_at=newest.at if newest is not None and stored else None,
    )


def _logs(directories: Sequence[Path]) -> Iterator[tuple[SegmentFile, ...]]:
    for directory in directories:
        with suppress(FileNotFoundError):
            yield from scan(directory).logs.values()


def _may_grow(newest: SegmentFile) -> bool:
    return "" in newest.forms


def _written_at(segment: SegmentFile) -> dt.datetime | None:
    """When the segment was last written to; None for one that was removed meanwhile."""
    try:
        return dt.datetime.fromtimestamp(segment.path.stat().st_mtime, dt.UTC)
    except FileNotFoundError:
        return None
