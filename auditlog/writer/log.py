"""The log a service writes to: emit, and know when it is durable.

    queued     the record has its number and stands in memory
    written    write(2) returned
    durable    fdatasync(2) returned, and for a new segment fsync(2) of its directory

A ticket resolves only at durable.  The record is made in emit itself, under the log's lock; the
committer writes it (see committer).

Invariants (tests of the same name in tests/auditlog/writer/test_log.py):
  acknowledged   an event whose ticket resolved is in the file after kill -9
  one_writer     two Logs never write one log, not in two processes and not after a fork
  bounded        queued bytes never exceed max_queue_bytes; what is refused is counted in the chain
"""

from __future__ import annotations

import atexit
import datetime as dt
import logging
import os
import threading
import time
import weakref
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

from auditlog import durable_fs
from auditlog.errors import (
    AuditLogError,
    BufferFull,
    ForkedLog,
    InvalidEvent,
    LogClosed,
    LogFailed,
)
from auditlog.events import context
from auditlog.events.actor import Actor, Outcome, Resource, Severity
from auditlog.events.body import encode_body, encode_free, service_host
from auditlog.events.vocabulary import EVENT_TYPES, Event
from auditlog.format.record import MAX_OVERHEAD_BYTES, MAX_RECORD_BYTES
from auditlog.format.segment_names import LogId
from auditlog.writer import log_events
from auditlog.writer.chain_head import Pending
from auditlog.writer.clock import SECOND_NS, WallClock, day_of, to_ns
from auditlog.writer.disk_space import Level, free_bytes
from auditlog.writer.group_commit import Committer
from auditlog.writer.options import Options, seconds
from auditlog.writer.recovery import Recovered
from auditlog.writer.stats import Stats
from auditlog.writer.ticket import Commit, Ticket

__all__ = ["EventFields", "Log"]

_UNNOTICED_NS: Final = 60 * SECOND_NS
"""A clock that went further since the event before may have been stepped; ask before writing."""

_logger = logging.getLogger("auditlog")
_open_logs: weakref.WeakSet[Log] = weakref.WeakSet()


class EventFields(TypedDict, total=False):
    """The fields of an event that is emitted by the name of its type."""

    actor: Actor | Mapping[str, Any] | None
    resource: Resource | Mapping[str, Any] | None
    outcome: Outcome
    reason: str | None
    severity: Severity | None
    correlation_id: str | None
    details: Mapping[str, Any] | None


