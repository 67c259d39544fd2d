"""Gather facts about adopted foreign files: content and shipped positions.

It only reads.  A file is not adopted if it is not a regular file, or belongs neither to this user,
root nor the directory's owner.  A plain file is read to its end only if its last line is old.

Invariants (tests of the same name in tests/retention/test_foreign_gather.py):
  named     only what a pattern names is adopted, and never a segment
  unsafe    a symlink, a directory and another user's file stay foreign, also with a pattern
  shipped   a file is complete only where the source's cursor is behind its last line
  doubt     what cannot be read, or has two forms that differ, is damage
"""

from __future__ import annotations

import datetime as dt
import os
import stat
from collections import defaultdict
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import AuditLogError
from auditlog.format.foreign_files import FilePlace, decode_places
from auditlog.format.segment_names import COMPRESSIONS, is_segment_name
from retention.errors import SegmentChanged, SegmentDamaged, Stopped
from retention.foreign_content import inspect_foreign, last_time
from retention.foreign_forms import check_forms
from retention.policy import plain_name
from retention.subjects import AdoptedFile, ForeignFile, SourceProgress

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from auditlog.cursors import CursorStore
    from retention.holds import Hold
    from retention.policy import ForeignPolicy, RetentionPolicy
    from retention.subjects import ForeignContent

__all__ = ["SourcePlaces", "adopt", "ships", "source_places"]

_KIND: Final = "ndjson"


@dataclass(frozen=True, slots=True)
class SourcePlaces:
    """How far one source shipped its files to one sink; ``problem`` says why that is not known."""

    sink: str
    source: str
    places: tuple[FilePlace, ...] = ()
    problem: str = ""


def source_places(
    policy: RetentionPolicy, sinks: Sequence[str], store: CursorStore
) -> tuple[SourcePlaces, ...]:
    """Read the cursors of the sources.  Do it before reading the files, so that none is newer."""
    sources = dict.fromkeys(name for foreign in policy.foreign for name, _ in foreign.sources)
    return tuple(_load(sink, source, store) for source in sources for sink in sinks)


def _load(sink: str, source: str, store: CursorStore) -> SourcePlaces:
    try:
        cursor = store.load_source(sink, _KIND, source)
        if cursor is None:
            return SourcePlaces(sink, source, problem="it has acknowledged nothing")
        return SourcePlaces(sink, source, tuple(decode_places(cursor.place)))
    except (AuditLogError, ValueError) as error:
        return SourcePlaces(sink, source, problem=f"its cursor is damaged ({error})")
    except OSError as error:
        return SourcePlaces(sink, source, problem=f"its cursor cannot be read: {error.strerror}")


def adopt(
    paths: Iterable[Path],
    policy: RetentionPolicy,
    shipped: Sequence[SourcePlaces],
    holds: Sequence[Hold],
    now: dt.datetime,
    *,
    stop: threading.Event,
    asked: str | None = None,
    room_bytes: int | None = None,
) -> tuple[tuple[ForeignFile, ...], tuple[AdoptedFile, ...]]:
    """Return the files that stay foreign, and those that the policy adopts.

    ``asked`` is the plain name of one that is read in any case.  Where they take more than
    ``room_bytes``, each may have to be deleted and is read.  Raises Stopped.
    """
    foreign: list[ForeignFile] = []
    found: dict[Path, dict[str, tuple[os.stat_result, ForeignPolicy]]] = defaultdict(dict)
    for path in paths:
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue  # it was removed since the listing
        adopter = None if is_segment_name(path.name) else policy.adopts(path.name)
        if adopter is None:
            foreign.append(ForeignFile(path, state.st_size))
        elif unsafe := _unsafe(path, state):
            detail = f"{adopter.pattern} names it, but {unsafe}"
            foreign.append(ForeignFile(path, state.st_size, detail))
        else:
            form = path.name.removeprefix(plain_name(path.name))
            found[path.with_name(plain_name(path.name))][form] = (state, adopter)
    taken = sum(state.st_size for forms in found.values() for state, _ in forms.values())
    read_all = room_bytes is not None and taken > room_bytes
    sources = dict(each for foreign in policy.foreign for each in foreign.sources)
    reader = _FileReader(shipped, holds, now, stop, asked, sources, read_all)
    files = [reader.read(plain, forms) for plain, forms in found.items()]
    order = {adopter.pattern: place for place, adopter in enumerate(policy.foreign)}
    files.sort(key=lambda file: (order[file.foreign.pattern], file.counted_from, file.path.name))
    return tuple(foreign), tuple(files)


