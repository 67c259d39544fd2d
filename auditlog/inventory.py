"""Which segments lie in a directory, by their names alone.

A segment that is being compressed, or whose original was not unlinked yet, exists in two forms;
it is listed once, by the form a reader should take: plain first, since retention removes the plain
file only after the compressed one is proven.

Invariants (tests of the same name in tests/auditlog/test_inventory.py):
  partition    every entry is in exactly one of: a segment, foreign, or hidden (a leading dot: what
               is ours in passing, and the state directory)
  write_order  the segments of a log come in the order in which they were written
"""

from __future__ import annotations

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog.errors import InvalidName
from auditlog.segment_names import COMPRESSIONS, LogId, SegmentName

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["STATE_DIRECTORY", "Inventory", "SegmentFile", "scan"]

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
        """Where the preferred form lies; made when asked for, since most are never opened."""
        return self.directory / str(self.name)

    def form_path(self, compression: str) -> Path:
        return self.directory / (self.name.logical + compression)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The segments by log, in write order, and the files that are none."""

    directory: Path
    logs: Mapping[LogId, tuple[SegmentFile, ...]]
    foreign: tuple[Path, ...]


def scan(directory: str | os.PathLike[str]) -> Inventory:
    """List the directory.  Raises OSError; a file that vanishes meanwhile is left out."""
    directory = Path(directory)
    # By logical name, since that is a text: it is hashed and compared a hundred thousand times.
    forms: dict[str, dict[str, tuple[SegmentName, int]]] = defaultdict(dict)
    foreign: list[Path] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            text = entry.name
            if text.startswith("."):
                continue
            try:
                name = SegmentName.parse(text)
                if entry.is_symlink() or not entry.is_file():
                    foreign.append(directory / text)
                else:
                    size_bytes = entry.stat(follow_symlinks=False).st_size
                    logical = text.removesuffix(name.compression)
                    forms[logical][name.compression] = (name, size_bytes)
            except InvalidName:
                foreign.append(directory / text)
            except FileNotFoundError:
                continue
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
