"""Emit events into one open log, and wait until they are durable.

    queued     the record has its number and is held in memory
    written    write(2) returned
    durable    fdatasync(2) returned, and for a new segment fsync(2) of its directory

A ticket resolves only at durable.  emit makes the record itself, under the log's lock; the commit
thread writes it (see group_commit).

Invariants (tests of the same name in tests/auditlog/writer/test_log.py):
  acknowledged   an event whose ticket resolved is in the file after kill -9
  one_writer     two Logs never write one log, not in two processes and not after a fork
  bounded        queued bytes never exceed max_queue_bytes; refused events are counted in the chain
  bounded_wait   no call waits longer than its timeout, in any mode, however the disk behaves
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
import warnings
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypedDict, Unpack

from auditlog.errors import (
    AuditLogError,
    BufferFull,
    ForkedLog,
    InvalidEvent,
    LogClosed,
    LogFailed,
    NotDurableYet,
)
from auditlog.events import context
from auditlog.events.actor import Actor, Outcome, Resource, Severity
from auditlog.events.base import Event
from auditlog.events.body import service_host
from auditlog.events.encode import EventEncoder
from auditlog.format.record import MAX_OVERHEAD_BYTES
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY
from auditlog.redaction.installation_key import InstallationKey
from auditlog.redaction.redactor import Redactor
from auditlog.writer import lifetime, log_events
from auditlog.writer.chain_head import ChainHead
from auditlog.writer.clock import SECOND_NS, WallClock, check_usable, unusable
from auditlog.writer.group_commit import GroupCommit, owned_by_caller
from auditlog.writer.options import Acquire, Options
from auditlog.writer.own_records import OwnRecords
from auditlog.writer.salts import Salts
from auditlog.writer.stats import Stats
from auditlog.writer.ticket import Commit, Ticket, Waiter, seconds

__all__ = ["EventFields", "Log"]

_UNNOTICED_NS: Final = 60 * SECOND_NS
"""A clock that moved further since the event before may have been stepped: compare it with the
boot clock before the next record is made."""
_PATIENT_SECONDS: Final = 30.0
"""How long opening and closing wait at least for a disk that reports no error."""


class EventFields(TypedDict, total=False):
    """The fields of an event that is emitted by the name of its type."""

    actor: Actor | Mapping[str, Any] | str | None
    resource: Resource | Mapping[str, Any] | None
    outcome: Outcome
    reason: str | None
    severity: Severity | None
    correlation_id: str | None
    details: Mapping[str, Any] | None


class Log:
    """One open log; made by auditlog.open.  Every method may be called from any thread.

    ``acquire`` prepares the directory, takes the log's lock and recovers the log (see opening).
    """

    def __init__(self, directory: Path, log_id: LogId, acquire: Acquire, options: Options) -> None:
        self.id = self._wanted = log_id
        self.directory = directory
        self._acquire = acquire
        self._options = options
        self._wake_at_events = (1, options.flush.max_events)
        self._wake_at_bytes = options.flush.max_bytes
        self._immediate = options.flush.at_once(critical=False, durable=False)
        self._hybrid = options.flush.at_once(critical=True, durable=False)
        self._comfortable_bytes = options.comfortable_bytes
        self._service_host = service_host(log_id.service, log_id.host)
        self._lock = threading.RLock()
        self._key = InstallationKey(directory / STATE_DIRECTORY)
        self._redactor = Redactor(options.redaction, self._key.read_or_make)
        self._interrupted = owned_by_caller(self._lock)
        self._reopening = threading.Lock()
        self._deferred: deque[tuple[bytes, Ticket]] = deque()
        self._closed = self._warned_of_loop = False
        self._refusal: AuditLogError | None = None  # why no event is taken any more
        self._clock = WallClock(options.clock)
        self._read_clock = options.clock
        self._clock_read = self._clock.last_ns
        self._own = OwnRecords(
            directory,
            self._service_host,
            options,
            redaction_key=self._key,
            clock=self._clock,
            lock=self._lock,
            is_over=lambda: self._refusal is not None,
        )
        self._encode = EventEncoder(self._service_host, options.values, self._redactor).encode
        self._begin()
        lifetime.opened(self)

    def __repr__(self) -> str:
        return f"<Log {self.id} in {self.directory}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # Called by users -------------------------------------------------------------------------

    def emit(
        self,
        event: Event | str,
        *,
        durable: bool = False,
        timeout: dt.timedelta | float | None = None,
        **fields: Unpack[EventFields],
    ) -> Ticket:
        """Append one event: a typed one from auditlog.events, or a type by name with its fields.

        With a name of the vocabulary ``details`` hold that type's fields, and those are checked.
        The fields of an event by name: actor, resource, outcome, reason, severity, correlation_id,
        details.  A typed event carries its fields itself.

        Returns when the record is durable in immediate mode, for durable=True, and in hybrid mode
        for critical events; else at once.  ``timeout`` (seconds; default: block_timeout of the log)
        bounds every wait of the call.  Raises InvalidEvent or RecordTooLarge (nothing was queued),
        BufferFull (refused and counted), NotDurableYet (a TimeoutError: queued, and it may still
        become durable), ClockUnusable (nothing was queued), LogFailed, LogClosed, ForkedLog.
        """
        ticket, waiting = self._queue(event, fields, durable, timeout)
        if waiting is None:
            return ticket
        self._commits.await_answer(*waiting)
        return ticket.wait(0)

    async def aemit(
        self,
        event: Event | str,
        *,
        timeout: dt.timedelta | float | None = None,
        **fields: Unpack[EventFields],
    ) -> Ticket:
        """As emit with durable=True, but it never blocks the event loop and needs no thread."""
        ends_at = self._ends_at(timeout)
        if self._head.queued_bytes > self._comfortable_bytes:
            await self._room_or_timeout(ends_at)
        ticket, _ = self._queue(event, fields, True, 0.0, in_coroutine=True)
        return await ticket.await_durable(ends_at)

    def _ends_at(self, timeout: dt.timedelta | float | None) -> float:
        """The end of a wait that begins now, in monotonic seconds."""
        return time.monotonic() + (
            self._options.block_seconds if timeout is None else seconds(timeout)
        )

    async def _room_or_timeout(self, ends_at: float) -> None:
        import asyncio  # noqa: PLC0415  (see ticket.Ticket.await_durable)

        while self._head.queued_bytes > self._comfortable_bytes and time.monotonic() < ends_at:
            await asyncio.sleep(0.005)

    def flush(self, timeout: dt.timedelta | float | None = None) -> None:
        """Return when everything emitted before is durable.

        ``timeout`` in seconds, by default the log's block_timeout.  Raises NotDurableYet (a
        TimeoutError), LogFailed.
        """
        self._refuse_inside("flush")
        ends_at = self._ends_at(timeout)
        with self._lock:
            self._record_deferred()
            commits = self._head.commits
            last = commits[-1] if commits else None
        if last is not None and not self._commits.wait(last, ends_at - time.monotonic()):
            within = self._options.block_seconds if timeout is None else timeout
            raise NotDurableYet(
                f"{self.id} is not durable after {within} s",
                path=self.directory,
                hint="The events are queued. See the log's stats: the disk is slow or full.",
            )
        self._raise_failure()

    def close(self, timeout: dt.timedelta | float | None = None) -> None:
        """Make everything durable, record that the log was closed, and release it.

        ``timeout`` in seconds, by default the log's block_timeout; on a disk that reports no error
        at least 30 s.  Closing twice does nothing.  Raises LogFailed when events could not be made
        durable.
        """
        if self._closed:  # looked at without the lock: a forked child's is not usable
            return
        self._refuse_inside("close")
        with self._lock:
            if self._closed:
                return
            self._closed = True
            commit: Commit | None = None
            if self._refusal is None:
                self._record_deferred()
                self._own.record_refused()
                commit = self._own.append(log_events.closed(self._service_host))
                self._refusal = LogClosed(
                    "the log was closed before this event",
                    path=self.directory,
                    hint="Open it again.",
                )
        ends_at = self._ends_at(timeout)
        if commit is not None and not self._wait(commit, timeout):
            self._fail_stalled("the log was closed while events could not be made durable")
        self._commits.stop(max(1.0, ends_at - time.monotonic()))
        lifetime.closed(self)
        self._raise_failure()

    def reopen(self) -> None:
        """After LogFailed: recover the log and take events again, behind its last durable record.

        Events refused meanwhile are counted in the chain.  Does nothing when the log has not
        failed.  Raises LogClosed, ForkedLog, and everything that auditlog.open raises; then it may
        be called again.
        """
        with self._reopening:
            if self._closed and self._refusal is not None:
                raise self._refusal.again()
            if self._refusal is None:
                return
            self._commits.stop(1.0)
            if self._commits.running():
                raise LogFailed(
                    "the disk has not answered the last write yet",
                    path=self.directory,
                    hint="Call reopen again when it does.",
                )
            self._begin()

    def _record_successor(self, successor: str) -> None:
        """Record that another log goes on in the place of this one (see opening)."""
        with self._lock:
            body = log_events.succeeded(self._service_host, successor, self._clock.read())
            self._own.append(body)

    def stats(self) -> Stats:
        """Figures for a metrics library."""
        commits, head = self._commits, self._head
        with self._lock:
            slowest = sorted(commits.commit_seconds)
            return Stats(
                log=str(self.id),
                queued=head.queued_events,
                queued_bytes=head.queued_bytes,
                written=max(0, commits.written_seq() - self._first_seq),
                durable=max(0, commits.durable_seq - self._first_seq),
                durable_bytes=commits.durable_bytes,
                refused=self._own.refused_in_all,
                commits=commits.commits,
                last_commit_seconds=commits.commit_seconds[-1] if slowest else 0.0,
                commit_p99_seconds=slowest[int(len(slowest) * 0.99)] if slowest else 0.0,
                last_seq=head.seq,
                durable_seq=commits.durable_seq,
                space=self._own.space.level,
                failed=commits.failure is not None,
                redactions=dict(self._redactor.counts),
            )

    # From event to queue ---------------------------------------------------------------------

    def _queue(  # noqa: PLR0912  (a call for each step would cost as much as the step)
        self,
        event: Event | str,
        fields: EventFields,
        durable: bool,
        timeout: dt.timedelta | float | None,
        *,
        in_coroutine: bool = False,
    ) -> tuple[Ticket, tuple[Commit, Waiter, float | None] | None]:
        """Make the event a record; returns its ticket, and for what to wait at once, if anything.

        Waits at most ``timeout`` for room in the queue; what is left of it is for that wait.
        """
        if self._refusal is not None:
            raise self._refused_event()
        body, critical = self._encode(event, fields, context.current())
        at_once = self._immediate or durable or (critical and self._hybrid)
        if at_once and not in_coroutine:
            self._warn_in_event_loop()
        if self._interrupted():
            return self._defer(body), None
        ends_at: float | None = None  # the clock is read only where something has to be waited for
        while True:
            with self._lock:
                head = self._head
                if (
                    self._refusal is not None
                    or self._own.refused
                    or head.queued_bytes > self._comfortable_bytes
                ):
                    if ends_at is None:
                        ends_at = self._ends_at(timeout)
                    waiter = self._waiter_for_room(len(body), ends_at)
                else:
                    waiter = None
                if waiter is None:
                    try:
                        now = self._read_clock()
                    except OverflowError as error:
                        raise unusable() from error
                    if not 0 <= now - self._clock_read < _UNNOTICED_NS:
                        check_usable(now)
                        self._own.record_clock_step(now)
                    self._clock_read = now
                    commit = head.append(body, now)
                    if not at_once and (
                        len(commit.lines) in self._wake_at_events
                        or head.queued_bytes >= self._wake_at_bytes
                    ):
                        self._commits.wake()
                    ticket = Ticket(commit, self._wait_for, head.seq, head.hash)
                    if not at_once or in_coroutine:
                        return ticket, None
                    answer = self._commits.ask(commit)
                    break
            assert ends_at is not None  # noqa: S101  (for the type checker)
            waiter.sleep(ends_at - time.monotonic())
        if ends_at is not None:
            return ticket, (commit, answer, ends_at - time.monotonic())
        within = self._options.block_seconds if timeout is None else seconds(timeout)
        return ticket, (commit, answer, within)

    def _waiter_for_room(self, size: int, give_up_at: float) -> Waiter | None:
        """Return a waiter for room in the queue, None when the bytes fit; the lock is held.

        Raises BufferFull, LogFailed, LogClosed.
        """
        if self._refusal is not None:
            raise self._refused_event()
        queued_bytes = self._head.queued_bytes
        if queued_bytes + size + MAX_OVERHEAD_BYTES <= self._options.max_queue_bytes:
            self._own.record_refused()
            return None
        if time.monotonic() < give_up_at:
            return self._commits.room_waiter()
        self._own.count_refusal()
        raise BufferFull(
            f"{queued_bytes} bytes wait to become durable; the event was refused and counted",
            path=self.directory,
            hint="The disk is full or too slow: see the log's stats and free space.",
        )

    def _refused_event(self) -> AuditLogError:
        assert self._refusal is not None  # noqa: S101  (for the type checker)
        if self._commits.failure is not None and not self._closed:
            self._own.count_refusal()  # reopen records how many there were
        return self._refusal.again()

    def _defer(self, body: bytes) -> Ticket:
        """Queue the event of a signal handler that interrupted this thread inside the log's lock.

        The commit thread records it as soon as the interrupted call has given the lock back.
        """
        segment = self._head.segment
        assert segment is not None  # noqa: S101  (an open log has one)
        ticket = Ticket(Commit(segment, 0, 0), self._commits.wait, 0, "")
        self._deferred.append((body, ticket))
        self._commits.wake()
        return ticket

    def _record_deferred(self) -> None:
        """Record what signal handlers queued; the lock is held, and no handler's thread has it."""
        while self._deferred and self._head.queued_bytes <= self._comfortable_bytes:
            body, ticket = self._deferred.popleft()
            try:
                if self._refusal is not None:
                    raise self._refused_event()
                ticket.recorded(self._own.append(body), self._head.seq, self._head.hash)
            except AuditLogError as error:
                ticket.refused(error)

    def _warn_in_event_loop(self) -> None:
        asyncio = sys.modules.get("asyncio")
        if asyncio is None or self._warned_of_loop:
            return
        if asyncio._get_running_loop() is not None:  # noqa: SLF001  (documented, and raises nothing)
            self._warned_of_loop = True
            warnings.warn(
                "emit waits for the disk, and the running event loop with it;"
                " use await log.aemit(...)",
                RuntimeWarning,
                stacklevel=4,
            )

    def _refuse_inside(self, method: str) -> None:
        if self._interrupted():
            raise InvalidEvent(
                f"{method} was called from a signal handler that interrupted the log itself",
                hint=f"Set a flag in the handler and call {method} from the main program.",
            )

    # Beginning and failing -------------------------------------------------------------------

    def _begin(self) -> None:
        """Take the lock, go on behind the last record, say so in the chain and make that durable.

        Raises what ``acquire`` raises, and LogFailed.
        """
        self.id, lock, recovered = self._acquire(self._wanted)
        if self._wanted.instance == "auto":
            self._wanted = self.id  # reopen keeps the slot
        self._head = ChainHead(
            self.id,
            self._service_host,
            self._options.max_segment_bytes,
            Salts().member,
            self._options.max_segment_age_ns,
        )
        self._commits = GroupCommit(
            self.directory,
            self._head,
            self._options.flush,
            self._lock,
            file_mode=self._options.file_mode,
            admit=self._record_deferred,
            tick=self._own.tick,
            failed=self._refuse,
            ended=lock.release,
        )
        self._wait_for = self._commits.wait
        self._file_lock = lock
        self._first_seq = recovered.seq
        self._own.begin(self._head, self._commits)
        try:
            commit = self._own.record_opening(self.id, recovered)
            self._commits.start()
            if not self._wait(commit, None):
                self._fail_stalled("the log's first records could not be made durable")
            self._raise_failure()
        except BaseException:
            self._commits.stop(1.0)
            raise
        self._refusal = None

    def _wait(self, commit: Commit, timeout: dt.timedelta | float | None) -> bool:
        """Wait when the log is opened or closed; whether the commit is done.

        A short block_timeout is meant for emit: unless the caller has given a ``timeout`` of its
        own, a disk that is only slow has longer.
        """
        within = seconds(timeout)
        if within is not None:
            return self._commits.wait(commit, within)
        return self._commits.wait(commit, self._options.block_seconds) or (
            self._commits.stalled_by is None and self._commits.wait(commit, _PATIENT_SECONDS)
        )

    def _fail_stalled(self, reason: str) -> None:
        stalled = self._commits.stalled_by
        self._commits.fail(
            LogFailed(
                reason,
                path=self.directory,
                errno=None if stalled is None else stalled.errno,
                hint="Free disk space, then open the log again.",
            )
        )

    def _raise_failure(self) -> None:
        if (failure := self._commits.failure) is not None:
            raise failure.again()

    def _refuse(self, failure: AuditLogError) -> None:
        """The log has failed: from now on every event gets this error."""
        self._refusal = failure

    def disown(self) -> None:
        """In a forked child: the parent goes on writing, the child's copy never does."""
        self._closed = True
        self._refusal = ForkedLog(
            "this log belongs to the parent process",
            path=self.directory,
            hint='Open it in the child, after the fork, with instance="auto" or one of its own.',
        )
        self._file_lock.abandon()
        self._lock = threading.RLock()  # the old one may be held by a thread that was not copied
        self._commits.forget(self._refusal, self._lock)
