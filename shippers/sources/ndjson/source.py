"""Files that other programs append to, one JSON object a line, as a source: one lane a file.

Files are found by their patterns and told apart by device and inode while we run; over restarts by
what they begin with, and the place that was reached (ndjson_places).  A pattern also takes its
files' .gz and .zst forms, in which rotation leaves them; those are read to their end, a few at a
time, and not opened again.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_source.py):
  rotation   every line is delivered, whatever order of rename, copytruncate, compression, removal
             and restart its file goes through, and no line gets two documents
  forgets    a file that is gone leaves nothing behind but its place
"""

from __future__ import annotations

import datetime as dt
import glob
import logging
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog.cursors import SourceCursor
from auditlog.errors import CursorDamaged
from auditlog.format.foreign_files import FilePlace, decode_places, encode_places
from auditlog.format.record import parse_timestamp
from shippers.lane import Lane
from shippers.sources.ndjson.file import FileHarvester
from shippers.sources.ndjson.file_bytes import FileState
from shippers.sources.ndjson.line import LineFormat
from shippers.sources.ndjson.options import NdjsonOptions
from shippers.sources.ndjson.places import Places
from shippers.stats import LogStats

if TYPE_CHECKING:
    import threading
    from collections.abc import Collection, Iterable, Sequence

    from shippers.sources.protocol import Following

__all__ = ["FileFollower", "FileLane", "NdjsonSource"]

_logger = logging.getLogger("auditlog.shippers")

_FORMS: Final = ("", ".gz", ".zst")
_UNPACKED_AT_ONCE: Final = 4

Sighting = dict[tuple[int, int], FileState]


class NdjsonSource:
    """The source.  A sighting is every file there is, by (device, inode)."""

    def __init__(self, options: NdjsonOptions) -> None:
        self.name = options.name
        self.options = options
        self._bases = tuple(dict.fromkeys(_base(path) for path in options.paths))
        self._directories = self._bases
        self._unreadable: dict[Path, str] = {}

    @property
    def directories(self) -> Sequence[Path]:
        """What the patterns begin with, and wherever files were found."""
        return self._directories

    def look(self, changed: Collection[Path] | None, *, strict: bool = False) -> Sequence[Sighting]:
        if changed is not None and not set(changed) & set(self._directories):
            return ()
        for base in self._bases:
            self._check(base, strict=strict)
        found: Sighting = {}
        for pattern in self.options.paths:
            for form in _FORMS:
                for path in glob.iglob(pattern + form, recursive=True):  # noqa: PTH207  (absolute)
                    if (state := _state(path)) is not None:
                        found.setdefault(state.key, state)
        parents = {state.path.parent for state in found.values()}
        self._directories = tuple(dict.fromkeys((*self._bases, *sorted(parents))))
        return (found,)

    def follow(self, following: Following) -> FileFollower:
        return FileFollower(self.options, following)

    def _check(self, base: Path, *, strict: bool) -> None:
        """A pattern does not say why it finds nothing."""
        try:
            os.scandir(base).close()
        except OSError as error:
            if strict:
                raise
            reason = error.strerror or type(error).__name__
            if self._unreadable.get(base) != reason:
                self._unreadable[base] = reason
                _logger.warning("%s cannot be listed (%s); trying again", base, reason)
        else:
            if self._unreadable.pop(base, None) is not None:
                _logger.info("%s can be listed again", base)


class FileLane(Lane):
    """A lane that knows which file it reads."""

    harvester: FileHarvester

    def place(self) -> FilePlace | None:
        """How far it is delivered, or was before us; with a seal when that is all there is."""
        place: FilePlace | None = self.window.position or self.harvester.base
        if place is not None and self.done:
            return place._replace(seal=self.harvester.seal)
        return place

    def rewind(self) -> None:
        """Its file stays open: its name may be gone."""
        self.waiting.clear()
        self.window.rewind()
        self.harvester.rewind(self.window.position)
        self.at_end = False


