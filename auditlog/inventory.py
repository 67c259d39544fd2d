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
    path: Path
    size_bytes: int
    forms: tuple[str, ...]

    def form_path(self, compression: str) -> Path:
        return self.path.with_name(self.name.logical + compression)


@dataclass(frozen=True, slots=True)
class Inventory:
    """The segments by log, in write order, and the files that are none."""

    directory: Path
    logs: Mapping[LogId, tuple[SegmentFile, ...]]
    foreign: tuple[Path, ...]


def scan(directory: str | os.PathLike[str]) -> Inventory:
    """List the directory.  Raises OSError; a file that vanishes meanwhile is left out."""
    directory = Path(directory)
    forms: dict[SegmentName, dict[str, int]] = defaultdict(dict)
    foreign: list[Path] = []
    with os.scandir(directory) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            try:
                name = SegmentName.parse(entry.name)
                if entry.is_symlink() or not entry.is_file():
                    foreign.append(directory / entry.name)
                else:
                    forms[name][name.compression] = entry.stat(follow_symlinks=False).st_size
            except InvalidName:
                foreign.append(directory / entry.name)
            except FileNotFoundError:
                continue
    logs: dict[LogId, list[SegmentFile]] = defaultdict(list)
    for name in sorted(forms):
        present = tuple(form for form in COMPRESSIONS if form in forms[name])
        preferred = SegmentName(name.log, name.day, name.part, present[0])
        logs[name.log].append(
            SegmentFile(preferred, directory / str(preferred), forms[name][present[0]], present)
        )
    return Inventory(
        directory,
        {log: tuple(segments) for log, segments in sorted(logs.items())},
        tuple(sorted(foreign)),
    )
