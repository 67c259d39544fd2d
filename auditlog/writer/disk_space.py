"""Compare free space on the log's file system with two watermarks.

Invariants (tests of the same name in tests/auditlog/writer/test_disk_space.py):
  hysteresis   a level is left only when a tenth more than its watermark is free
  ordered      critical outranks low, low outranks ok
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from auditlog.errors import InvalidOption

__all__ = ["DiskSpace", "Level", "Watermarks"]

_logger = logging.getLogger("auditlog")

Level = Literal["ok", "low", "critical"]


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Free bytes of the file system below which space is low, and critical."""

    low_bytes: int
    critical_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.critical_bytes <= self.low_bytes:
            raise InvalidOption("space_critical_bytes must be between 0 and space_low_bytes")

    def level(self, free: int, before: Level) -> Level:
        """The level for so many free bytes, given the level before."""
        if free < self.critical_bytes or (
            before == "critical" and free < self.critical_bytes + self.critical_bytes // 10
        ):
            return "critical"
        if free < self.low_bytes or (
            before != "ok" and free < self.low_bytes + self.low_bytes // 10
        ):
            return "low"
        return "ok"


class DiskSpace:
    """The free space below one directory; ``level`` as it was when last looked at."""

    def __init__(self, directory: Path, watermarks: Watermarks) -> None:
        self._directory = directory
        self._watermarks = watermarks
        self.level: Level = "ok"

    def look(self) -> int | None:
        """Update the level; returns the free bytes when it has become low or critical, else None.

        Free are the bytes that a process without privileges can still write there.
        """
        try:
            state = os.statvfs(self._directory)
        except OSError as error:
            _logger.warning("%s: free space cannot be read: %s", self._directory, error)
            return None
        free = state.f_bavail * state.f_frsize
        before, self.level = self.level, self._watermarks.level(free, self.level)
        if self.level in (before, "ok"):
            return None
        _logger.log(
            logging.ERROR if self.level == "critical" else logging.WARNING,
            "%d bytes are free in %s (%s)",
            free,
            self._directory,
            self.level,
        )
        return free
