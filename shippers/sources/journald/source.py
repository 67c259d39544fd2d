"""Ship the journal of given units as one lane, positioned by a journal cursor."""

from __future__ import annotations

import datetime as dt
import logging
from typing import TYPE_CHECKING

from auditlog.cursors import SourceCursor
from auditlog.errors import CursorDamaged
from shippers.batch import DocumentBatch
from shippers.errors import SourceUnreadable
from shippers.lane import Lane, stats_of
from shippers.sources.journald.entry import to_document
from shippers.sources.journald.options import JournaldOptions
from shippers.sources.journald.reader import JournalReader

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Sequence
    from pathlib import Path

    from shippers.sources.protocol import FeedContext
    from shippers.stats import LogStats

__all__ = ["JournalFeed", "JournalHarvester", "JournaldSource"]

_logger = logging.getLogger("auditlog.shippers")


class JournaldSource:
    """The source.  A sighting only says that it is there; journalctl watches for itself."""

    directories: Sequence[Path] = ()

    def __init__(self, options: JournaldOptions) -> None:
        self.name = options.name
        self.options = options

    def look(self, changed: Collection[Path] | None, *, strict: bool = False) -> Sequence[str]:  # noqa: ARG002  (see above)
        return () if changed is not None else (self.name,)

    def feed(self, context: FeedContext) -> JournalFeed:
        return JournalFeed(self.options, context)


class JournalHarvester:
    """Takes what its reader has read ahead.  The child is started with the first read."""

    def __init__(self, options: JournaldOptions, start: str | None, context: FeedContext) -> None:
        self._position = start
        self._options = options
        self._context = context
        self._reader: JournalReader | None = None
        self._earlier_restarts = 0

    @property
    def exhausted(self) -> bool:
        """Whether all there is was read; the journal of a service has no end."""
        return self._reader is not None and self._reader.ended and not self._reader.ahead_bytes

    @property
    def damage(self) -> str:
        """Why entries are left out of what is read, or ""."""
        return "" if self._reader is None else self._reader.damage

    @property
    def restarts(self) -> int:
        return self._earlier_restarts + (0 if self._reader is None else self._reader.restarts)

    def rewind(self, position: str | None) -> None:
        """Read on from this cursor, with another child."""
        self.close()
        self._earlier_restarts = self.restarts
        self._position, self._reader = position, None

    def read(self, max_bytes: int, max_records: int) -> DocumentBatch[str | None] | None:
        """Raises SourceUnreadable with the reason while journalctl gives nothing."""
        options = self._options
        if self._reader is None:
            self._reader = JournalReader(
                options.command(follow=not self._context.drain),
                [] if options.since is None else [f"--since={options.since}"],
                self._position,
                lambda: self._context.wake(options.name),
                again=not self._context.drain,
            )
        ended = self._reader.ended  # asked before taking: what it left is taken
        lines = self._reader.take(max_bytes, max_records)
        if not lines:
            if self._reader.trouble and (ended or not self._context.drain):
                raise SourceUnreadable(
                    f"the journal cannot be read: {self._reader.trouble}",
                    hint="It is tried again. journalctl has to be installed and its files "
                    "readable: run as a member of the group systemd-journal.",
                )
            return None
        batch = DocumentBatch(log=options.name, start=self._position)
        now = dt.datetime.now(dt.UTC)
        for line in lines:
            document, cursor, good = to_document(line, options.name, now)
            self._position = cursor or self._position
            batch.items.append(document)
            batch.positions.append(self._position)
            batch.size_bytes += len(document.line)
            batch.bad_lines += not good
        return batch

    def lag_bytes(self) -> int:
        """Return the bytes read ahead; the size of the rest of the journal is not known."""
        return 0 if self._reader is None else self._reader.ahead_bytes

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()


class JournalFeed:
    """The journal on its way to one sink."""

    def __init__(self, options: JournaldOptions, context: FeedContext) -> None:
        self._name = options.name
        self._context = context
        start = self._load()
        self._harvester = JournalHarvester(options, start, context)
        self._lane = Lane(options.name, self._harvester, start)

    @property
    def lanes(self) -> Collection[Lane[str | None]]:
        return (self._lane,)

    def see(self, sighting: object) -> Iterable[Lane[str | None]]:  # noqa: ARG002  (it says nothing)
        self._lane.grew()
        return (self._lane,)

    def lane_of(self, name: str) -> Lane[str | None] | None:
        return self._lane if name == self._name else None

    def save(self) -> None:
        lane = self._lane
        if lane.dirty:
            position = lane.position
            cursor = SourceCursor(
                JournaldOptions.kind, self._name, {"cursor": position}, dt.datetime.now(dt.UTC)
            )
            self._context.cursors.save_source(self._context.sink, cursor)
            lane.saved = position

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        with lock:
            return [
                stats_of(
                    self._context.sink,
                    self._name,
                    JournaldOptions.kind,
                    [self._lane],
                    restarts=self._harvester.restarts,
                    damage=[damage] if (damage := self._harvester.damage) else (),
                )
            ]

    def _load(self) -> str | None:
        context, name = self._context, self._name
        try:
            cursor = context.cursors.load_source(context.sink, JournaldOptions.kind, name)
        except CursorDamaged as error:
            _logger.warning("%s Shipping of the source %s starts from its beginning.", error, name)
            return None
        place = None if cursor is None else cursor.place.get("cursor")
        return place if isinstance(place, str) else None
