"""How a log is written, as auditlog.open understood it.  Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass

from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.writer.disk_space import Watermarks
from auditlog.writer.flush_policy import FlushPolicy

__all__ = ["Options", "seconds"]


@dataclass(frozen=True, slots=True)
class Options:
    """How a log is written; see auditlog.open for what each means."""

    flush: FlushPolicy
    max_segment_bytes: int
    max_queue_bytes: int
    block_seconds: float
    watermarks: Watermarks
    file_mode: int
    clock: Callable[[], int]

    def __post_init__(self) -> None:
        if self.max_segment_bytes <= MAX_RECORD_BYTES or self.max_queue_bytes <= MAX_RECORD_BYTES:
            raise ValueError(
                f"max_segment_bytes and max_queue_bytes must be more than {MAX_RECORD_BYTES}"
            )


def seconds(value: dt.timedelta | float) -> float:
    """A duration given either way, in seconds."""
    return value.total_seconds() if isinstance(value, dt.timedelta) else float(value)
