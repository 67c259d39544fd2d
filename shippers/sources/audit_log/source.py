"""The audit logs of some directories as a source: one lane a log, each with its own cursor."""

from __future__ import annotations

import datetime as dt
import logging
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from auditlog.cursors import Cursor
from auditlog.errors import CursorDamaged, InvalidName
from auditlog.format.record import parse_timestamp
from auditlog.format.segment_names import SegmentName
from auditlog.reading.inventory import Inventory, scan
from shippers import lag
from shippers.batch import Position
from shippers.errors import DuplicateLog
from shippers.lane import Lane
from shippers.sources.audit_log.harvester import Harvester
from shippers.stats import LogStats

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Sequence

    from auditlog.reading.inventory import SegmentFile
    from shippers.sources.protocol import Following

__all__ = ["LogDirectories", "LogFollower", "LogLane", "load_cursor"]

_logger = logging.getLogger("auditlog.shippers")


class LogDirectories:
    """The source.  A sighting is the inventory of one directory."""

    name = "audit_log"

    def __init__(self, directories: Sequence[Path]) -> None:
        self.directories = tuple(directories)
        self.unreadable: dict[Path, str] = {}

    def look(
        self, changed: Collection[Path] | None, *, strict: bool = False
    ) -> Sequence[Inventory]:
        inventories = []
        for directory in self.directories:
            if changed is not None and directory not in changed:
                continue
            try:
                inventories.append(scan(directory))
            except OSError as error:
                if strict:
                    raise
                self._say(directory, error.strerror or type(error).__name__)
                continue
            if self.unreadable.pop(directory, None) is not None:
                _logger.info("%s can be listed again", directory)
        return inventories

    def follow(self, following: Following) -> LogFollower:
        return LogFollower(following)

    def _say(self, directory: Path, reason: str) -> None:
        if self.unreadable.get(directory) != reason:
            self.unreadable[directory] = reason
            _logger.warning("%s cannot be listed (%s); trying again", directory, reason)


class LogLane(Lane):
    """A lane that knows the segments its log has."""

    def __init__(self, log: str, directory: Path, start: Position) -> None:
        self.directory = directory
        self.segments: tuple[SegmentFile, ...] = ()
        super().__init__(log, self._begin_at, start)

    def refresh(self, segments: Sequence[SegmentFile]) -> None:
        self.segments = tuple(segments)
        if isinstance(self.harvester, Harvester):
            self.harvester.refresh(segments)
        self.at_end = False

    def _begin_at(self, position: Position) -> Harvester:
        harvester = Harvester(self.log, position if position.segment else None)
        harvester.refresh(self.segments)
        return harvester


class LogFollower:
    """All logs of all directories on their way to one sink."""

    def __init__(self, following: Following) -> None:
        self._following = following
        self._lanes: dict[str, LogLane] = {}

    @property
    def lanes(self) -> Collection[Lane]:
        return self._lanes.values()

    def see(self, sighting: Inventory) -> Iterable[Lane]:
        """Raises DuplicateLog when draining; a service says it and ships the first one."""
        seen = []
        for log, segments in sighting.logs.items():
            lane = self._lanes.get(str(log)) or self._new_lane(str(log), sighting.directory)
            if lane.directory == sighting.directory:
                lane.refresh(segments)
                seen.append(lane)
            else:
                self._report_twice(lane, sighting.directory)
        return seen

    def woken(self, name: str) -> Lane | None:
        log = _log_of(name)
        return None if log is None else self._lanes.get(log)

    def save(self) -> None:
        following = self._following
        for lane in self._lanes.values():
            if not lane.dirty:
                continue
            position: Position = lane.window.position
            following.cursors.save(following.sink, _cursor(lane.log, position))
            lane.saved = position
            segment = SegmentName.parse(position.segment)
            following.quarantine.forget(lane.log, segment, position.offset)

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        with lock:
            lanes = list(self._lanes.values())
        stats = []
        for lane in lanes:
            # The files are read outside the lock: the loop does not wait for a scrape.
            newest = None if lane.at_end else lag.newest_seq(lane.segments)
            unread_at = None if lane.at_end else lag.written_at(lane.segments, lane.window.position)
            with lock:
                stats.append(_stats_of(self._following.sink, lane, newest, unread_at))
        return stats

    def _new_lane(self, log: str, directory: Path) -> LogLane:
        cursor = load_cursor(self._following, log)
        start = (
            Position(cursor.segment, cursor.offset, cursor.seq, cursor.hash, cursor.gaps)
            if cursor
            else Position()
        )
        lane = self._lanes[log] = LogLane(log, directory, start)
        return lane

    def _report_twice(self, lane: LogLane, directory: Path) -> None:
        error = DuplicateLog(
            f"the log {lane.log} is in {lane.directory} as well; only that one is shipped",
            path=directory,
            hint="Give the services different hosts or instances.",
        )
        if self._following.drain:
            raise error
        if lane.trouble != str(error):
            lane.trouble = str(error)
            _logger.error("%s", error)


def load_cursor(following: Following, log: str) -> Cursor | None:
    """The cursor of a log; None, said, where it cannot be read any more."""
    try:
        return following.cursors.load(following.sink, log)
    except CursorDamaged as error:
        _logger.warning("%s Shipping of %s starts from its beginning.", error, log)
        return None


def _cursor(log: str, position: Position) -> Cursor:
    segment, offset, seq, digest, gaps = position
    return Cursor(log, segment, offset, seq, digest, dt.datetime.now(dt.UTC), gaps)


def _stats_of(sink: str, lane: Lane, newest: int | None, unread_at: dt.datetime | None) -> LogStats:
    window = lane.window
    position: Any = window.position
    read_seq = max(lane.harvester.position.seq, newest or 0)
    held_at = window.oldest_at
    return LogStats(
        sink=sink,
        log=lane.log,
        written=window.added,
        indexed=window.tally.indexed,
        duplicate=window.tally.duplicate,
        quarantined=window.tally.quarantined,
        pending=window.pending,
        retries=lane.retries,
        unverified=lane.unverified,
        chain_breaks=lane.chain_breaks,
        tamper_alarms=lane.tamper_alarms,
        acknowledged_seq=position.seq,
        lag_records=max(0, read_seq - position.seq),
        lag_bytes=lane.harvester.lag_bytes(),
        oldest_at=parse_timestamp(held_at) if held_at is not None else unread_at,
        trouble=lane.trouble,
    )


@lru_cache(4096)
def _log_of(path: str) -> str | None:
    try:
        return str(SegmentName.parse(path.rpartition("/")[2]).log)
    except InvalidName:
        return None
