"""Gather the facts about foreign files that the policy adopts: what they hold, what was shipped.

Reads only.  What is no regular file, or belongs to neither us, root nor the directory's owner, is
not adopted.  A plain file whose last line is too recent is not read any further.

Invariants (tests of the same name in tests/retention/test_foreign_census.py):
  named     only what a pattern names is adopted, and never a segment
  unsafe    a symlink, a directory and another user's file are foreign as without a pattern
  shipped   a file lacks nothing only where the source's place is behind its last line
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
from retention.facts import AdoptedFile, ForeignFile, Placing
from retention.foreign_content import inspect_foreign, last_time
from retention.foreign_forms import check_forms
from retention.policy import plain_name

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from auditlog.cursors import CursorStore
    from retention.facts import ForeignContent
    from retention.holds import Hold
    from retention.policy import ForeignPolicy, Policy

__all__ = ["SourcePlaces", "adopt", "ships", "source_places"]

_KIND: Final = "ndjson"


@dataclass(frozen=True, slots=True)
class SourcePlaces:
    """How far one source has brought its files to one sink; ``problem``: that is not known."""

    sink: str
    source: str
    places: tuple[FilePlace, ...] = ()
    problem: str = ""


def source_places(
    policy: Policy, sinks: Sequence[str], store: CursorStore
) -> tuple[SourcePlaces, ...]:
    """Read this before the files, so that no place is newer than what is read of a file."""
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
    policy: Policy,
    shipped: Sequence[SourcePlaces],
    holds: Sequence[Hold],
    now: dt.datetime,
    *,
    stop: threading.Event,
    asked: str | None = None,
    room_bytes: int | None = None,
) -> tuple[tuple[ForeignFile, ...], tuple[AdoptedFile, ...]]:
    """Those that stay foreign, and those that the policy adopts.

    ``asked`` is one that is read in any case, by its plain name; where they take more than
    ``room_bytes``, each may have to go and is read.  Raises Stopped.
    """
    foreign: list[ForeignFile] = []
    found: dict[Path, dict[str, tuple[os.stat_result, ForeignPolicy]]] = defaultdict(dict)
    for path in paths:
        try:
            state = path.lstat()
        except FileNotFoundError:
            continue  # it vanished since the listing, so there is nothing to keep
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
    crowded = room_bytes is not None and taken > room_bytes
    sources = dict(each for foreign in policy.foreign for each in foreign.sources)
    look = _Look(shipped, holds, now, stop, asked, sources, crowded)
    files = [look.at(plain, forms) for plain, forms in found.items()]
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
    """Whether glob(7) lists this path, both by their parts; ** stands for any directories.

    Not by listing, which may miss a file that just then gets its name from another one: it would
    be taken for one that no source ships.
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


def _unsafe(path: Path, state: os.stat_result) -> str:
    if stat.S_ISLNK(state.st_mode):
        return "it is a symbolic link"
    if not stat.S_ISREG(state.st_mode):
        return "it is no regular file"
    if state.st_uid not in (os.geteuid(), 0, path.parent.stat().st_uid):
        return f"it belongs to uid {state.st_uid}, not to the directory's owner"
    return ""


@dataclass(frozen=True, slots=True)
class _Look:
    shipped: Sequence[SourcePlaces]
    holds: Sequence[Hold]
    now: dt.datetime
    stop: threading.Event
    asked: str | None
    sources: Mapping[str, Sequence[str]]
    crowded: bool

    def at(
        self, plain: Path, forms: Mapping[str, tuple[os.stat_result, ForeignPolicy]]
    ) -> AdoptedFile:
        present = tuple(form for form in COMPRESSIONS if form in forms)
        state, adopter = forms[present[0]]
        file = AdoptedFile(
            plain.with_name(plain.name + present[0]),
            present,
            state.st_size,
            adopter,
            dt.datetime.fromtimestamp(state.st_mtime, dt.UTC),
        )
        try:
            return self._read(file)
        except Stopped:
            raise
        except (SegmentDamaged, SegmentChanged) as error:
            return replace(file, damage=error.reason)
        except OSError as error:
            return replace(file, damage=f"it cannot be read: {error.strerror}")

    def _read(self, file: AdoptedFile) -> AdoptedFile:
        fields = file.foreign.timestamp_fields
        file = replace(file, open_for_writing=durable_fs.open_for_writing_elsewhere(file.path))
        if "" in file.forms and file.plain.name != self.asked and not self.crowded:
            seen_at = last_time(file.path, fields)
            if seen_at is not None and self.now - seen_at < file.foreign.policy.compress_after:
                return replace(file, seen_at=seen_at)
        content, _ = inspect_foreign(file.path, file.forms[0], fields, self.stop, self.holds)
        check_forms(file, self.stop)
        return replace(file, content=content, placings=self._placings(file, content))

    def _placings(self, file: AdoptedFile, content: ForeignContent) -> tuple[Placing, ...]:
        path = os.path.abspath(file.path)  # noqa: PTH100  (what a source's pattern would give)
        return tuple(
            Placing(known.sink, known.source, known.problem or _lacks(known.places, content.end))
            for known in self.shipped
            if ships(self.sources[known.source], path)
        )


def _lacks(places: Iterable[FilePlace], end: FilePlace | None) -> str:
    if end is None:
        return ""  # nothing to ship
    of_this = [place for place in places if place.first_hash == end.first_hash]
    if any((place.line_at, place.line_hash) == (end.line_at, end.line_hash) for place in of_this):
        return ""
    if not of_this:
        return "it has shipped nothing of it"
    reached = max(place.offset for place in of_this)
    return f"it has a place at byte {reached} of {end.offset}, which is not behind its last line"
