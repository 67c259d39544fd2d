"""Define the subjects of retention: segments, adopted foreign files and daily indices.  Pure.

These are facts as they were found; ``retention.rules`` decides what they mean.  Instants are UTC,
sizes are bytes on disk.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from auditlog.format.record import format_timestamp
from retention.policy import plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditlog.archived import ArchivedSpan
    from auditlog.cursors import Cursor
    from auditlog.format.foreign_files import FilePlace
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.policy import ForeignPolicy

__all__ = [
    "AdoptedFile",
    "DirectoryFacts",
    "ForeignContent",
    "ForeignFile",
    "Index",
    "Segment",
    "SinkCursor",
    "SinkCursors",
    "SourceProgress",
    "Subject",
]


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment of a log.

    bounds    the first and last record; None: the file was not read
    damage    why its two ends could not be read
    matches   ids of the holds by actor or correlation id that have a record in it; None: it was
              not searched
    at_rest   whether no writer has its log open; only the newest of a log is asked
    """

    file: SegmentFile
    bounds: Bounds | None = None
    damage: str = ""
    matches: frozenset[str] | None = None
    at_rest: bool = False

    @property
    def name(self) -> str:
        return self.file.name.logical

    @property
    def log(self) -> str:
        return str(self.file.name.log)

    @property
    def size_bytes(self) -> int:
        return self.file.size_bytes

    @property
    def forms(self) -> tuple[str, ...]:
        return self.file.forms

    @property
    def records(self) -> int | None:
        return None if self.bounds is None else self.bounds.records

    @property
    def begins_at(self) -> dt.datetime:
        """The beginning of the day in its name: no record counts as older."""
        return _midnight(self.file.name.day)

    @property
    def ends_at(self) -> dt.datetime:
        return dt.datetime.combine(self.file.name.day, dt.time.max, dt.UTC)

    @property
    def last_record_at(self) -> dt.datetime | None:
        """The instant from which its age is counted; None when it was not read.

        The last record's, or the beginning of its day where a clock set back made that earlier.
        """
        return None if self.bounds is None else max(self.bounds.last_at, self.begins_at)

    @property
    def span(self) -> tuple[dt.datetime, dt.datetime]:
        """The days that contain its records, as two instants (see retention.holds)."""
        if self.bounds is None:
            return self.begins_at, self.ends_at
        return (
            min(self.begins_at, self.bounds.first_at),
            max(self.ends_at, self.bounds.last_at),
        )

    @property
    def age_order(self) -> tuple[str, str, int]:
        """The sort key for "oldest first" over several logs and adopted files."""
        name = self.file.name
        return (name.day.isoformat(), self.log, name.part)

    def to_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The members that name it, and those that measure it."""
        return {"log": self.log, "segment": self.name}, _measures(self)


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file in the directory that is neither a segment nor adopted; ``detail`` says why."""

    path: Path
    size_bytes: int
    detail: str = "its name is not that of a segment"

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def log(self) -> str:
        return ""

    @property
    def forms(self) -> tuple[str, ...]:
        return ()

    @property
    def records(self) -> int | None:
        return None

    @property
    def last_record_at(self) -> dt.datetime | None:
        return None

    def to_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return {"log": None, "segment": self.name}, _measures(self)


