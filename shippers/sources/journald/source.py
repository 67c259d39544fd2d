"""The systemd journal of some units as a source: one lane, whose position is a journal cursor."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

from auditlog.cursors import SourceCursor
from auditlog.errors import CursorDamaged
from auditlog.format.record import parse_timestamp
from shippers.document import DocumentBatch
from shippers.errors import SourceUnreadable
from shippers.lane import Lane
from shippers.sources.journald.entry import to_document
from shippers.sources.journald.options import JournaldOptions
from shippers.sources.journald.reader import JournalReader
from shippers.stats import LogStats

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from shippers.sources.protocol import Following

__all__ = ["JournalFollower", "JournalHarvester", "JournaldSource"]

_logger = logging.getLogger("auditlog.shippers")


class JournaldSource:
    """The source.  A sighting only says that it is there; journalctl watches for itself."""

    directories: Sequence[Path] = ()

    def __init__(self, options: JournaldOptions) -> None:
        self.name = options.name
        self.options = options

    def look(self, changed: Collection[Path] | None, *, strict: bool = False) -> Sequence[str]:  # noqa: ARG002  (see above)
        return () if changed is not None else (self.name,)

    def follow(self, following: Following) -> JournalFollower:
        return JournalFollower(self.options, following)


class JournalHarvester:
    """Takes what its reader has read ahead.  The child is started with the first read."""

    def __init__(self, options: JournaldOptions, start: str | None, following: Following) -> None:
        self.position = start
        self._options = options
        self._following = following
        self._reader: JournalReader | None = None

    @property
    def exhausted(self) -> bool:
        """Whether all there is was read; a service's journal has no end."""
        return self._reader is not None and self._reader.ended and not self._reader.ahead_bytes

    @property
    def restarts(self) -> int:
        return 0 if self._reader is None else self._reader.restarts

    def read(self, max_bytes: int, max_records: int) -> DocumentBatch | None:
        """Raises SourceUnreadable while journalctl does not give anything, and why."""
        options = self._options
        if self._reader is None:
            self._reader = JournalReader(
                options.command(follow=not self._following.drain),
                [] if options.since is None else [f"--since={options.since}"],
                self.position,
                lambda: self._following.wake(options.name),
                again=not self._following.drain,
            )
        ended = self._reader.ended  # asked before taking: what it left is taken
        lines = self._reader.take(max_bytes, max_records)
        if not lines:
            if self._reader.trouble and (ended or not self._following.drain):
                raise SourceUnreadable(
                    f"the journal cannot be read: {self._reader.trouble}",
                    hint="It is tried again. journalctl has to be there, and its files readable: "
                    "run as a member of the group systemd-journal.",
                )
            return None
        batch = DocumentBatch(options.name, self.position, [], [], 0)
        now = dt.datetime.now(dt.UTC)
        for line in lines:
            document, cursor, good = to_document(line, options.name, now)
            self.position = cursor or self.position
            batch.documents.append(document)
            batch.places.append(self.position)
            batch.size_bytes += len(document.line)
            batch.bad_lines += not good
        return batch

    def lag_bytes(self) -> int:
        """What was read ahead; how much is in the journal behind it nobody knows."""
        return 0 if self._reader is None else self._reader.ahead_bytes

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class JournalFollower:
    """The journal on its way to one sink."""

    def __init__(self, options: JournaldOptions, following: Following) -> None:
        self._options = options
        self._following = following
        self._harvester = JournalHarvester(options, None, following)
        self._restarts = 0
        self._lane = Lane(options.name, self._begin, self._load())

    @property
    def lanes(self) -> Collection[Lane]:
        return (self._lane,)

    def see(self, sighting: object) -> Iterable[Lane]:  # noqa: ARG002  (it says nothing)
        self._lane.at_end = False
        return (self._lane,)

    def woken(self, name: str) -> Lane | None:
        return self._lane if name == self._options.name else None

    def save(self) -> None:
        lane = self._lane
        if lane.dirty:
            now = dt.datetime.now(dt.UTC)
            place = {"cursor": lane.window.position}
            cursor = SourceCursor(JournaldOptions.kind, self._options.name, place, now)
            self._following.cursors.save_source(self._following.sink, cursor)
            lane.saved = lane.window.position

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        with lock:
            lane = self._lane
            waiting = lane.window.oldest_at
            return [
                LogStats(
                    sink=self._following.sink,
                    log=lane.log,
                    written=lane.window.added,
                    indexed=lane.window.tally.indexed,
                    duplicate=lane.window.tally.duplicate,
                    quarantined=lane.window.tally.quarantined,
                    pending=lane.window.pending,
                    retries=lane.retries,
                    unverified=0,
                    chain_breaks=0,
                    tamper_alarms=0,
                    acknowledged_seq=0,
                    lag_records=lane.window.pending,
                    lag_bytes=lane.harvester.lag_bytes(),
                    oldest_at=None if waiting is None else parse_timestamp(waiting),
                    trouble=lane.trouble,
                    kind=JournaldOptions.kind,
                    bad_lines=lane.bad_lines,
                    restarts=self._restarts + self._harvester.restarts,
                )
            ]

    def _begin(self, position: str | None) -> JournalHarvester:
        self._restarts += self._harvester.restarts
        self._harvester = JournalHarvester(self._options, position, self._following)
        return self._harvester

    def _load(self) -> str | None:
        following, name = self._following, self._options.name
        try:
            cursor = following.cursors.load_source(following.sink, JournaldOptions.kind, name)
        except CursorDamaged as error:
            _logger.warning("%s Shipping of the source %s starts from its beginning.", error, name)
            return None
        place = None if cursor is None else cursor.place.get("cursor")
        return place if isinstance(place, str) else None
