"""How full the disk is, judged against two watermarks.  Pure but for one statvfs(3) call.

Invariants (tests of the same name in tests/auditlog/writer/test_disk_space.py):
  hysteresis   a level is left only when a tenth more than its watermark is free
  ordered      critical outranks low, low outranks ok
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["Level", "Watermarks", "free_bytes"]

Level = Literal["ok", "low", "critical"]


@dataclass(frozen=True, slots=True)
class Watermarks:
    """Free bytes of the file system below which space is low, and critical."""

    low_bytes: int
    critical_bytes: int

    def __post_init__(self) -> None:
        if not 0 <= self.critical_bytes <= self.low_bytes:
            raise ValueError("space_critical_bytes must be between 0 and space_low_bytes")

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


def free_bytes(directory: Path) -> int:
    """Bytes that a process without privileges can still write there.  Raises OSError."""
    state = os.statvfs(directory)
    return state.f_bavail * state.f_frsize
