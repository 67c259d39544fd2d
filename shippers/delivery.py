"""Deliver all sources to one sink, with one control loop and workers.

The loop alone owns the lanes (one for each log or file), which the feeds of the sources make.  It
reads batches in turn (shippers.round_robin), so that no log starves another, and looks in a round
only at the lanes that have changed (shippers.ledger); hands batches to workers,
each of which makes one attempt; and moves cursors over what has its final outcome.  The size of a
batch follows from how the sink took earlier ones (shippers.batch_size).  The loop sleeps on its
queue: an idle sink costs nothing.

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
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from auditlog.cursors import CursorStore
from auditlog.errors import AuditLogError
from shippers.attempt import Attempt
from shippers.backoff import Backoff
from shippers.batch import Batch
from shippers.batch_size import BatchSize, Taken
from shippers.lane import AnyLane
from shippers.ledger import Ledger
from shippers.outcome import INDEXED, DeliveryOutcome, retry
from shippers.quarantine.store import Quarantine
from shippers.reporter import Reporter
from shippers.round_robin import RoundRobin
from shippers.sinks.protocol import Sink
from shippers.sources.protocol import Feed, FeedContext, Source
from shippers.stats import LogStats, SinkStats

__all__ = ["Delivery", "DeliveryOptions"]

_logger = logging.getLogger("auditlog.shippers")

_STOP_SECONDS: Final = 3.0
_ADAPTIVE_SECONDS: Final = 0.1
_ADAPTIVE_MAX_SECONDS: Final = 1.0
_SAVING_SHARE: Final = 9  # a cursor of thousands of files takes at most a tenth of the time


@dataclass(frozen=True, slots=True)
class DeliveryOptions:
    """batch_records, batch_bytes   the most that is sent at a time
    slow_batch                    a batch that takes longer than this is followed by smaller ones
    held_bytes                    read and not passed, over all logs of a sink
    save_interval                 how often a log's cursor is written, at most
    linger                        how long the first new record of a log waits for others; None is
                                  adaptive: one that comes alone is sent at once, and while more
                                  keep coming, about ten batches a second are sent over all logs
    backoff                       delays after a failure
    """

    batch_records: int = 2000
    batch_bytes: int = 2 << 20
    slow_batch: dt.timedelta = dt.timedelta(seconds=2)
    held_bytes: int = 8 << 20
    save_interval: dt.timedelta = dt.timedelta(seconds=0.5)
    linger: dt.timedelta | None = None
    backoff: Backoff = field(default_factory=Backoff)

    def __post_init__(self) -> None:
        if self.batch_records < 1 or not 1 <= self.batch_bytes <= self.held_bytes:
            raise ValueError("a batch needs at least one record, and must fit into held_bytes")
        if min(self.save_interval, self.slow_batch) <= dt.timedelta(0):
            raise ValueError("save_interval and slow_batch must be positive")
        if self.linger is not None and self.linger < dt.timedelta(0):
            raise ValueError("linger must not be negative")


@dataclass(frozen=True, slots=True)
class _Work:
    """An attempt to be made: the batch's items ``indices``."""

    lane: AnyLane
    batch: Batch[Any]
    indices: list[int]


@dataclass(frozen=True, slots=True)
class _Completed:
    work: _Work
    outcomes: list[DeliveryOutcome]
    seconds: float


@dataclass(frozen=True, slots=True)
class _Seen:
    source: str
    sighting: object


_Event = _Seen | _Completed | threading.Event | str | None
"""A sighting, an attempt's outcomes, a request for an answer, what has grown, stop."""


