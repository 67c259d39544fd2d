"""What a plan is made from: facts about segments, cursors and the last run.  Pure.

Facts say what was seen, not what it means: census gathers them, plan judges them.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from auditlog.cursors import Cursor
    from auditlog.inventory import SegmentFile
    from auditlog.reader import Bounds
    from auditlog.segment_names import LogId
    from retention.policy import Policy

__all__ = ["Facts", "ForeignFile", "LastRun", "SegmentFacts", "ShipGate", "SinkCursor"]


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
    """A file in the directory that is no segment."""

    path: Path
    size_bytes: int


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
    """One directory: its segments by log in write order, and the files that are none."""

    directory: Path
    segments: Mapping[LogId, tuple[SegmentFacts, ...]]
    foreign: tuple[ForeignFile, ...] = ()


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