def ships(patterns: Iterable[str], path: str) -> bool:
    """Whether a source of these patterns ships the file, plain or compressed."""
    return any(
        _names((pattern + form).split("/"), path.split("/"))
        for pattern in patterns
        for form in COMPRESSIONS
    )


def _names(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Whether glob(7) would list this path, both split into parts; ** matches any directories.

    A listing could miss a file that is renamed at that moment, and then seem to say that no source
    ships it.
    """
    if not pattern or not path:
        return not pattern and not path
    hidden = path[0].startswith(".")
    if pattern[0] == "**":
        behind = pattern if len(path) > 1 else pattern[1:]
        return _names(pattern[1:], path) or (not hidden and _names(behind, path[1:]))
    if not fnmatchcase(path[0], pattern[0]) or (hidden and not pattern[0].startswith(".")):
        return False
    return _names(pattern[1:], path[1:])


def _instant(timestamp: float) -> dt.datetime | None:
    try:
        return dt.datetime.fromtimestamp(timestamp, dt.UTC)
    except (ValueError, OverflowError):
        return None


def _unsafe(path: Path, state: os.stat_result) -> str:
    if stat.S_ISLNK(state.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(state.st_mode):
        return "it is not a regular file"
    if state.st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        return f"it belongs to uid {state.st_uid}, not to the directory's owner"
    return ""


@dataclass(frozen=True, slots=True)
class _FileReader:
    """Reads adopted files."""

    shipped: Sequence[SourcePlaces]
    holds: Sequence[Hold]
    now: dt.datetime
    stop: threading.Event
    asked: str | None
    sources: Mapping[str, Sequence[str]]
    read_all: bool

    def read(
        self, plain: Path, forms: Mapping[str, tuple[os.stat_result, ForeignPolicy]]
    ) -> AdoptedFile:
        present = tuple(form for form in COMPRESSIONS if form in forms)
        state, adopter = forms[present[0]]
        modified_at = _instant(state.st_mtime)
        file = AdoptedFile(
            plain.with_name(plain.name + present[0]),
            present,
            state.st_size,
            adopter,
            modified_at or dt.datetime.max.replace(tzinfo=dt.UTC),
        )
        if modified_at is None:
            return replace(file, damage="its modification time is beyond the year 9999")
        try:
            return self._facts(file)
        except Stopped:
            raise
        except (SegmentDamaged, SegmentChanged) as error:
            return replace(file, damage=error.reason)
        except OSError as error:
            return replace(file, damage=f"it cannot be read: {error.strerror}")

    def _facts(self, file: AdoptedFile) -> AdoptedFile:
        fields = file.foreign.timestamp_fields
        file = replace(file, open_for_writing=durable_fs.open_for_writing_elsewhere(file.path))
        if "" in file.forms and file.plain.name != self.asked and not self.read_all:
            seen_at = last_time(file.path, fields)
            if seen_at is not None and self.now - seen_at < file.foreign.policy.compress_after:
                return replace(file, seen_at=seen_at)
        content, _ = inspect_foreign(file.path, file.forms[0], fields, self.stop, self.holds)
        check_forms(file, self.stop)
        return replace(file, content=content, progress=self._progress(file, content))

    def _progress(self, file: AdoptedFile, content: ForeignContent) -> tuple[SourceProgress, ...]:
        path = os.path.abspath(file.path)  # noqa: PTH100  (what a source's pattern would give)
        return tuple(
            SourceProgress(
                known.sink, known.source, known.problem or _lacks(known.places, content.end)
            )
            for known in self.shipped
            if ships(self.sources[known.source], path)
        )


def _lacks(places: Iterable[FilePlace], end: FilePlace | None) -> str:
    """Say what is missing between a source's places and the end of a file."""
    if end is None:
        return ""  # nothing to ship
    of_this = [place for place in places if place.first_hash == end.first_hash]
    if any(
        (place.line_at, place.line_hash) == (end.line_at, end.line_hash)
        and place.before in ("", end.before)  # old places lack the hash of the lines before
        for place in of_this
    ):
        return ""
    if not of_this:
        return "it has shipped nothing of this file"
    reached = max(place.offset for place in of_this)
    return f"it is at byte {reached} of {end.offset}, which is not behind the last line"
