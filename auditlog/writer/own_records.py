"""Record in the chain what happens to the log itself: opening, clock, refusals, space, heartbeats.

Invariants (tests of the same name in tests/auditlog/writer/test_own_records.py):
  counted   events that were refused are counted in the chain once, as soon as there is room
  silent    nothing is recorded once the log is over: log.closed is its last record
"""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from auditlog.reading.inventory import STATE_DIRECTORY
from auditlog.writer import log_events
from auditlog.writer.clock import SECOND_NS, to_ns
from auditlog.writer.disk_space import DiskSpace
from auditlog.writer.heartbeat import HeartbeatSchedule
from auditlog.writer.installation import make_installation
from auditlog.writer.recovery import began_ns

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path

    from auditlog.format.segment_names import LogId
    from auditlog.redaction.installation_key import InstallationKey
    from auditlog.writer.chain_head import ChainHead
    from auditlog.writer.clock import WallClock
    from auditlog.writer.group_commit import GroupCommit
    from auditlog.writer.options import Options
    from auditlog.writer.recovery import Recovered
    from auditlog.writer.ticket import Commit

__all__ = ["OwnRecords"]

_logger = logging.getLogger("auditlog")


class OwnRecords:
    """The records of one log about itself.

    ``lock`` guards the log; ``tick`` is called without it, everything else with it or before the
    commit thread runs.  ``is_over`` says that the log takes no record any more.  ``refused`` counts
    the events that were refused since the chain last said so.
    """

    def __init__(
        self,
        directory: Path,
        service_host: str,
        options: Options,
        *,
        redaction_key: InstallationKey,
        clock: WallClock,
        lock: threading.RLock,
        is_over: Callable[[], bool],
    ) -> None:
        self._directory = directory
        self._service_host = service_host
        self._options = options
        self._redaction_key = redaction_key
        self._clock = clock
        self._lock = lock
        self._is_over = is_over
        self.space = DiskSpace(directory, options.watermarks)
        self.refused = self.refused_in_all = 0

    def begin(self, head: ChainHead, commits: GroupCommit) -> None:
        """Record in this chain from now on."""
        self._head, self._commits = head, commits

    def append(self, body: bytes) -> Commit:
        """Queue a record about the log itself."""
        with self._lock:
            return self._head.append(body, self._clock.read())

    def record_opening(self, log: LogId, recovered: Recovered) -> Commit:
        """Continue the chain behind what was recovered, and say so in it."""
        now, me = self._clock.read(), self._service_host
        self._head.resume(recovered, now)
        if recovered.segment is not None:
            self._commits.durable_seq = recovered.seq
            if self._options.max_segment_age_ns is not None:
                self._head.grow_older(now, began_ns(self._directory, recovered))
            if now < (last_ns := to_ns(recovered.timestamp)):
                self._record_step(now, min(0, now - last_ns + SECOND_NS))
        if (torn := recovered.torn) is not None:
            self.append(log_events.recovered(me, torn))
            _logger.warning(
                "%s: %d bytes that a crash tore were cut from %s at byte %d and kept as %s",
                log,
                torn.size_bytes,
                torn.segment,
                torn.offset,
                torn.kept,
            )
        commit = self.append(
            log_events.opened(
                me,
                recovered,
                pid=os.getpid(),
                flush=self._options.flush.mode,
                redaction_key=self._redaction_key.id(),
                installation=make_installation(
                    self._directory / STATE_DIRECTORY, self._options.file_mode
                ),
            )
        )
        self._heartbeat = HeartbeatSchedule(
            self._options.heartbeats.every,
            time.monotonic(),
            seq=self._head.seq,
            refused=self.refused_in_all,
        )
        return commit

    def count_refusal(self) -> None:
        """Count an event that was refused, until the chain says so."""
        self.refused += 1
        self.refused_in_all += 1

    def record_refused(self) -> None:
        """Record how many events were refused since the chain last said so, if any were."""
        if self.refused:
            count, self.refused = self.refused, 0
            self.append(log_events.events_refused(self._service_host, count))

    def record_clock_step(self, now: int) -> None:
        """Record that the clock was stepped since it was last compared, if it was."""
        self._record_step(now, self._clock.stepped())

    def _record_step(self, now: int, step: int) -> None:
        if step:
            body = log_events.clock_stepped(self._service_host, now, step)
            self._head.append(body, now)
            _logger.warning("%s: the clock was stepped by %.3f s", self._head.log, step / SECOND_NS)

    def tick(self) -> None:
        """Look once a second, on the commit thread: clock, refusals, heartbeat, space."""
        with self._lock:
            if self._is_over():
                return
            now = self._clock.read()
            self.record_clock_step(now)
            self._head.grow_older(now)
            if self._has_room():
                self.record_refused()
        self._record_heartbeat()
        if (free := self.space.look()) is None:
            return
        with self._lock:
            if self._is_over():
                return
            self.append(log_events.space_low(self._service_host, self.space.level, free))
            if self.space.level == "critical":
                # Retention may compress what is sealed, never what is active.
                self._head.rotate(self._clock.read())

    def _record_heartbeat(self) -> None:
        now = time.monotonic()
        if not self._heartbeat.due(now):
            return
        counts = self._options.heartbeats.figures()  # the caller's code: without the lock
        with self._lock:
            if self._is_over():
                return
            if self._commits.stalled_by is not None or not self._has_room():
                self._heartbeat.skip(now)
                return
            refused = self.refused_in_all
            details = self._heartbeat.details(seq=self._head.seq, refused=refused)
            self.append(log_events.heartbeat(self._service_host, details, counts))
            self._heartbeat.beaten(now, seq=self._head.seq, refused=refused)

    def _has_room(self) -> bool:
        """Whether the queue is less than half full."""
        return self._head.queued_bytes < self._options.comfortable_bytes // 2
