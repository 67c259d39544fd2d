"""Ship NDJSON files that other programs append to, one lane per file.

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
import logging
import os
import resource
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog.cursors import SourceCursor
from auditlog.errors import CursorDamaged
from auditlog.format.foreign_files import FilePlace, decode_places, encode_places
from auditlog.redaction.redactor import Redactor
from shippers.lane import Lane, stats_of
from shippers.sources.ndjson.file import FileHarvester
from shippers.sources.ndjson.file_bytes import FileState
from shippers.sources.ndjson.line import LineFormat
from shippers.sources.ndjson.options import NdjsonOptions
from shippers.sources.ndjson.patterns import base_of, find
from shippers.sources.ndjson.places import Places
from shippers.stats import Counts

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Sequence

    from shippers.sources.protocol import FeedContext
    from shippers.stats import LogStats

__all__ = ["FileFeed", "NdjsonSource"]

_logger = logging.getLogger("auditlog.shippers")

_UNPACKED_AT_ONCE: Final = 4
_LEAST_OPEN: Final = 64

FoundFiles = dict[tuple[int, int], FileState]


class NdjsonSource:
    """The source.  A sighting is every file there is, by (device, inode)."""

    def __init__(self, options: NdjsonOptions) -> None:
        self.name = options.name
        self.options = options
        self._bases = tuple(dict.fromkeys(base_of(path) for path in options.paths))
        self._directories = self._bases
        self._unreadable: dict[Path, str] = {}
        self._not_followed: set[Path] = set()

    @property
    def directories(self) -> Sequence[Path]:
        """The directories in front of the patterns, and all in which a file would match."""
        return self._directories

    def look(
        self, changed: Collection[Path] | None, *, strict: bool = False
    ) -> Sequence[FoundFiles]:
        if changed is not None and not set(changed) & set(self._directories):
            return ()
        unlisted = dict(self._check(base, strict=strict) for base in self._bases)
        found = find(self.options.paths, self.options.exclude)
        self._tell_unlisted(
            {**{base: why for base, why in unlisted.items() if why}, **found.unlisted}
        )
        self._directories = tuple(dict.fromkeys((*self._bases, *sorted(found.directories))))
        for link in sorted(set(found.not_followed) - self._not_followed):
            _logger.warning("%s is not followed: it is another user's link to a file", link)
        self._not_followed = set(found.not_followed)
        return (found.files,)

    def feed(self, context: FeedContext) -> FileFeed:
        return FileFeed(self.options, context, self._unlisted_reasons)

    def _check(self, base: Path, *, strict: bool) -> tuple[Path, str]:
        """Why the directory cannot be listed: a pattern does not say why it finds nothing."""
        try:
            os.scandir(base).close()
        except OSError as error:
            if strict:
                raise
            return base, error.strerror or type(error).__name__
        return base, ""

    def _unlisted_reasons(self) -> list[str]:
        return [f"{place} cannot be listed ({why})" for place, why in self._unreadable.items()]

    def _tell_unlisted(self, reasons: dict[Path, str]) -> None:
        for directory, reason in reasons.items():
            if self._unreadable.get(directory) != reason:
                _logger.warning("%s cannot be listed (%s); trying again", directory, reason)
        for directory in self._unreadable.keys() - reasons.keys():
            _logger.info("%s can be listed again", directory)
        self._unreadable = reasons


@dataclass(frozen=True, slots=True)
class _FollowedFile:
    """A file that is read."""

    lane: Lane[FilePlace | None]
    harvester: FileHarvester

    def place(self) -> FilePlace | None:
        """How far it is delivered, by us or before us; sealed once that is all of it."""
        place = self.lane.position or self.harvester.base
        if place is not None and self.lane.done:
            return place._replace(seal=self.harvester.seal)
        return place

    def is_over(self) -> bool:
        """Whether it needs no lane any more."""
        if not self.lane.done:
            return False
        return self.harvester.drained() or bool(self.harvester.seal)


class FileFeed:
    """All files of a source on their way to one sink; ``unlisted`` says where none can be found."""

    def __init__(
        self, options: NdjsonOptions, context: FeedContext, unlisted: Callable[[], Sequence[str]]
    ) -> None:
        self._options = options
        self._context = context
        self._unlisted = unlisted
        self._form = LineFormat(
            options.name,
            options.host,
            options.timestamp_field,
            Redactor(visible=False, most_bytes=options.max_line_bytes) if options.redact else None,
        )
        self._files: dict[tuple[int, int], _FollowedFile] = {}
        self._by_path: dict[str, _FollowedFile] = {}
        self._by_first: dict[str, set[Lane[FilePlace | None]]] = {}
        self._firsts: dict[Lane[FilePlace | None], set[str]] = {}  # the hashes it stands under
        self._packed: dict[tuple[int, int], FileState] = {}  # compressed, and not begun yet
        self._unpacking: list[_FollowedFile] = []
        self._left = Places(self._load())
        self._sealed = {place.seal for place in self._left.all() if place.seal}
        self._changed = False
        self._ended = Counts()
        self._ended_restarts = 0
        self._open: dict[FileHarvester, None] = {}  # least recently read first
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._max_open = max(_LEAST_OPEN, soft // 4)  # other sinks and sources have files as well

    @property
    def lanes(self) -> Collection[Lane[FilePlace | None]]:
        return [followed.lane for followed in self._files.values()]

    def see(self, sighting: FoundFiles) -> Iterable[Lane[FilePlace | None]]:
        woken: list[Lane[FilePlace | None]] = []
        for key, followed in list(self._files.items()):
            changed = followed.harvester.seen(sighting.get(key))
            if followed.is_over():
                self._retire(key, followed)
            elif changed:
                followed.lane.grew()
                woken.append(followed.lane)
        self._packed.clear()
        self._sealed &= {state.signature for state in sighting.values()}
        for key, state in sorted(sighting.items(), key=lambda item: item[1].mtime):
            if key in self._files or state.signature in self._sealed:
                continue
            if state.compression:
                self._packed[key] = state
            else:
                woken.append(self._begin(key, state).lane)
        woken += [followed.lane for followed in self._begin_packed()]
        self._by_path = {str(f.harvester.state.opened_path): f for f in self._files.values()}
        return woken

    def lane_of(self, name: str) -> Lane[FilePlace | None] | None:
        followed = self._by_path.get(name)
        return None if followed is None else followed.lane

    def save(self) -> None:
        dirty = [followed for followed in self._files.values() if followed.lane.dirty]
        if not dirty and not self._changed:
            return
        for followed in dirty:
            before, now = followed.lane.saved, followed.lane.position
            if before is not None and (
                now is None or before.first_hash != now.first_hash or before.offset > now.offset
            ):
                self._left.add(before)  # the file was truncated; a copy may be there
            self._drop_base(followed)
        places = [place for f in self._files.values() if (place := f.place()) is not None]
        if all(followed.lane.at_end for followed in self._files.values()):
            # Every file has found its place by now, so the others are of files that are gone.
            in_use = {followed.harvester.base for followed in self._files.values()}
            sealed = (place for place in self._left.all() if place.seal in self._sealed)
            self._left.trim({*in_use, *sealed})
        now_at = dt.datetime.now(dt.UTC)
        encoded = encode_places([*self._left.all(), *places])
        cursor = SourceCursor(NdjsonOptions.kind, self._options.name, encoded, now_at)
        self._context.cursors.save_source(self._context.sink, cursor)
        self._changed = False
        for followed in dirty:
            followed.lane.saved = followed.lane.position

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        redactor = self._form.redactor
        with lock:
            files = self._files.values()
            return [
                stats_of(
                    self._context.sink,
                    self._options.name,
                    NdjsonOptions.kind,
                    self.lanes,
                    ended=self._ended,
                    unread_bytes=sum(state.size_bytes for state in self._packed.values()),
                    restarts=self._ended_restarts + sum(f.harvester.restarts for f in files),
                    redactions={} if redactor is None else redactor.counted(),
                    damage=self._unlisted(),
                )
            ]

    # -- files -----------------------------------------------------------------------------

    def _load(self) -> list[FilePlace]:
        context = self._context
        try:
            cursor = context.cursors.load_source(
                context.sink, NdjsonOptions.kind, self._options.name
            )
            return [] if cursor is None else decode_places(cursor.place)
        except (CursorDamaged, ValueError) as error:
            _logger.warning(
                "%s Shipping of the source %s starts from its beginning.", error, self._options.name
            )
            return []

    def _begin(self, key: tuple[int, int], state: FileState) -> _FollowedFile:
        name = f"{self._options.name}:{state.path}"
        harvester = FileHarvester(
            name,
            state,
            self._form,
            max_line_bytes=self._options.max_line_bytes,
            known=lambda first_hash: self._known(first_hash, followed.lane),
            ended=self._wake_packed,
            opened=self._note_opened,
        )
        followed = self._files[key] = _FollowedFile(Lane(name, harvester, None), harvester)
        self._by_path[str(state.opened_path)] = followed
        return followed

    def _note_opened(self, harvester: FileHarvester) -> None:
        """Close the files that were not read for longest, if too many are open."""
        self._open.pop(harvester, None)
        self._open[harvester] = None
        surplus = len(self._open) - self._max_open
        for other in list(islice(self._open, max(0, surplus))):
            if other.can_close:
                other.close()
            del self._open[other]
            if other.is_open:
                self._open[other] = None  # it is tried again after all others

    def _known(self, first_hash: str, lane: Lane[FilePlace | None]) -> list[FilePlace]:
        """Return the places in files with this first line, which is the lane's from now on."""
        alike = self._by_first.setdefault(first_hash, set())
        alike.add(lane)
        self._firsts.setdefault(lane, set()).add(first_hash)
        live = [place for other in alike if (place := other.position) is not None]
        return [*self._left.of(first_hash), *(p for p in live if p.first_hash == first_hash)]

    def _begin_packed(self) -> list[_FollowedFile]:
        """Compressed files are read from their beginning to the end, so only a few at a time."""
        self._unpacking = [f for f in self._unpacking if not f.harvester.exhausted]
        active = sum(not f.harvester.failed for f in self._unpacking)
        keys = list(islice(self._packed, max(0, _UNPACKED_AT_ONCE - active)))
        begun = [self._begin(key, self._packed.pop(key)) for key in keys]
        self._unpacking += begun
        return begun

    def _wake_packed(self) -> None:
        for followed in self._begin_packed():
            self._context.wake(str(followed.harvester.state.opened_path))

    def _retire(self, key: tuple[int, int], followed: _FollowedFile) -> None:
        lane, harvester = followed.lane, followed.harvester
        if harvester.seal:
            self._sealed.add(harvester.seal)
        elif unread := harvester.lag_bytes():
            _logger.warning("%s was removed before its last %d bytes were read", lane.name, unread)
        if (place := followed.place()) is not None:
            self._drop_base(followed)
            self._left.add(place)
            self._changed = True
        self._ended = Counts.total([self._ended, lane.counts])
        self._ended_restarts += harvester.restarts
        for first_hash in self._firsts.pop(lane, ()):
            self._by_first[first_hash].discard(lane)
            if not self._by_first[first_hash]:
                del self._by_first[first_hash]
        lane.close()
        if followed in self._unpacking:
            self._unpacking.remove(followed)
        self._open.pop(harvester, None)
        del self._files[key]

    def _drop_base(self, followed: _FollowedFile) -> None:
        """Its place has moved on, unless a compressed file that is there has the place too."""
        base = followed.harvester.base
        if base is not None and base.seal not in self._sealed:
            self._left.discard(base)
