"""Provide the audit logs of given directories as lanes, each with its own cursor."""

from __future__ import annotations

import datetime as dt
import logging
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog.cursors import Cursor
from auditlog.errors import CursorDamaged, InvalidName
from auditlog.format.erasures import by_stub, stub_digest
from auditlog.format.segment_names import SegmentName
from auditlog.format.tombstones import by_log
from auditlog.reading.inventory import Inventory, scan
from auditlog.reading.tombstone_scan import RETENTION_SERVICE, proofs_in, tombstones_in
from shippers.batch import Position
from shippers.errors import DuplicateLog
from shippers.lane import Lane, stats_of
from shippers.sources.audit_log import lag
from shippers.sources.audit_log.harvester import LogHarvester
from shippers.sources.audit_log.origin import LogOrigin

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Sequence

    from auditlog.format.tombstones import Tombstone
    from shippers.seq_ranges import SeqRanges
    from shippers.sources.protocol import FeedContext
    from shippers.stats import LogStats

__all__ = ["LogDirectories", "LogFeed"]

_logger = logging.getLogger("auditlog.shippers")


class LogDirectories:
    """The source.  A sighting is the inventory of one directory.

    ``retention_hosts`` are those whose retention may delete (format.tombstones.may_delete).
    """

    name = "audit_log"

    def __init__(
        self, directories: Sequence[Path], retention_hosts: Collection[str] | None = None
    ) -> None:
        self.directories = tuple(directories)
        self.retention_hosts = retention_hosts
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
                self._report(directory, error.strerror or type(error).__name__)
                continue
            if self.unreadable.pop(directory, None) is not None:
                _logger.info("%s can be listed again", directory)
        return inventories

    def feed(self, context: FeedContext) -> LogFeed:
        return LogFeed(context, self.retention_hosts)

    def _report(self, directory: Path, reason: str) -> None:
        if self.unreadable.get(directory) != reason:
            self.unreadable[directory] = reason
            _logger.warning("%s cannot be listed (%s); trying again", directory, reason)


@dataclass(frozen=True, slots=True)
class _FollowedLog:
    """A log, and the directory in which it was seen first."""

    lane: Lane[Position]
    harvester: LogHarvester
    directory: Path
    last: lag.LastRecord = field(default_factory=lag.LastRecord)


class LogFeed:
    """All logs of all directories on their way to one sink."""

    def __init__(
        self, context: FeedContext, retention_hosts: Collection[str] | None = None
    ) -> None:
        self._context = context
        self._hosts = retention_hosts
        self._logs: dict[str, _FollowedLog] = {}

    @property
    def lanes(self) -> Collection[Lane[Position]]:
        return [followed.lane for followed in self._logs.values()]

    def see(self, sighting: Inventory) -> Iterable[Lane[Position]]:
        """Raises DuplicateLog when draining; a service logs it and ships the first one."""
        seen = []
        for log, segments in sighting.logs.items():
            followed = self._logs.get(str(log)) or self._follow(str(log), sighting.directory)
            if followed.directory == sighting.directory:
                followed.harvester.refresh(segments)
                followed.lane.grew()
                seen.append(followed.lane)
            else:
                self._report_twice(followed, sighting.directory)
        return seen

    def lane_of(self, name: str) -> Lane[Position] | None:
        log = _log_of(name)
        followed = None if log is None else self._logs.get(log)
        return None if followed is None else followed.lane

    def save(self) -> None:
        context = self._context
        for lane in self.lanes:
            if not lane.dirty:
                continue
            segment, offset, seq, digest, gaps = position = lane.position
            now = dt.datetime.now(dt.UTC)
            cursor = Cursor(lane.name, segment, offset, seq, digest, now, gaps, lane.unverified)
            context.cursors.save(context.sink, cursor)
            lane.saved = position
            context.quarantine.forget(lane.name, SegmentName.parse(segment), offset)

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        with lock:
            logs = list(self._logs.values())
        stats = []
        for followed in logs:
            lane, segments = followed.lane, followed.harvester.segments
            # The files are read outside the lock: the loop does not wait for a scrape.
            newest = None if lane.at_end else lag.newest_seq(segments)
            unread_at = None if lane.at_end else lag.written_at(segments, lane.position)
            followed.last.look(segments)
            with lock:
                acknowledged = lane.position.seq
                read = max(followed.harvester.position.seq, newest or 0)
                stats.append(
                    stats_of(
                        self._context.sink,
                        lane.name,
                        "audit_log",
                        [lane],
                        acknowledged_seq=acknowledged,
                        lag_records=max(0, read - acknowledged),
                        unread_at=unread_at,
                        last_at=followed.last.at,
                        is_open=followed.last.is_open,
                    )
                )
        return stats

    def _follow(self, log: str, directory: Path) -> _FollowedLog:
        start, unverified = self._load(log)
        harvester = LogHarvester(
            log,
            start,
            lambda stub: _is_proven(directory, log, stub, self._hosts),
            lambda: _tombstones(directory, log, self._hosts),
            LogOrigin(directory, log),
        )
        followed = _FollowedLog(Lane(log, harvester, start, unverified), harvester, directory)
        self._logs[log] = followed
        return followed

    def _load(self, log: str) -> tuple[Position, SeqRanges]:
        try:
            cursor = self._context.cursors.load(self._context.sink, log)
        except CursorDamaged as error:
            _logger.warning("%s Shipping of %s starts from its beginning.", error, log)
            cursor = None
        if cursor is None:
            return Position(), ()
        start = Position(cursor.segment, cursor.offset, cursor.seq, cursor.hash, cursor.gaps)
        return start, cursor.unverified

    def _report_twice(self, followed: _FollowedLog, directory: Path) -> None:
        lane = followed.lane
        error = DuplicateLog(
            f"the log {lane.name} is in {followed.directory} as well; only that one is shipped",
            path=directory,
            hint="Give the services different hosts or instances.",
        )
        if self._context.drain:
            raise error
        if lane.trouble != str(error):
            lane.trouble = str(error)
            _logger.error("%s", error)


def _is_proven(directory: Path, log: str, stub: bytes, hosts: Collection[str] | None) -> bool:
    """Whether a believed erasure in the directory proves the stub.  Raises OSError."""
    erasures = proofs_in(scan(directory, f"{RETENTION_SERVICE}@").logs, hosts).erasures
    return stub_digest(stub) in by_stub(erasures, log)


def _tombstones(directory: Path, log: str, hosts: Collection[str] | None) -> Sequence[Tombstone]:
    """The believed tombstones in the directory that are about this log.  Raises OSError."""
    found = tombstones_in(scan(directory, f"{RETENTION_SERVICE}@").logs, hosts)
    return by_log(found).get(log, ())


@lru_cache(4096)
def _log_of(path: str) -> str | None:
    try:
        return str(SegmentName.parse(path.rpartition("/")[2]).log)
    except InvalidName:
        return None