class Delivery:
    """All sources to one sink.  ``start``, feed with ``sighted`` and ``wake``, then ``stop``.

    With ``drain`` the loop ends by itself when everything of the first sightings is passed, or
    when nothing was for ``give_up_after``; ``stalled`` then says why.
    """

    def __init__(
        self,
        sink: Sink,
        state_dir: Path,
        options: DeliveryOptions,
        sources: Sequence[Source],
        *,
        drain: bool = False,
        give_up_after: dt.timedelta | None = None,
        on_end: Callable[[], None] = lambda: None,
        rng: random.Random | None = None,
    ) -> None:
        self.sink = sink
        self.error: BaseException | None = None
        self.stalled = ""
        self._options = options
        self._linger_seconds = None if options.linger is None else options.linger.total_seconds()
        self._size = BatchSize(
            options.batch_records,
            options.batch_bytes,
            slow_seconds=options.slow_batch.total_seconds(),
        )
        self._cursors = CursorStore(state_dir)
        self._quarantine = Quarantine(state_dir, sink.name)
        self._attempt = Attempt(sink, self._quarantine, lambda: dt.datetime.now(dt.UTC))
        self._drain = drain
        self._give_up_seconds = give_up_after.total_seconds() if give_up_after else None
        self._reporter = Reporter(sink, give_up_seconds=self._give_up_seconds)
        self._on_end = on_end
        self._rng = rng or random.Random()  # noqa: S311  (jitter, no secret)
        context = FeedContext(sink.name, self._cursors, self._quarantine, drain, self.wake)
        self._feeds: dict[str, Feed] = {source.name: source.feed(context) for source in sources}
        self._ready = RoundRobin()
        self._ledger = Ledger()
        self._events: queue.SimpleQueue[_Event] = queue.SimpleQueue()
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._woken: set[str] = set()
        self._woken_lock = threading.Lock()
        self._lock = threading.Lock()  # held by the loop while it changes lanes
        self._in_flight = 0
        self._in_flight_records = 0
        self._in_flight_bytes = 0
        self._last_success_at: dt.datetime | None = None
        self._stop_at: float | None = None
        self._next_save = 0.0
        self._progress_at = time.monotonic()
        self._has_ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"auditlog-ship-{sink.name}", daemon=True
        )

    # -- called from other threads ---------------------------------------------------------

    def start(self) -> None:
        """Begin.  Raises QuarantineDamaged, OSError: what an earlier run left cannot be read."""
        self._quarantine.recall(self._cursors)
        self._progress_at = time.monotonic()
        self._thread.start()

    def sighted(self, source: str, sighting: object) -> None:
        """Process a new listing of the source; callable from any thread."""
        self._events.put(_Seen(source, sighting))

    def wake(self, name: str) -> None:
        """Look at the file of this path, or the lane of this name, as it may have grown."""
        with self._woken_lock:
            if name in self._woken:
                return
            self._woken.add(name)
        self._events.put(name)

    def stop(self) -> None:
        """Send nothing more; cursors are durable when ``join`` returns True."""
        self._events.put(None)

    def join(self, timeout: float | None = None) -> bool:
        if self._thread.ident is None:
            return True  # it was never started
        self._thread.join(timeout)
        return not self._thread.is_alive()

    @property
    def ended(self) -> bool:
        """True from the call of ``on_end`` on, while the thread may be alive for a moment."""
        return self._has_ended.is_set()

    def answers(self, timeout: float) -> bool:
        """Whether the loop completes a round within ``timeout`` seconds, neither stuck nor dead."""
        answered = threading.Event()
        self._events.put(answered)
        return answered.wait(timeout)

    def sink_stats(self) -> SinkStats:
        entries: int | None
        size: int | None
        try:
            entries, size = self._quarantine.size()
        except OSError:
            entries = size = None  # the next entry to be added fails alike, and is reported
        with self._lock:
            return SinkStats(
                self.sink.name,
                self.sink.address,
                self._in_flight,
                self._in_flight_records,
                self._in_flight_bytes,
                self._ledger.held_bytes,
                entries,
                size,
                self._last_success_at,
                self._reporter.trouble,
                self._reporter.unsaved,
            )

    def log_stats(self) -> list[LogStats]:
        return [one for feed in self._feeds.values() for one in feed.stats(self._lock)]

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
                for lane in self._lanes():
                    lane.close()
            self._quarantine.close()
            self._has_ended.set()
            self._on_end()

    def _lanes(self) -> Iterator[AnyLane]:
        for feed in self._feeds.values():
            yield from feed.lanes

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
        """Wait for an event until the next deadline; return all queued events."""
        events = []
        try:
            events.append(self._events.get(timeout=self._seconds_to_next_deadline()))
            while True:
                events.append(self._events.get_nowait())
        except queue.Empty:
            return events

    def _seconds_to_next_deadline(self) -> float | None:
        now = time.monotonic()
        deadlines = []
        if (deadline := self._ledger.next_deadline()) is not None:
            deadlines.append(deadline)
        if self._ledger.dirty:
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
            lane.done or lane.read_error is not None or lane.name_taken for lane in self._lanes()
        ):
            return True
        if self._give_up_seconds is not None and now - self._progress_at >= self._give_up_seconds:
            self.stalled = (
                f"nothing was accepted for {self._give_up_seconds:g} s: "
                f"{self._reporter.trouble or 'the server does not answer'}"
            )
            return True
        return False

    def _handle(self, event: _Event) -> None:
        if event is None:
            self._stop_at = self._stop_at or time.monotonic() + _STOP_SECONDS
        elif isinstance(event, threading.Event):
            event.set()
        elif isinstance(event, _Completed):
            self._settle(event)
        elif isinstance(event, _Seen):
            for lane in self._feeds[event.source].see(event.sighting):
                self._enqueue(lane)
        else:
            with self._woken_lock:
                self._woken.discard(event)
            until = time.monotonic() + self._linger_seconds if self._linger_seconds else None
            for feed in self._feeds.values():
                if (woken := feed.lane_of(event)) is not None:
                    woken.wake(until, self._size.bytes)
                    self._enqueue(woken)

    def _enqueue(self, lane: AnyLane) -> None:
        self._ledger.note(lane)
        if lane.ready:
            self._ready.add(lane)

    def _fill(self) -> None:
        """Hand batches to free workers, lane by lane."""
        now = time.monotonic()
        for lane in self._ledger.due(now):
            lane.end_wait(now)
            self._enqueue(lane)
        while self._ready and self._in_flight < self.sink.max_in_flight:
            lane = self._ready.next()
            if not lane.retries_next and not self._has_room(lane):
                return
            self._ready.take()
            if lane.ready and (batch := self._take(lane)) is not None:
                self._in_flight += 1
                self._in_flight_records += len(batch)
                self._in_flight_bytes += batch.size_bytes
                self._work.put(_Work(lane, batch, lane.open_indices(batch)))
            self._enqueue(lane)

    def _has_room(self, wanting: AnyLane) -> bool:
        """Whether memory allows another batch; if not, drop what the largest failed lane holds."""
        held = self._ledger.held_bytes
        if not held or held + self._options.batch_bytes <= self._options.held_bytes:
            return True
        holders = self._ledger.holders
        failed = [lane for lane in holders if lane.can_rewind and lane is not wanting]
        if not failed:
            return False
        largest = max(failed, key=lambda lane: lane.held_bytes)
        largest.rewind()
        self._enqueue(largest)
        return True

    def _take(self, lane: AnyLane) -> Batch[Any] | None:
        retried, trouble = lane.retries_next, lane.trouble
        try:
            batch = lane.take(self._size.bytes, self._size.records)
        except (AuditLogError, OSError) as error:
            self._reporter.unreadable(lane.name, error, trouble)
            self._back_off(lane)
            return None
        if batch is not None and not retried:
            self._reporter.read(lane.name, batch)
            seconds = 0.0 if self._drain or not lane.live else self._seconds_between_batches()
            if seconds and lane.lag_bytes() < self._size.bytes:
                # Otherwise each record of a program that writes steadily would be sent alone.
                lane.linger(time.monotonic() + seconds)
        return batch

    def _seconds_between_batches(self) -> float:
        """Return how long a lane waits for more records; adaptive: longer with more lanes."""
        if self._linger_seconds is not None:
            return self._linger_seconds
        return min(_ADAPTIVE_MAX_SECONDS, _ADAPTIVE_SECONDS * (1 + self._ledger.lingering))

    def _settle(self, completed: _Completed) -> None:
        lane, batch, outcomes = completed.work.lane, completed.work.batch, completed.outcomes
        all_indexed = outcomes.count(INDEXED) == len(outcomes)
        if outcomes:
            throttled = not all_indexed and any(o.throttled for o in outcomes if not o.final)
            full = self._size.is_full(len(outcomes), batch.size_bytes)
            self._size = self._size.after(Taken(completed.seconds, full, throttled))
        self._in_flight -= 1
        self._in_flight_records -= len(batch)
        self._in_flight_bytes -= batch.size_bytes
        if any(outcome.final for outcome in outcomes):
            self._progress_at = time.monotonic()
            self._last_success_at = dt.datetime.now(dt.UTC)
        if self._reporter.trouble or not all_indexed:
            self._reporter.settled(lane.name, outcomes)
        if not lane.settle(batch, outcomes):
            self._back_off(lane)
        self._enqueue(lane)

    def _back_off(self, lane: AnyLane) -> None:
        delay = self._options.backoff.delay
        lane.back_off(time.monotonic(), lambda n: delay(n, self._rng).total_seconds())

    def _save_cursors(self, now: float, *, everything: bool) -> None:
        if not everything and now < self._next_save:
            return
        if not everything and not self._ledger.dirty:
            return
        try:
            for feed in self._feeds.values():
                feed.save()
        except OSError as error:
            if everything and self._drain:
                raise
            self._reporter.saved(error)
        else:
            self._ledger.saved()
            self._reporter.saved(None)
        ended = time.monotonic()
        interval = self._options.save_interval.total_seconds()
        self._next_save = ended + max(interval, _SAVING_SHARE * (ended - now))

    # -- the workers -----------------------------------------------------------------------

    def _serve(self) -> None:
        while (work := self._work.get()) is not None:
            began = time.monotonic()
            try:
                outcomes = self._attempt.run(work.batch, work.indices)
            except Exception as error:
                # Log it and try again, whatever it is: a worker must not end.
                _logger.exception("sink %s: a delivery failed", self.sink.name)
                reason = f"delivery failed with {type(error).__name__}"
                outcomes = [retry(reason)] * len(work.indices)
            self._events.put(_Completed(work, outcomes, time.monotonic() - began))