@dataclass(frozen=True, slots=True)
class ForeignContent:
    """The uncompressed content of a foreign file: size, SHA-256 in hex, lines and their times.

    first_at, last_at   the oldest and the newest time of any line
    untimed             number of lines without a usable time
    end                 the position behind its last line, as a source records it; None: no line
    matches             ids of the holds by actor or correlation id that may have a line in it
    """

    size_bytes: int
    sha256: str
    lines: int
    untimed: int
    first_at: dt.datetime | None
    last_at: dt.datetime | None
    end: FilePlace | None
    matches: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class SourceProgress:
    """How far one source shipped a file to one sink; ``lacks`` is empty when it is complete."""

    sink: str
    source: str
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class AdoptedFile:
    """A foreign file that a pattern of the policy adopts, in one form or several.

    path      the form to read, the plain one if present
    damage    why it cannot be judged
    seen_at   the time of its last line, where only its end was read
    content   None: it was not read to its end
    """

    path: Path
    forms: tuple[str, ...]
    size_bytes: int
    foreign: ForeignPolicy
    modified_at: dt.datetime
    open_for_writing: bool = False
    damage: str = ""
    seen_at: dt.datetime | None = None
    content: ForeignContent | None = None
    progress: tuple[SourceProgress, ...] = ()

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def log(self) -> str:
        return ""

    @property
    def plain(self) -> Path:
        """The path of its plain form, whether present or not."""
        return self.form_path("")

    def form_path(self, form: str) -> Path:
        return self.path.with_name(plain_name(self.path.name) + form)

    @property
    def records(self) -> int | None:
        """Number of lines."""
        return None if self.content is None else self.content.lines

    @property
    def counted_from(self) -> dt.datetime:
        """The instant from which its age is counted: the newest time in it.

        That of its modification where lines have no time, if it is later.
        """
        if self.content is None:
            return self.seen_at or self.modified_at
        if self.content.last_at is None:
            return self.modified_at
        if self.content.untimed:
            return max(self.content.last_at, self.modified_at)
        return self.content.last_at

    @property
    def last_record_at(self) -> dt.datetime | None:
        return None if self.damage else self.counted_from

    @property
    def age_order(self) -> tuple[str, str, int]:
        return (self.counted_from.date().isoformat(), self.plain.name, 0)

    def to_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        pattern = {"pattern": self.foreign.pattern}
        return {"log": None, "segment": self.name}, _measures(self) | pattern


@dataclass(frozen=True, slots=True)
class Index:
    """One index as the cluster lists it; ``uuid`` distinguishes it from others of its name.

    ``day`` is the first one that its records can have, ``last_day`` the last; both are None for an
    index that is not one of the sink's own, and until it is planned.
    """

    name: str
    uuid: str
    documents: int
    size_bytes: int
    day: dt.date | None = None
    last_day: dt.date | None = None

    @property
    def log(self) -> str:
        return ""

    @property
    def forms(self) -> tuple[str, ...]:
        return ()

    @property
    def begins_at(self) -> dt.datetime:
        return dt.datetime.combine(self.day or dt.date.max, dt.time(), dt.UTC)

    @property
    def ends_at(self) -> dt.datetime:
        """The last instant of its last day."""
        return dt.datetime.combine(self.last_day or self.day or dt.date.max, dt.time.max, dt.UTC)

    def to_json(self) -> tuple[dict[str, Any], dict[str, Any]]:
        day = None if self.day is None else self.day.isoformat()
        measures = {"documents": self.documents, "bytes": self.size_bytes, "uuid": self.uuid}
        return {"index": self.name, "day": day}, measures


Subject = Segment | AdoptedFile | ForeignFile | Index


@lru_cache(maxsize=4096)  # 100,000 segments are of a few hundred days
def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _measures(subject: Segment | AdoptedFile | ForeignFile) -> dict[str, Any]:
    last = subject.last_record_at
    return {
        "bytes": subject.size_bytes,
        "records": subject.records,
        "last_record_at": None if last is None else format_timestamp(last),
    }


@dataclass(frozen=True, slots=True)
class SinkCursor:
    """One sink's cursor in one log; ``problem`` says why it is not trusted, "" if it is."""

    cursor: Cursor | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class SinkCursors:
    """The configured sinks and their cursors.  Without sinks nothing waits for being shipped.

    ``others`` are sinks that once acknowledged something and are not configured now.
    ``witnessed`` says through which record a quorum of witnesses cosigned each log; None where no
    trust policy is configured, so that nothing waits for witnesses.
    ``archived`` are the segments of each log that the archive has; None where none is configured.
    """

    sinks: tuple[str, ...] = ()
    cursors: Mapping[tuple[str, LogId], SinkCursor] = field(default_factory=dict)
    others: tuple[str, ...] = ()
    witnessed: Mapping[str, int] | None = None
    archived: Mapping[str, Mapping[str, ArchivedSpan]] | None = None

    def cursor(self, sink: str, log: LogId) -> SinkCursor:
        return self.cursors.get((sink, log), SinkCursor())


@dataclass(frozen=True, slots=True)
class DirectoryFacts:
    """One directory: its segments by log in write order, and its other files.

    ``adopted`` is ordered by pattern, then by age, the newest last.
    """

    directory: Path
    segments: Mapping[LogId, tuple[Segment, ...]]
    foreign: tuple[ForeignFile, ...] = ()
    adopted: tuple[AdoptedFile, ...] = ()
