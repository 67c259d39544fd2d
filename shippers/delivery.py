"""Deliver all logs to one sink: one loop that decides, a few workers that wait for the sink.

The loop alone owns the lanes (one for each log).  It reads batches in turn, so that no log starves
another; hands them to workers, each of which makes one attempt; and moves cursors over what has its
final outcome.  It sleeps on its queue: an idle sink costs nothing.

Invariants (tests of the same name in tests/shippers/test_delivery.py):
  fair        a log whose deliveries fail does not hold up the others
  bounded     what is read and not passed stays within held_bytes, plus one batch
  durable     when the loop has ended, cursors on disk say what has its final outcome
  never_past  a cursor on disk is never beyond the first record without final outcome
"""

from __future__ import annotations

import datetime as dt
import logging
import queue
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auditlog.cursors import Cursor, CursorStore
from auditlog.errors import AuditLogError, CursorDamaged
from auditlog.inventory import Inventory
from auditlog.record import parse_timestamp
from auditlog.segment_names import SegmentName
from shippers import lag
from shippers.attempt import Attempt
from shippers.backoff import Backoff
from shippers.batch import Batch, Position
from shippers.errors import DuplicateLog
from shippers.lane import Lane
from shippers.outcome import INDEXED, Kind, Outcome, retry
from shippers.quarantine import Quarantine
from shippers.sinks.protocol import Sink
from shippers.stats import LogStats, SinkStats

__all__ = ["Delivery", "DeliveryOptions"]

_logger = logging.getLogger("auditlog.shippers")

_STOP_SECONDS: Final = 3.0
_SAY_SECONDS: Final = 10.0  # a sink whose trouble keeps changing is not worth a line each time


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """batch_records, batch_bytes   how much is sent at a time, at most
    held_bytes                    read and not passed, over all logs of a sink
    save_interval                 how often a log's cursor is written, at most
    """

    batch_records: int = 2000
    batch_bytes: int = 2 << 20
    held_bytes: int = 32 << 20
    save_interval: dt.timedelta = dt.timedelta(seconds=0.5)
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if self.batch_records < 1 or not 1 <= self.batch_bytes <= self.held_bytes:
            raise ValueError("a batch needs at least one record, and must fit into held_bytes")
        if self.save_interval <= dt.timedelta(0):
            raise ValueError("save_interval must be positive")


@dataclass(frozen=True, slots=True)
class _Completed:
    lane: Lane
    batch: Batch
    outcomes: list[Outcome]


_Event = Inventory | _Completed | threading.Event | str | None
"""Segments that there are, what came of a batch, who asks for an answer, a log that grew, stop."""


