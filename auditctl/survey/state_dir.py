"""Check whether a state directory is writable, read-only or full."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["why_unwritable"]

_NEEDED_BYTES: Final = 1 << 20  # cursors are small, but a quarantine entry holds a record


def why_unwritable(place: Path) -> str:
    """Return why the directory cannot be written to, "" if it can.  Raises OSError."""
    try:
        found = os.statvfs(place)
    except FileNotFoundError:
        return ""  # it is made when it is first needed
    if found.f_flag & os.ST_RDONLY:
        return "its file system is read-only"
    if found.f_bavail * found.f_frsize < _NEEDED_BYTES or (found.f_files and not found.f_favail):
        return "its file system is full"
    return ""
