"""One log on its way to one sink: what is read, in flight, waiting to be tried again, passed.

A lane that has failed probes with one batch at a time and reads nothing new until that batch has
its final outcomes; other lanes go on meanwhile.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from shippers.batch import Window
from shippers.outcome import INDEXED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shippers.batch import AnyBatch
    from shippers.outcome import Outcome
    from shippers.sources.protocol import Harvester

__all__ = ["Lane"]


class Lane:
    """The state of one log, file or journal in one delivery loop; only that loop changes it.

    ``begin`` makes a harvester that reads on from a position of its kind.
    """

    def __init__(self, log: str, begin: Callable[[Any], Harvester], start: Any) -> None:
        self.log = log
        self.harvester = begin(start)
        self.window = Window(start)
        self.saved = start
        self.waiting: deque[AnyBatch] = deque()
        self.in_flight = 0
        self.failures = 0
        self.not_before = 0.0
        self.at_end = False
        self.queued = False
        self.live = False
        self.read_error: Exception | None = None
        self.trouble = ""
        self.retries = 0
        self.chain_breaks = 0
        self.tamper_alarms = 0
        self.unverified = 0
        self.bad_lines = 0
        self.cut_lines = 0
        self._begin = begin

    @property
    def dirty(self) -> bool:
        """Whether the cursor is to be saved."""
        return bool(self.window.position != self.saved)

    @property
    def has_work(self) -> bool:
        """Whether there is something to submit now, were the time and the memory there."""
        if self.failures and self.in_flight:
            return False
        return bool(self.waiting) or not self.at_end

    @property
    def done(self) -> bool:
        """Nothing is left of what the log holds for now."""
        return self.at_end and self.harvester.exhausted and not self.in_flight and not self.waiting

    def read(self, max_bytes: int, max_records: int) -> AnyBatch | None:
        """Read the next batch into the window.  Raises AuditLogError, OSError."""
        batch = self.harvester.read(max_bytes, max_records)
        if self.read_error is not None:
            self.read_error, self.failures, self.trouble = None, 0, ""
        if batch is None:
            self.at_end = self.live = True
            return None
        # One that gives a full batch has a backlog; one that gives less has just been caught up.
        self.live = len(batch) < max_records and 2 * batch.size_bytes < max_bytes
        self.window.add(batch)
        self.chain_breaks += len(batch.findings)
        self.bad_lines += batch.bad_lines
        self.cut_lines += batch.cut_lines
        return batch

    def settle(self, batch: AnyBatch, outcomes: Sequence[Outcome]) -> bool:
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
        """Give back all memory; what is not passed is read again from the source."""
        self.waiting.clear()
        self.window.rewind()
        self.harvester.close()
        self.harvester = self._begin(self.window.position)
        self.at_end = False

    def close(self) -> None:
        self.harvester.close()
