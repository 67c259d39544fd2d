"""List the segments of a directory by their names.

A segment that is being compressed, or whose original was not unlinked yet, exists in two forms;
it is listed once, by the form a reader should take: plain first, since retention removes the plain
file only after the compressed one is proven.

Invariants (tests of the same name in tests/auditlog/reading/test_inventory.py):
  partition    every entry is in exactly one of: a segment, foreign, or hidden (a leading dot: what
               is ours in passing, and the state directory)
  write_order  the segments of a log come in the order in which they were written
  complete     a segment that is there throughout, in one form and then in another, is listed, and
               so is every segment before one that is listed
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog.errors import InvalidName
from auditlog.format.segment_names import COMPRESSIONS, LogId, SegmentName

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["STATE_DIRECTORY", "Inventory", "SegmentFile", "home_of", "scan"]

STATE_DIRECTORY = ".auditlog"
"""The writer's own directory below a log directory, and the agent's by default."""


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """One logical segment: its preferred form, and which forms (compressions) there are."""

    name: SegmentName
    directory: Path
    size_bytes: int
    forms: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Path of the preferred form; built on request, since most are never opened."""
        return self.directory / str(self.name)

    def form_path(self, compression: str) -> Path:
        return self.directory / (self.name.logical + compression)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The segments by log, in write order, and all other files (foreign)."""

    directory: Path
    logs: Mapping[LogId, tuple[SegmentFile, ...]]
    foreign: tuple[Path, ...]


def scan(directory: str | os.PathLike[str], beginning: str = "") -> Inventory:
    """List the directory.  Raises OSError; a file that vanishes meanwhile is left out.

    ``beginning`` restricts it to names that begin so, for example those of one service's logs.

    Reading a directory is not atomic: readdir(3) may or may not return a file that is created or
    removed meanwhile, so of a segment that is being compressed neither form may be seen.  The
    directory is listed again until a listing has nothing new: the new form of such a segment stays,
    so the next listing has it.
    """
    directory = Path(directory)
    # By logical name, since that is a text: it is hashed and compared a hundred thousand times.
    forms: dict[str, dict[str, tuple[SegmentName, int]]] = {}
    foreign: list[Path] = []
    listed: set[str] = set()
    # Names, of which paths are made as needed.
    while new := [
        text
        for text in os.listdir(directory)  # noqa: PTH208  (as said)
        if text.startswith(beginning) and text not in listed
    ]:
        listed.update(new)
        seen: dict[str, dict[str, tuple[SegmentName, int]]] = defaultdict(dict)
        for text in new:
            if text.startswith("."):
                continue
            try:
                name = SegmentName.parse(text)
                state = os.lstat(f"{directory}/{text}")
            except InvalidName:
                foreign.append(directory / text)
            except FileNotFoundError:
                continue
            else:
                if stat.S_ISREG(state.st_mode):
                    logical = text.removesuffix(name.compression)
                    seen[logical][name.compression] = (name, state.st_size)
                else:
                    foreign.append(directory / text)
        # A further form of one that was seen before took its place.
        forms = seen | forms
    logs: dict[LogId, list[SegmentFile]] = defaultdict(list)
    for sizes in forms.values():
        present = tuple(form for form in COMPRESSIONS if form in sizes)
        name, size_bytes = sizes[present[0]]
        logs[name.log].append(SegmentFile(name, directory, size_bytes, present))
    for segments in logs.values():
        segments.sort(key=lambda segment: (segment.name.day, segment.name.part))
    return Inventory(
        directory,
        {log: tuple(segments) for log, segments in sorted(logs.items())},
        tuple(sorted(foreign)),
    )


def home_of(log: LogId, directories: Sequence[Path]) -> Path:
    """Return the directory that has the log; else the first that may be written to, else the first.

    Raises OSError where a directory cannot be listed.
    """
    for directory in directories:
        if directory.is_dir() and log in scan(directory, f"{log}.").logs:
            return directory
    usable = (each for each in directories if os.access(each, os.W_OK | os.X_OK))
    return next(usable, directories[0])
