"""What a plan is made from: facts about segments, cursors and the last run.  Pure.

Facts say what was seen, not what it means: census gathers them, plan judges them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from retention.policy import plain_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditlog.cursors import Cursor
    from auditlog.format.foreign_files import FilePlace
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.policy import ForeignPolicy, Policy

__all__ = [
    "AdoptedFile",
    "Facts",
    "ForeignContent",
    "ForeignFile",
    "LastRun",
    "Placing",
    "SegmentFacts",
    "ShipGate",
    "SinkCursor",
]


@dataclass(frozen=True, slots=True)
class SegmentFacts:
    """One segment.  ``damage`` says why its ends could not be read; neither it nor ``bounds``
    means that the segment was not looked into.  ``matches`` are the ids of the holds by actor or
    correlation id that have a record in it; None: its records were not read for that."""

    file: SegmentFile
    bounds: Bounds | None = None
    damage: str = ""
    matches: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class ForeignFile:
    """A file in the directory that is no segment and stays; ``detail`` says why."""

    path: Path
    size_bytes: int
    detail: str = "its name is no segment's"


@dataclass(frozen=True, slots=True)
class ForeignContent:
    """What a foreign file holds, uncompressed: bytes, their SHA-256 in hex, lines and their times.

    ``first_at`` and ``last_at`` are the oldest and the newest time in it, ``untimed`` counts lines
    without one.  ``end`` is the place behind its last line as a source would have it; None: it
    holds no line.  ``matches`` are the holds by actor or correlation id that a line may be of.
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
class Placing:
    """One source that ships a file to one sink, and what it lacks there; "": nothing."""

    sink: str
    source: str
    lacks: str = ""


@dataclass(frozen=True, slots=True)
class AdoptedFile:
    """A file of an older set-up that a pattern of the policy adopts, in one form or several.

    ``path`` is the form to read, plain first.  ``damage`` says why it cannot be judged; without
    it and ``content`` the file was read as far as ``seen_at`` alone, the time of its last line.
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
    placings: tuple[Placing, ...] = ()

    @property
    def plain(self) -> Path:
        """Where its plain form lies, or would."""
        return self.form_path("")

    def form_path(self, form: str) -> Path:
        return self.path.with_name(plain_name(self.path.name) + form)

    @property
    def counted_from(self) -> dt.datetime:
        """The newest time in it; that of its modification where a line tells none, if later."""
        if self.content is None:
            return self.seen_at or self.modified_at
        if self.content.last_at is None:
            return self.modified_at
        if self.content.untimed:
            return max(self.content.last_at, self.modified_at)
        return self.content.last_at


@dataclass(frozen=True, slots=True)
class SinkCursor:
    """How far one sink has acknowledged one log; ``problem`` says why that cannot be believed."""

    cursor: Cursor | None = None
    problem: str = ""


@dataclass(frozen=True, slots=True)
class ShipGate:
    """The configured sinks and their cursors.  No sinks: nothing waits for being shipped.

    ``others`` are sinks that once acknowledged something and are not configured now.
    """

    sinks: tuple[str, ...] = ()
    cursors: Mapping[tuple[str, LogId], SinkCursor] = field(default_factory=dict)
    others: tuple[str, ...] = ()

    def cursor(self, sink: str, log: LogId) -> SinkCursor:
        return self.cursors.get((sink, log), SinkCursor())


@dataclass(frozen=True, slots=True)
class Facts:
    """One directory: its segments by log in write order, and the files that are none.

    ``adopted`` are in the order of their patterns, and then of their age, the newest last.
    """

    directory: Path
    segments: Mapping[LogId, tuple[SegmentFacts, ...]]
    foreign: tuple[ForeignFile, ...] = ()
    adopted: tuple[AdoptedFile, ...] = ()


@dataclass(frozen=True, slots=True)
class LastRun:
    """The last run by the clock that ended well.

    ``elapsed`` is the time since then by a clock that nobody can set (CLOCK_BOOTTIME); None when
    the host was started anew, since no such clock survives that.
    """

    at: dt.datetime
    policy: Policy
    sinks: tuple[str, ...] = ()
    elapsed: dt.timedelta | None = None