class FileFollower:
    """All files of a source on their way to one sink."""

    def __init__(self, options: NdjsonOptions, following: Following) -> None:
        self._options = options
        self._following = following
        self._form = LineFormat(options.name, options.host, options.timestamp_field)
        self._lanes: dict[tuple[int, int], FileLane] = {}
        self._by_path: dict[str, FileLane] = {}
        self._packed: dict[tuple[int, int], FileState] = {}  # compressed, and not begun yet
        self._left = Places(self._load())
        self._sealed = {place.seal for place in self._left.all() if place.seal}
        self._changed = False
        self._retired = _Counts()

    @property
    def lanes(self) -> Collection[Lane]:
        return self._lanes.values()

    def see(self, sighting: Sighting) -> Iterable[Lane]:
        woken: list[Lane] = []
        for key, lane in list(self._lanes.items()):
            changed = lane.harvester.seen(sighting.get(key))
            if self._is_over(lane):
                self._retire(key, lane)
            elif changed:
                lane.at_end = False
                woken.append(lane)
        self._packed.clear()
        self._sealed &= {state.signature for state in sighting.values()}
        for key, state in sorted(sighting.items(), key=lambda item: item[1].mtime):
            if key in self._lanes or state.signature in self._sealed:
                continue
            if state.compression:
                self._packed[key] = state
            else:
                woken.append(self._begin(key, state))
        woken += self._begin_packed()
        self._by_path = {str(lane.harvester.state.path): lane for lane in self._lanes.values()}
        return woken

    def woken(self, name: str) -> Lane | None:
        return self._by_path.get(name)

    def save(self) -> None:
        dirty = [lane for lane in self._lanes.values() if lane.dirty]
        if not dirty and not self._changed:
            return
        for lane in dirty:
            before, now = lane.saved, lane.window.position
            if before is not None and (
                before.first_hash != now.first_hash or before.offset > now.offset
            ):
                self._left.add(before)  # the file was truncated; a copy may be there
            self._leave_base(lane)
        places = [place for lane in self._lanes.values() if (place := lane.place()) is not None]
        now_at = dt.datetime.now(dt.UTC)
        self._following.cursors.save_source(
            self._following.sink,
            SourceCursor(
                NdjsonOptions.kind,
                self._options.name,
                encode_places([*self._left.all(), *places]),
                now_at,
            ),
        )
        self._changed = False
        for lane in dirty:
            lane.saved = lane.window.position

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        with lock:
            return [self._stats()]

    # -- lanes -----------------------------------------------------------------------------

    def _load(self) -> list[FilePlace]:
        following = self._following
        try:
            cursor = following.cursors.load_source(
                following.sink, NdjsonOptions.kind, self._options.name
            )
            return [] if cursor is None else decode_places(cursor.place)
        except (CursorDamaged, ValueError) as error:
            _logger.warning(
                "%s Shipping of the source %s starts from its beginning.", error, self._options.name
            )
            return []

    def _begin(self, key: tuple[int, int], state: FileState) -> FileLane:
        name = f"{self._options.name}:{state.path}"

        def begin(place: FilePlace | None) -> FileHarvester:
            return FileHarvester(
                name,
                state,
                self._form,
                place,
                max_line_bytes=self._options.max_line_bytes,
                known=self._known,
                ended=self._wake_packed,
            )

        lane = self._lanes[key] = FileLane(name, begin, None)
        self._by_path[str(state.path)] = lane
        return lane

    def _known(self, first_hash: str) -> list[FilePlace]:
        live = [place for lane in self._lanes.values() if (place := lane.window.position)]
        return [*self._left.of(first_hash), *(p for p in live if p.first_hash == first_hash)]

    def _begin_packed(self) -> list[FileLane]:
        """Compressed files are read from their beginning, so only a few at a time, to the end."""
        active = [
            lane
            for lane in self._lanes.values()
            if lane.harvester.state.compression
            and not lane.harvester.exhausted
            and lane.read_error is None
        ]
        room = max(0, _UNPACKED_AT_ONCE - len(active))
        return [self._begin(key, self._packed.pop(key)) for key in list(self._packed)[:room]]

    def _wake_packed(self) -> None:
        for lane in self._begin_packed():
            self._following.wake(str(lane.harvester.state.path))

    def _is_over(self, lane: FileLane) -> bool:
        if not lane.done:
            return False
        return lane.harvester.drained() or bool(lane.harvester.seal)

    def _retire(self, key: tuple[int, int], lane: FileLane) -> None:
        harvester = lane.harvester
        if harvester.seal:
            self._sealed.add(harvester.seal)
        elif unread := harvester.lag_bytes():
            _logger.warning("%s was removed before its last %d bytes were read", lane.log, unread)
        if (place := lane.place()) is not None:
            self._leave_base(lane)
            self._left.add(place)
            self._changed = True
        self._retired.take(lane)
        lane.close()
        del self._lanes[key]

    def _leave_base(self, lane: FileLane) -> None:
        """Its place is another one now, unless a compressed file that is there has it too."""
        base = lane.harvester.base
        if base is not None and base.seal not in self._sealed:
            self._left.discard(base)

    def _stats(self) -> LogStats:
        counts = _Counts()
        counts.add(self._retired)
        for lane in self._lanes.values():
            counts.take(lane)
        waiting = [at for lane in self._lanes.values() if (at := lane.window.oldest_at) is not None]
        return LogStats(
            sink=self._following.sink,
            log=self._options.name,
            written=counts.written,
            indexed=counts.indexed,
            duplicate=counts.duplicate,
            quarantined=counts.quarantined,
            pending=counts.pending,
            retries=counts.retries,
            unverified=0,
            chain_breaks=0,
            tamper_alarms=0,
            acknowledged_seq=0,
            lag_records=counts.pending,
            lag_bytes=sum(lane.harvester.lag_bytes() for lane in self._lanes.values())
            + sum(state.size_bytes for state in self._packed.values()),
            oldest_at=parse_timestamp(min(waiting)) if waiting else None,
            trouble=next((lane.trouble for lane in self._lanes.values() if lane.trouble), ""),
            kind=NdjsonOptions.kind,
            bad_lines=counts.bad_lines,
            cut_lines=counts.cut_lines,
            restarts=counts.restarts,
        )


