"""Define what a log is opened with: its options, and how its lock is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from auditlog.errors import InvalidOption
from auditlog.events.values import LENIENT, ValueRules
from auditlog.format.record import MAX_RECORD_BYTES
from auditlog.format.segment_names import LogId
from auditlog.redaction.policy import Policy
from auditlog.writer.clock import SECOND_NS
from auditlog.writer.disk_space import Watermarks
from auditlog.writer.flush_policy import FlushPolicy
from auditlog.writer.heartbeat import Heartbeats
from auditlog.writer.recovery import Recovered

__all__ = ["Acquire", "Locks", "Options"]


class Locks(Protocol):
    """The lock of a log, or of a log and its successor."""

    def release(self) -> None: ...
    def abandon(self) -> None: ...


Acquire = Callable[[LogId], tuple[LogId, Locks, Recovered]]
"""Takes the lock of a log and recovers it; with instance "auto" it chooses the instance."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a log is written; auditlog.open documents each."""

    flush: FlushPolicy
    max_segment_bytes: int
    max_queue_bytes: int
    block_seconds: float
    watermarks: Watermarks
    file_mode: int
    clock: Callable[[], int]
    values: ValueRules = LENIENT
    redaction: Policy = field(default_factory=Policy)
    max_segment_age_ns: int | None = None
    heartbeats: Heartbeats = field(default_factory=Heartbeats)

    def __post_init__(self) -> None:
        if self.max_segment_bytes <= MAX_RECORD_BYTES or self.max_queue_bytes <= MAX_RECORD_BYTES:
            raise InvalidOption(
                f"max_segment_bytes and max_queue_bytes must be more than {MAX_RECORD_BYTES}"
            )
        if self.max_segment_age_ns is not None and self.max_segment_age_ns < SECOND_NS:
            raise InvalidOption("max_segment_age must be a second or more")
        if not self.block_seconds >= 0:
            raise InvalidOption(f"block_timeout must not be negative: {self.block_seconds}")

    @property
    def comfortable_bytes(self) -> int:
        """Queued bytes up to which any record fits."""
        return self.max_queue_bytes - MAX_RECORD_BYTES - 1