class Delivery:
    """All logs to one sink.  ``start``, feed with ``inventory`` and ``wake``, then ``stop``.

    With ``drain`` the loop ends by itself when everything of the first inventories is passed, or
    when nothing was for ``give_up_after``; ``stalled`` then says why.
    """

    def __init__(
        self,
        sink: Sink,
        state_dir: Path,
        options: DeliveryOptions,
        *,
        drain: bool = False,
        give_up_after: dt.timedelta | None = None,
        on_end: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self.sink = sink
        self.error: BaseException | None = None
        self.stalled = ""
        self.trouble = ""
        self._trouble_said_at = -_SAY_SECONDS
        self._options = options
        self._cursors = CursorStore(state_dir)
        self._quarantine = Quarantine(state_dir, sink.name)
        self._attempt = Attempt(sink, self._quarantine, lambda: dt.datetime.now(dt.UTC))
        self._drain = drain
        self._give_up_seconds = give_up_after.total_seconds() if give_up_after else None
        self._on_end = on_end
        self._rng = rng or random.Random()  # noqa: S311  (jitter, no secret)
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[tuple[Lane, Batch, list[int]] | None] = queue.SimpleQueue()
        self._woken: set[str] = set()
        self._woken_lock = threading.Lock()
        self._lock = threading.Lock()  # held by the loop while it changes lanes
        self._in_flight = 0
        self._in_flight_records = 0
        self._in_flight_bytes = 0
        self._last_success_at: dt.datetime | None = None
        self._stop_at: float | None = None
        self._next_save = 0.0
        self._save_failed = False
        self._progress_at = time.monotonic()
        self._thread = threading.Thread(
            target=self._run, name=f"auditlog-ship-{sink.name}", daemon=True
        )

    # -- called from other threads ---------------------------------------------------------

    def start(self) -> None:
        """Begin.  Raises QuarantineDamaged, OSError: what an earlier run left cannot be read."""
        self._quarantine.recall(self._passed)
        self._progress_at = time.monotonic()
        self._thread.start()

    def inventory(self, inventory: Inventory) -> None:
        """What segments a directory has now."""
        self._events.put(inventory)

    def wake(self, log: str) -> None:
        """The log may have grown."""
        with self._woken_lock:
            if log in self._woken:
                return
            self._woken.add(log)
        self._events.put(log)

    def stop(self) -> None:
        """Send nothing more; cursors are durable when ``join`` returns True."""
        self._events.put(None)

    def join(self, timeout: float | None = None) -> bool:
        if self._thread.ident is None:
            return True  # it could not even be started
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def answers(self, timeout: float) -> bool:
        """Whether the loop comes round within ``timeout`` seconds: it is not stuck or dead."""
        answered = threading.Event()
        self._events.put(answered)
        return answered.wait(timeout)

    def sink_stats(self) -> SinkStats:
        entries: int | None
        size: int | None
        try:
            entries, size = self._quarantine.size()
        except OSError:
            entries = size = None  # what has to be entered there meets the same and says so
        with self._lock:
            return SinkStats(
                self.sink.name,
                self.sink.address,
                self._in_flight,
                self._in_flight_records,
                self._in_flight_bytes,
                sum(lane.window.size_bytes for lane in self._lanes.values()),
                entries,
                size,
                self._last_success_at,
                self.trouble,
            )

    def log_stats(self) -> list[LogStats]:
        with self._lock:
            lanes = list(self._lanes.values())
        stats = []
        for lane in lanes:
            # The files are read outside the lock: the loop does not wait for a scrape.
            newest = None if lane.at_end else lag.newest_seq(lane.segments)
            unread_at = None if lane.at_end else lag.written_at(lane.segments, lane.window.position)
            with self._lock:
                stats.append(self._stats_of(lane, newest, unread_at))
        return stats

    def _stats_of(self, lane: Lane, newest: int | None, unread_at: dt.datetime | None) -> LogStats:
        window = lane.window
        read_seq = max(lane.harvester.position.seq, newest or 0)
        held_at = window.oldest_at
        return LogStats(
            sink=self.sink.name,
            log=lane.log,
            written=window.added,
            indexed=window.tally.indexed,
            duplicate=window.tally.duplicate,
            quarantined=window.tally.quarantined,
            pending=window.pending,
            retries=lane.retries,
            unverified=lane.unverified,
            chain_breaks=lane.chain_breaks,
            tamper_alarms=lane.tamper_alarms,
            acknowledged_seq=window.position.seq,
            lag_records=max(0, read_seq - window.position.seq),
            lag_bytes=lane.harvester.lag_bytes(),
            oldest_at=parse_timestamp(held_at) if held_at is not None else unread_at,
            trouble=lane.trouble,
        )

    # -- the loop --------------------------------------------------------------------------

    def _run(self) -> None:
        workers = [
            threading.Thread(target=self._serve, name=f"{self._thread.name}-{n}", daemon=True)
            for n in range(self.sink.max_in_flight)
        ]
        for worker in workers:
            worker.start()
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001  (kept for the service, which raises it)
            self.error = error
        finally:
            for _ in workers:
                self._work.put(None)
            with self._lock:
                for lane in self._lanes.values():
                    lane.close()
            self._quarantine.close()
            self._on_end()

    def _loop(self) -> None:
        while True:
            events = self._take_events()
            with self._lock:
                for event in events:
                    self._handle(event)
                if self._stop_at is None:
                    self._fill()
                now = time.monotonic()
                ended = self._ended(now)
                self._save_cursors(now, everything=ended)
            if ended:
                return

    def _take_events(self) -> list[_Event]:
        """Wait for the first event, no longer than something else is due; take all there are."""
        events = []
        try:
            events.append(self._events.get(timeout=self._seconds_to_next_deadline()))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return events

    def _seconds_to_next_deadline(self) -> float | None:
        now = time.monotonic()
        deadlines = [lane.not_before for lane in self._lanes.values() if lane.not_before]
        if any(lane.dirty for lane in self._lanes.values()):
            deadlines.append(self._next_save)
        if self._stop_at is not None:
            deadlines.append(self._stop_at)
        if self._give_up_seconds is not None:
            deadlines.append(self._progress_at + self._give_up_seconds)
        return max(0.0, min(deadlines) - now) if deadlines else None

    def _ended(self, now: float) -> bool:
        if self._stop_at is not None:
            return not self._in_flight or now >= self._stop_at
        if not self._drain:
            return False
        if not self._in_flight and all(
            lane.done or lane.read_error is not None for lane in self._lanes.values()
        ):
            return True
        if self._give_up_seconds is not None and now - self._progress_at >= self._give_up_seconds:
            self.stalled = self.trouble or "nothing was accepted"
            return True
        return False

    def _handle(self, event: _Event) -> None:
        if event is None:
            self._stop_at = self._stop_at or time.monotonic() + _STOP_SECONDS
        elif isinstance(event, threading.Event):
            event.set()
        elif isinstance(event, _Completed):
            self._settle(event.lane, event.batch, event.outcomes)
        elif isinstance(event, Inventory):
            for log, segments in event.logs.items():
                lane = self._lanes.get(str(log)) or self._new_lane(str(log), event.directory)
                if lane.directory == event.directory:
                    lane.refresh(segments)
                    self._enqueue(lane)
                else:
                    self._report_twice(lane, event.directory)
        else:
            with self._woken_lock:
                self._woken.discard(event)
            if (woken := self._lanes.get(event)) is not None:
                woken.at_end = False
                self._enqueue(woken)

    def _new_lane(self, log: str, directory: Path) -> Lane:
        cursor = self._load_cursor(log)
        start = Position(cursor.segment, cursor.offset, cursor.seq, cursor.hash) if cursor else None
        lane = self._lanes[log] = Lane(log, directory, start)
        return lane

    def _report_twice(self, lane: Lane, directory: Path) -> None:
        error = DuplicateLog(
            f"the log {lane.log} is in {lane.directory} as well; only that one is shipped",
            path=directory,
            hint="Give the services different hosts or instances.",
        )
        if self._drain:
            raise error
        if lane.trouble != str(error):
            lane.trouble = str(error)
            _logger.error("%s", error)

    def _enqueue(self, lane: Lane) -> None:
        if not lane.queued and lane.has_work:
            lane.queued = True
            self._ready.append(lane)

    def _fill(self) -> None:
        """Give the workers something to do, each lane in its turn."""
        now = time.monotonic()
        for lane in self._lanes.values():
            if lane.not_before and lane.not_before <= now:
                lane.not_before = 0.0
                self._enqueue(lane)
        while self._ready and self._in_flight < self.sink.max_in_flight:
            lane = self._ready[0]
            if not lane.waiting and not self._has_room(lane):
                return
            self._ready.popleft()
            lane.queued = False
            if lane.not_before or not lane.has_work:
                continue  # its turn comes with its deadline
            batch = lane.waiting.popleft() if lane.waiting else self._read(lane)
            if batch is not None:
                lane.in_flight += 1
                self._in_flight += 1
                self._in_flight_records += len(batch)
                self._in_flight_bytes += batch.size_bytes
                self._work.put((lane, batch, list(lane.window.open_indices(batch))))
                self._enqueue(lane)

    def _has_room(self, wanting: Lane) -> bool:
        """Whether another batch may be read; the largest of the failed lanes gives way to it."""
        lanes = self._lanes.values()
        held = sum(lane.window.size_bytes for lane in lanes)
        if not held or held + self._options.batch_bytes <= self._options.held_bytes:
            return True
        failed = [
            lane for lane in lanes if lane.waiting and not lane.in_flight and lane is not wanting
        ]
        if not failed:
            return False
        max(failed, key=lambda lane: lane.window.size_bytes).rewind()
        return True

    def _read(self, lane: Lane) -> Batch | None:
        try:
            batch = lane.read(self._options.batch_bytes, self._options.batch_records)
        except (AuditLogError, OSError) as error:
            if str(error) != lane.trouble:
                _logger.error(  # noqa: TRY400  (the text says it all; a traceback adds nothing)
                    "cannot read the log %s: %s", lane.log, error
                )
            lane.read_error, lane.trouble = error, str(error)
            self._hold_back(lane)
            return None
        for finding in batch.findings if batch else ():
            _logger.error(
                "ALARM: the log %s is not as it was written: %s at byte %d of %s (%s)",
                lane.log,
                finding.kind,
                finding.offset,
                finding.segment,
                finding.detail,
            )
        return batch

    def _settle(self, lane: Lane, batch: Batch, outcomes: list[Outcome]) -> None:
        self._in_flight -= 1
        self._in_flight_records -= len(batch)
        self._in_flight_bytes -= batch.size_bytes
        if any(outcome.final for outcome in outcomes):
            self._progress_at = time.monotonic()
            self._last_success_at = dt.datetime.now(dt.UTC)
        if self.trouble or outcomes.count(INDEXED) < len(outcomes):
            self._report(lane, outcomes)
        if not lane.settle(batch, outcomes):
            self._hold_back(lane)
        self._enqueue(lane)

    def _hold_back(self, lane: Lane) -> None:
        if not lane.not_before:  # several batches that fail together are one failure
            lane.failures += 1
            delay = self._options.backoff.delay(lane.failures, self._rng)
            lane.not_before = time.monotonic() + delay.total_seconds()

    def _report(self, lane: Lane, outcomes: Sequence[Outcome]) -> None:
        """Say what a person should know, once for as long as it does not change."""
        retried = next((o for o in outcomes if not o.final), None)
        if retried is not None:
            lane.trouble = retried.reason
            now = time.monotonic()
            changed = self.trouble != retried.reason
            self.trouble = retried.reason
            if changed and now >= self._trouble_said_at + _SAY_SECONDS:
                self._trouble_said_at = now
                _logger.warning(
                    "sink %s (%s): %s; trying again until it works",
                    self.sink.name,
                    self.sink.address,
                    retried.reason,
                )
        elif self.trouble and outcomes:
            self.trouble = ""
            _logger.info("sink %s (%s) accepts records again", self.sink.name, self.sink.address)
        refused = [outcome for outcome in outcomes if outcome.kind is Kind.QUARANTINED]
        if refused:
            _logger.log(
                logging.ERROR if any(outcome.alarm for outcome in refused) else logging.WARNING,
                "sink %s: %d record(s) of %s went to quarantine (%s)",
                self.sink.name,
                len(refused),
                lane.log,
                refused[0].reason,
            )

    # -- cursors ---------------------------------------------------------------------------

    def _load_cursor(self, log: str) -> Cursor | None:
        try:
            return self._cursors.load(self.sink.name, log)
        except CursorDamaged as error:
            _logger.warning("%s Shipping of %s starts from its beginning.", error, log)
            return None

    def _passed(self, log: str) -> tuple[SegmentName | None, int]:
        cursor = self._load_cursor(log)
        return (SegmentName.parse(cursor.segment), cursor.offset) if cursor else (None, 0)

    def _save_cursors(self, now: float, *, everything: bool) -> None:
        if not everything and now < self._next_save:
            return
        dirty = [lane for lane in self._lanes.values() if lane.dirty]
        for lane in dirty:
            position = lane.window.position
            cursor = Cursor(
                lane.log,
                position.segment,
                position.offset,
                position.seq,
                position.hash,
                dt.datetime.now(dt.UTC),
            )
            try:
                self._cursors.save(self.sink.name, cursor)
            except OSError as error:
                if everything and self._drain:
                    raise
                if not self._save_failed:
                    _logger.warning("cursors cannot be saved, so they are sent again: %s", error)
                self._save_failed = True
                break
            self._save_failed = False
            lane.saved = position
            self._quarantine.forget(lane.log, SegmentName.parse(position.segment), position.offset)
        if dirty:
            self._next_save = time.monotonic() + self._options.save_interval.total_seconds()

    # -- the workers -----------------------------------------------------------------------

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            lane, batch, indices = work
            try:
                outcomes = self._attempt.run(batch, indices)
            except Exception as error:
                # Whatever it is, it must be said and tried again, and not end the worker.
                _logger.exception("sink %s: a delivery failed", self.sink.name)
                outcomes = [retry(f"delivery failed with {type(error).__name__}")] * len(indices)
            self._events.put(_Completed(lane, batch, outcomes))