class Log:
    """One open log; made by auditlog.open.  Every method may be called from any thread."""

    def __init__(
        self,
        directory: Path,
        log_id: LogId,
        lock: durable_fs.FileLock,
        recovered: Recovered,
        options: Options,
    ) -> None:
        self.id = log_id
        self.directory = directory
        self._name = str(log_id)
        self._options = options
        self._immediate = options.flush.mode == "immediate"
        self._hybrid = options.flush.mode == "hybrid"
        self._due_at = (1, options.flush.max_events)
        self._max_bytes = options.flush.max_bytes
        self._comfortable_bytes = options.max_queue_bytes - MAX_RECORD_BYTES - 1
        self._file_lock = lock
        self._service_host = service_host(log_id.service, log_id.host)
        self._lock = threading.RLock()
        self._inside = False
        self._closed = False
        self._refusal: AuditLogError | None = None  # why no event is taken any more
        self._refused = self._refused_in_all = 0
        self._space: Level = "ok"
        self._clock = WallClock(options.clock)
        self._read_clock = options.clock
        self._clock_read = self._clock.last_ns
        self._pending = Pending(log_id, self._service_host, options.max_segment_bytes)
        self._committer = Committer(
            directory,
            self._pending,
            options.flush,
            self._lock,
            file_mode=options.file_mode,
            tick=self._tick,
            failed=self._refuse,
        )
        self._wait = self._committer.wait
        self._first_seq = recovered.seq
        self._start(recovered)

    def __repr__(self) -> str:
        return f"<Log {self._name} in {self.directory}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # What callers do -------------------------------------------------------------------------

    def emit(
        self, event: Event | str, *, durable: bool = False, **fields: Unpack[EventFields]
    ) -> Ticket:
        """Append one event: a typed one from auditlog.events, or a type by name with its fields.

        With a name of the vocabulary ``details`` hold that type's fields, and those are checked.
        The fields of an event by name: actor, resource, outcome, reason, severity, correlation_id,
        details.  A typed event carries its fields itself.

        Returns when the record is durable in immediate mode, for durable=True, and in hybrid mode
        for critical events; else at once.  Raises InvalidEvent or RecordTooLarge (nothing was
        queued), BufferFull (refused and counted), LogFailed, LogClosed, ForkedLog.
        """
        ticket, at_once = self._queue(event, fields, durable, self._options.block_seconds)
        return ticket.wait() if at_once else ticket

    async def aemit(self, event: Event | str, **fields: Unpack[EventFields]) -> Ticket:
        """As emit with durable=True, but it never blocks the event loop and needs no thread."""
        if self._pending.queued_bytes > self._comfortable_bytes:
            await self._room_or_timeout()
        ticket, _ = self._queue(event, fields, True, 0.0)
        return await ticket

    async def _room_or_timeout(self) -> None:
        import asyncio  # noqa: PLC0415  (see ticket.Ticket.__await__)

        deadline = time.monotonic() + self._options.block_seconds
        while self._pending.queued_bytes > self._comfortable_bytes and time.monotonic() < deadline:
            await asyncio.sleep(0.005)

    def flush(self, timeout: dt.timedelta | float | None = None) -> None:
        """Return when everything emitted before is durable.  Raises TimeoutError, LogFailed."""
        with self._lock:
            commits = self._pending.commits
            last = commits[-1] if commits else None
        if last is not None and not self._committer.wait(
            last, None if timeout is None else seconds(timeout)
        ):
            raise TimeoutError(f"{self._name} is not durable after {timeout} s")
        self._raise_failure()

    def close(self) -> None:
        """Make everything durable, record that the log was closed, and release it.

        Closing twice does nothing.  Raises LogFailed when events could not be made durable.
        """
        if self._closed:  # looked at without the lock: a forked child's is not usable
            return
        with self._lock:
            self._refuse_inside("close")
            if self._closed:
                return
            self._closed = True
            commit: Commit | None = None
            if self._refusal is None:
                self._record_refused()
                commit = self._append(log_events.closed(self._service_host))
                self._refusal = LogClosed(
                    "the log was closed before this event",
                    path=self.directory,
                    hint="Open it again.",
                )
        try:
            if commit is not None and not self._committer.wait(commit, self._options.block_seconds):
                self._fail_stalled("the log was closed while events could not be made durable")
        finally:
            self._committer.stop()
            self._file_lock.release()
            _open_logs.discard(self)
        self._raise_failure()

    def stats(self) -> Stats:
        """Figures for a metrics library."""
        committer, pending = self._committer, self._pending
        with self._lock:
            seconds = sorted(committer.commit_seconds)
            return Stats(
                log=self._name,
                queued=pending.queued_events,
                queued_bytes=pending.queued_bytes,
                written=max(0, committer.written_seq() - self._first_seq),
                durable=max(0, committer.durable_seq - self._first_seq),
                durable_bytes=committer.durable_bytes,
                refused=self._refused_in_all,
                commits=committer.commits,
                last_commit_seconds=committer.commit_seconds[-1] if seconds else 0.0,
                commit_p99_seconds=seconds[int(len(seconds) * 0.99)] if seconds else 0.0,
                last_seq=pending.seq,
                durable_seq=committer.durable_seq,
                space=self._space,
                failed=committer.failure is not None,
            )

    # From event to queue ---------------------------------------------------------------------

    def _queue(
        self, event: Event | str, fields: EventFields, durable: bool, block_seconds: float
    ) -> tuple[Ticket, bool]:
        """Make the event a record; returns its ticket, and whether to wait for it at once."""
        if self._refusal is not None:
            raise self._refusal.again()
        bound = context.current()
        if isinstance(event, str):
            critical = self._hybrid and (
                EVENT_TYPES.get(event, Event).critical or fields.get("severity") == "critical"
            )
            body = encode_free(event, service_host=self._service_host, context=bound, **fields)
        elif fields:
            raise InvalidEvent(
                f"{event.event_type}: a typed event carries its fields itself",
                hint="Give actor, resource, outcome and the rest to the event's constructor.",
            )
        else:
            critical = self._hybrid and (event.critical or event.severity == "critical")
            body = encode_body(event, service_host=self._service_host, context=bound)
        at_once = durable or self._immediate or critical
        pending = self._pending
        with self._lock:
            if self._inside or (at_once and self._committer.led_by_this_thread()):
                self._refuse_inside("emit")
            self._inside = True
            try:
                if self._refusal or self._refused or pending.queued_bytes > self._comfortable_bytes:
                    self._make_room(len(body), block_seconds)
                now = self._read_clock()
                if not 0 <= now - self._clock_read < _UNNOTICED_NS:
                    self._record_clock_step(now, self._clock.stepped())
                self._clock_read = now
                commit = pending.append(body, now)
                if not at_once and (
                    len(commit.lines) in self._due_at or pending.queued_bytes >= self._max_bytes
                ):
                    self._committer.wake_keeper()
                return Ticket(commit, self._wait, pending.seq, pending.hash), at_once
            finally:
                self._inside = False

    def _make_room(self, size: int, block_seconds: float) -> None:
        """Wait until so many bytes fit; the lock is held.  Raises BufferFull, LogFailed, LogClosed.

        Whoever was refused before is counted in the chain first.
        """
        deadline = time.monotonic() + block_seconds
        self._inside = False  # the condition gives the lock away while it waits
        while self._refusal is None and (
            self._pending.queued_bytes + size + MAX_OVERHEAD_BYTES > self._options.max_queue_bytes
        ):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                self._refused += 1
                self._refused_in_all += 1
                raise BufferFull(
                    f"{self._pending.queued_bytes} bytes wait to become durable; the event was"
                    " refused and counted",
                    path=self.directory,
                    hint="The disk is full or too slow: see the log's stats and free space.",
                )
            self._committer.room_wanted = True
            self._committer.room.wait(remaining)
        self._inside = True
        if self._refusal is not None:
            raise self._refusal.again()
        self._record_refused()

    def _refuse_inside(self, method: str) -> None:
        """The lock lets its own thread in again: only a signal handler can have come here."""
        if self._inside or self._committer.led_by_this_thread():
            raise InvalidEvent(
                f"{method} was called from a signal handler that interrupted emit",
                hint=f"Set a flag in the handler and call {method} from the main program.",
            )

    def _append(self, body: bytes) -> Commit:
        """Queue a record about the log itself."""
        with self._lock:
            return self._pending.append(body, self._clock.read())

    # The log about itself --------------------------------------------------------------------

    def _start(self, recovered: Recovered) -> None:
        """Go on behind what was recovered, say so in the chain, and make that durable."""
        pending, now, me = self._pending, self._clock.last_ns, self._service_host
        if recovered.segment is not None:
            last_ns = to_ns(recovered.timestamp)
            pending.resume(
                recovered.segment,
                size=recovered.size,
                seq=recovered.seq,
                record_hash=recovered.hash,
                last_ns=last_ns,
            )
            self._committer.durable_seq = recovered.seq
            if now < last_ns:
                self._record_clock_step(now, min(0, now - last_ns + SECOND_NS))
        if recovered.empty is not None and recovered.empty.day >= day_of(now):
            pending.open_segment(recovered.empty, now)
        elif not recovered.appendable:
            pending.rotate(now)
        if (torn := recovered.torn) is not None:
            self._append(log_events.recovered(me, torn))
            _logger.warning(
                "%s: %d bytes that a crash tore were cut from %s at byte %d and kept as %s",
                self._name,
                torn.size_bytes,
                torn.segment,
                torn.offset,
                torn.kept,
            )
        commit = self._append(
            log_events.opened(me, pid=os.getpid(), flush=self._options.flush.mode)
        )
        self._committer.start()
        if not self._committer.wait(commit, self._options.block_seconds):
            self._fail_stalled("the log's first records could not be made durable")
        if self._committer.failure is not None:
            self._committer.stop()
            raise self._committer.failure.again()
        _open_logs.add(self)

    def _record_refused(self) -> None:
        if self._refused:
            count, self._refused = self._refused, 0
            self._append(log_events.events_refused(self._service_host, count))

    def _record_clock_step(self, now: int, step: int) -> None:
        if step:
            body = log_events.clock_stepped(self._service_host, now, step)
            self._pending.append(body, now)
            _logger.warning("%s: the clock was stepped by %.3f s", self._name, step / SECOND_NS)

    def _tick(self) -> None:
        """Once a second, on the keeper's thread: clock, space, refusals that found no room yet."""
        with self._lock:
            if self._refusal is not None:
                return
            self._record_clock_step(self._clock.read(), self._clock.stepped())
            if self._pending.queued_bytes < self._comfortable_bytes // 2:
                self._record_refused()
        self._look_at_space()

    def _look_at_space(self) -> None:
        try:
            free = free_bytes(self.directory)
        except OSError as error:
            _logger.warning("%s: free space cannot be read: %s", self._name, error)
            return
        with self._lock:
            before, self._space = self._space, self._options.watermarks.level(free, self._space)
            if self._refusal is not None or self._space in (before, "ok"):
                return
            level = self._space
            self._append(log_events.space_low(self._service_host, level, free))
            if level == "critical":
                # Retention may compress what is sealed, never what is active.
                self._pending.rotate(self._clock.read())
        _logger.log(
            logging.ERROR if level == "critical" else logging.WARNING,
            "%s: %d bytes are free in %s (%s)",
            self._name,
            free,
            self.directory,
            level,
        )

    def _fail_stalled(self, reason: str) -> None:
        stalled = self._committer.stalled_by
        self._committer.fail(
            LogFailed(
                reason,
                path=self.directory,
                errno=None if stalled is None else stalled.errno,
                hint="Free disk space, then open the log again.",
            )
        )

    def _raise_failure(self) -> None:
        if (failure := self._committer.failure) is not None:
            raise failure.again()

    def _refuse(self, failure: AuditLogError) -> None:
        """The committer failed: from now on every event gets this error."""
        self._refusal = failure

    def _forget(self) -> None:
        """In a forked child: the parent goes on writing, the child's copy never does."""
        self._closed = True
        self._refusal = ForkedLog(
            "this log belongs to the parent process",
            path=self.directory,
            hint='Open it in the child, after the fork, with instance="auto" or one of its own.',
        )
        self._file_lock.abandon()
        self._lock = threading.RLock()  # the old one may be held by a thread that was not copied
        self._committer.forget(self._refusal, self._lock)


def _close_all() -> None:
    for log in list(_open_logs):
        try:
            log.close()
        except AuditLogError as error:
            _logger.error("%s: %s", log.id, error)  # noqa: TRY400  (no traceback at exit)


def _forget_all() -> None:
    for log in list(_open_logs):
        log._forget()  # noqa: SLF001  (same module)
    _open_logs.clear()


atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget_all)
