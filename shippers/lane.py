"""One log on its way to one sink: what is read, in flight, waiting to be tried again, passed.

A lane that has failed probes with one batch at a time and reads nothing new until that batch has
its final outcomes; other lanes go on meanwhile.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING

from shippers.batch import Position, Window
from shippers.outcome import INDEXED
from shippers.sources.audit_log import Harvester

if TYPE_CHECKING:
    from collections.abc import Sequence

    from auditlog.inventory import SegmentFile
    from shippers.batch import Batch
    from shippers.outcome import Outcome

__all__ = ["Lane"]


class Lane:
    """The state of one log in one delivery loop; only that loop changes it."""

    def __init__(self, log: str, directory: Path, start: Position | None) -> None:
        self.log = log
        self.directory = directory
        self.segments: tuple[SegmentFile, ...] = ()
        self.harvester = Harvester(log, start)
        self.window = Window(start or Position())
        self.saved = self.window.position
        self.waiting: deque[Batch] = deque()
        self.in_flight = 0
        self.failures = 0
        self.not_before = 0.0
        self.at_end = False
        self.queued = False
        self.read_error: Exception | None = None
        self.trouble = ""
        self.retries = 0
        self.chain_breaks = 0
        self.tamper_alarms = 0
        self.unverified = 0

    @property
    def dirty(self) -> bool:
        """Whether the cursor is to be saved."""
        return self.window.position != self.saved

    @property
    def has_work(self) -> bool:
        """Whether there is something to submit now, were the time and the memory there."""
        if self.failures and self.in_flight:
            return False
        return bool(self.waiting) or not self.at_end

    @property
    def done(self) -> bool:
        """Nothing is left of what the log holds for now."""
        return self.at_end and not self.in_flight and not self.waiting

    def refresh(self, segments: Sequence[SegmentFile]) -> None:
        self.segments = tuple(segments)
        self.harvester.refresh(segments)
        self.at_end = False

    def read(self, max_bytes: int, max_records: int) -> Batch | None:
        """Read the next batch into the window.  Raises AuditLogError, OSError."""
        batch = self.harvester.read(max_bytes, max_records)
        if self.read_error is not None:
            self.read_error, self.failures, self.trouble = None, 0, ""
        if batch is None:
            self.at_end = True
            return None
        self.window.add(batch)
        self.chain_breaks += len(batch.findings)
        return batch

    def settle(self, batch: Batch, outcomes: Sequence[Outcome]) -> bool:
        """Note an attempt's outcomes; True when the batch needs no other attempt."""
        self.in_flight -= 1
        if outcomes.count(INDEXED) < len(outcomes):
            self.unverified += sum(not outcome.verified for outcome in outcomes)
            self.tamper_alarms += sum(outcome.alarm for outcome in outcomes)
        if self.window.settle(batch, outcomes) and not batch.findings:
            if not self.waiting:
                self.failures, self.trouble = 0, ""
            return True
        self.waiting.append(batch)
        self.retries += sum(not outcome.final for outcome in outcomes)
        return False

    def rewind(self) -> None:
        """Give back all memory; what is not passed is read again from the file."""
        self.waiting.clear()
        self.window.rewind()
        self.harvester.close()
        position = self.window.position
        self.harvester = Harvester(self.log, position if position.segment else None)
        self.harvester.refresh(self.segments)
        self.at_end = False

    def close(self) -> None:
        self.harvester.close()