@dataclass(slots=True)
class _Counts:
    """What lanes counted, of those that are and those that were."""

    written: int = 0
    indexed: int = 0
    duplicate: int = 0
    quarantined: int = 0
    pending: int = 0
    retries: int = 0
    bad_lines: int = 0
    cut_lines: int = 0
    restarts: int = 0

    def take(self, lane: FileLane) -> None:
        window = lane.window
        self.add(
            _Counts(
                window.added,
                window.tally.indexed,
                window.tally.duplicate,
                window.tally.quarantined,
                window.pending,
                lane.retries,
                lane.bad_lines,
                lane.cut_lines,
                lane.harvester.restarts,
            )
        )

    def add(self, other: _Counts) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def _base(pattern: str) -> Path:
    """The directory in front of the first part of a pattern that is not a plain name."""
    parts = Path(pattern).parts[:-1]
    plain = next((n for n, part in enumerate(parts) if glob.has_magic(part)), len(parts))
    return Path(*parts[:plain])


def _state(path: str) -> FileState | None:
    try:
        found = os.stat(path, follow_symlinks=False)  # noqa: PTH116  (thousands of them)
    except OSError:
        return None  # gone since the listing
    if not stat.S_ISREG(found.st_mode):
        return None
    return FileState(Path(path), (found.st_dev, found.st_ino), found.st_size, found.st_mtime)
