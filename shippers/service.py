"""Ship the logs of given directories and other sources to sinks, once or until stopped.

One process for each state directory; a second one is refused.  Directories are watched and listed
at intervals.  Each sink has its own loop, cursors and quarantine, so a sink that is down holds up
no other.
"""

from __future__ import annotations

import datetime as dt
import logging
import os
import queue
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from auditlog import durable_fs
from shippers.delivery import Delivery, DeliveryOptions
from shippers.errors import AlreadyShipping, ShippingStalled
from shippers.sinks.protocol import Sink
from shippers.sources.audit_log.source import LogDirectories
from shippers.sources.protocol import Source
from shippers.stats import LogStats, ShippingStats
from shippers.watch import Watch

__all__ = ["ShippingOptions", "ShippingService", "Summary", "lock_shipping"]

_logger = logging.getLogger("auditlog.shippers")

_STOP_SECONDS: Final = 4.5
_UNWATCHED_SECONDS: Final = 1.0
_BETWEEN_SCANS_SECONDS: Final = 0.2  # listing thousands of segments for each new name is too much


@dataclass(frozen=True, slots=True)
class ShippingOptions:
    """rescan_interval   how often directories are listed in any case
    delivery          batch sizes, memory, backoff
    """

    rescan_interval: dt.timedelta = dt.timedelta(seconds=30)
    delivery: DeliveryOptions = field(default_factory=DeliveryOptions)

    def __post_init__(self) -> None:
        if self.rescan_interval <= dt.timedelta(0):
            raise ValueError("rescan_interval must be positive")


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a one-off run, for each log and sink; ``pending`` were read and not delivered.

    ``complete``: everything that was there has its final outcome.
    """

    logs: tuple[LogStats, ...]
    stopped: bool

    @property
    def shipped(self) -> int:
        return sum(log.indexed for log in self.logs)

    @property
    def duplicates(self) -> int:
        return sum(log.duplicate for log in self.logs)

    @property
    def quarantined(self) -> int:
        return sum(log.quarantined for log in self.logs)

    @property
    def pending(self) -> int:
        return sum(log.pending for log in self.logs)

    @property
    def complete(self) -> bool:
        left = any(log.pending or log.trouble or log.unreadable for log in self.logs)
        return not (self.stopped or left)


class ShippingService:
    """Ships all logs of the directories, and ``sources``, to all sinks, which stay the caller's.

    ``lock`` is the state directory's, when the caller holds it already and will release it.
    ``retention_hosts`` are those whose retention may delete (format.tombstones.may_delete).
    Raises ValueError when there is nothing to ship from or to, or two sinks or sources have one
    name.
    """

    def __init__(
        self,
        directories: Sequence[str | Path],
        sinks: Sequence[Sink],
        state_dir: str | Path,
        options: ShippingOptions | None = None,
        *,
        lock: durable_fs.FileLock | None = None,
        sources: Sequence[Source] = (),
        retention_hosts: Collection[str] | None = None,
    ) -> None:
        if not (directories or sources) or not sinks:
            raise ValueError("shipping needs at least one directory or source, and one sink")
        if len({sink.name for sink in sinks}) != len(sinks):
            raise ValueError("two sinks have the same name")
        places = tuple(dict.fromkeys(Path(d).absolute() for d in directories))
        logs = LogDirectories(places, retention_hosts)
        self._sources: tuple[Source, ...] = (logs, *sources) if directories else tuple(sources)
        if len({source.name for source in self._sources}) != len(self._sources):
            raise ValueError("two sources have the same name")
        self._sinks = tuple(sinks)
        self._state_dir = Path(state_dir)
        self._options = options or ShippingOptions()
        self._lock = lock
        self._events: queue.SimpleQueue[Path | threading.Event | None] = queue.SimpleQueue()
        self._deliveries: tuple[Delivery, ...] = ()
        self._watch: Watch | None = None

    def run(self, stop: threading.Event) -> None:
        """Ship until ``stop`` is set; then end within five seconds, with cursors durable.

        Directories that do not exist (yet) and sinks that are down are waited for.  Raises
        AlreadyShipping, OSError when the state directory cannot be used.
        """
        with self._locked():
            self._deliveries = tuple(
                Delivery(
                    sink,
                    self._state_dir,
                    self._options.delivery,
                    self._sources,
                    on_end=self._wake_up,
                )
                for sink in self._sinks
            )
            self._watch = watch = Watch(self._events.put, self.file_grew)
            self._wake_up_when(stop)
            try:
                for delivery in self._deliveries:
                    delivery.start()
                self._serve(watch, stop)
            finally:
                watch.stop()
                self._stop_deliveries()

    def run_once(
        self,
        stop: threading.Event | None = None,
        *,
        give_up_after: dt.timedelta | None = None,
    ) -> Summary:
        """Ship what is there now, then return.

        Raises AlreadyShipping; DuplicateLog; OSError when a directory cannot be read; and
        ShippingStalled, naming the sink's address and the cause, when no record was accepted for
        ``give_up_after`` (None: wait as long as it takes).  Nothing is lost in any case: what was
        not delivered is so by the next run.
        """
        with self._locked():
            sightings = [
                (source.name, sighting)
                for source in self._sources
                for sighting in source.look(None, strict=True)
            ]
            self._deliveries = tuple(
                Delivery(
                    sink,
                    self._state_dir,
                    self._options.delivery,
                    self._sources,
                    drain=True,
                    give_up_after=give_up_after,
                    on_end=self._wake_up,
                )
                for sink in self._sinks
            )
            if stop is None:
                stop = threading.Event()
            else:
                self._wake_up_when(stop)
            try:
                for delivery in self._deliveries:
                    for source, sighting in sightings:
                        delivery.sighted(source, sighting)
                    delivery.start()
                while not stop.is_set() and not all(d.ended for d in self._deliveries):
                    self._events.get()
            finally:
                self._stop_deliveries()
            summary = Summary(self.stats().logs, stop.is_set())
        for delivery in self._deliveries:
            if delivery.stalled:
                raise ShippingStalled(
                    f"{delivery.sink.address}: {delivery.stalled}",
                    hint=f"Check the sink. {summary.pending} or more records wait in their files "
                    "and are shipped by the next run; nothing is lost.",
                )
        return summary

    def stats(self) -> ShippingStats:
        """How every log stands at every sink; from any thread, at any time."""
        logs = [log for delivery in self._deliveries for log in delivery.log_stats()]
        return ShippingStats(
            logs=tuple(sorted(logs, key=lambda log: (log.sink, log.log))),
            sinks=tuple(delivery.sink_stats() for delivery in self._deliveries),
            watcher_rebuilds=self._watch.rebuilds if self._watch else 0,
        )

    def stuck(self, timeout: float) -> str:
        """Which loop did not come round within ``timeout`` seconds; "" when all did.

        To be asked while ``run`` runs.  A sink that is down is no reason: its loop waits and works.
        """
        deadline = time.monotonic() + timeout
        answered = threading.Event()
        self._events.put(answered)
        for delivery in self._deliveries:
            if not delivery.answers(max(0.0, deadline - time.monotonic())):
                return f"delivery to {delivery.sink.name}"
        return "" if answered.wait(max(0.0, deadline - time.monotonic())) else "watching"

    def file_grew(self, path: str) -> None:
        """Wake the loops for a file that may have new lines; the watch calls it as well."""
        for delivery in self._deliveries:
            delivery.wake(path)

    # -- the inside ------------------------------------------------------------------------

    def _serve(self, watch: Watch, stop: threading.Event) -> None:
        changed: set[Path] = set()
        next_look = next_scan = 0.0
        next_check = time.monotonic() + _UNWATCHED_SECONDS
        interval = self._options.rescan_interval.total_seconds()
        while not stop.is_set() and all(d.error is None for d in self._deliveries):
            now = time.monotonic()
            if now >= next_look:
                self._look(None)
                watch.check(self._watched())
                changed |= watch.unwatched  # they may have appeared between the two
                next_look = time.monotonic() + interval
                next_check = next_scan = time.monotonic() + _UNWATCHED_SECONDS
            elif now >= next_check:
                watch.check(self._watched())
                changed |= watch.unwatched
                next_check = now + _UNWATCHED_SECONDS
            elif changed and now >= next_scan:
                self._look(changed)
                watch.check(self._watched())
                changed.clear()
                next_scan = time.monotonic() + _BETWEEN_SCANS_SECONDS
            due = [next_look]
            if watch.unwatched:
                due.append(next_check)
            if changed:
                due.append(next_scan)
            changed |= self._take_changes(min(due) - time.monotonic())

    def _take_changes(self, timeout: float) -> set[Path]:
        """Wait until directories change or a wake-up arrives; return all changed directories."""
        changed: set[Path] = set()
        try:
            event = self._events.get(timeout=max(0.0, timeout))
            while True:
                if isinstance(event, threading.Event):
                    event.set()
                elif event is not None:
                    changed.add(event)
                event = self._events.get_nowait()
        except queue.Empty:
            return changed

    def _wake_up_when(self, stop: threading.Event) -> None:
        """The caller's event cannot be waited for together with a queue, so a thread does it."""

        def wait() -> None:
            stop.wait()
            self._wake_up()

        threading.Thread(target=wait, name="auditlog-ship-stop", daemon=True).start()

    def _look(self, changed: Collection[Path] | None) -> None:
        for source in self._sources:
            for sighting in source.look(changed):
                for delivery in self._deliveries:
                    delivery.sighted(source.name, sighting)

    def _watched(self) -> list[Path]:
        return [directory for source in self._sources for directory in source.directories]

    def _wake_up(self) -> None:
        self._events.put(None)

    def _stop_deliveries(self) -> None:
        """Stop all loops.  Raises the error that ended one of them early."""
        for delivery in self._deliveries:
            delivery.stop()
        deadline = time.monotonic() + _STOP_SECONDS
        for delivery in self._deliveries:
            if not delivery.join(max(0.0, deadline - time.monotonic())):
                _logger.warning(
                    "shipping to %s did not stop in time; what was in flight is sent again",
                    delivery.sink.name,
                )
        for delivery in self._deliveries:
            if delivery.error is not None:
                raise delivery.error

    @contextmanager
    def _locked(self) -> Iterator[None]:
        lock = lock_shipping(self._state_dir) if self._lock is None else None
        try:
            yield
        finally:
            if lock is not None:
                lock.release()


def lock_shipping(state_dir: Path) -> durable_fs.FileLock:
    """Take the state directory's lock, against a second shipper.  Raises AlreadyShipping."""
    durable_fs.make_directory(state_dir)
    path = state_dir / "ship.lock"
    try:
        return durable_fs.FileLock(path, f"pid {os.getpid()}")
    except durable_fs.Locked as error:
        raise AlreadyShipping(
            f"shipping is done by {error.holder or 'another process'} already",
            path=path,
            hint="Stop it, or use another state directory.",
        ) from error
