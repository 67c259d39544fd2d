"""Write queued commits to disk on one thread, and wake the callers that wait for them.

Callers queue records and wait; the commit thread takes the oldest commit, writes it with one
write(2), syncs it, resolves its tickets and takes the next.  Everything queued while a sync runs
goes out with the next one (group commit).  No caller ever touches the file: each can bound its wait
however slow the disk is, and an exception from a signal handler cannot break off a write.

Invariants (tests of the same name in tests/auditlog/writer/test_group_commit.py):
  in_order     commits become durable in the order of their records
  poisoned     after a failed write or sync nothing is ever written or synced again
  disk_full    ENOSPC and EDQUOT lose nothing: the partial line is cut, the queue kept, retried
  noted        the newest segment with a durable record is noted, so that its loss is noticed
  interrupted  an exception from a signal handler in a waiting caller stops nobody else
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError, LogFailed, NotDurableYet
from auditlog.reading.head_note import remember_head
from auditlog.writer.active_segment import DISK_FULL, ActiveSegment
from auditlog.writer.ticket import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditlog.writer.chain_head import ChainHead
    from auditlog.writer.flush_policy import FlushPolicy
    from auditlog.writer.ticket import Commit

__all__ = ["GroupCommit", "owned_by_caller"]

_TICK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)

_logger = logging.getLogger("auditlog")


def owned_by_caller(lock: threading.RLock) -> Callable[[], bool]:
    """Return a function that tells whether the calling thread holds the lock.

    A caller that has it already is a signal handler (or a finalizer) that has interrupted our code.
    """
    # The only method for this; threading.Condition relies on it for every lock, too.
    owned: Callable[[], bool] = lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001  (see above)
    return owned


class GroupCommit:
    """Makes the commits of ``head`` durable, in order, on a thread of its own.

    ``lock`` guards ``head`` and this object.  The thread calls ``admit`` with the lock held before
    it looks for work, ``tick`` without it about once a second, ``failed`` with it when the log has
    failed, and ``ended`` when it has closed the file for good.
    """

    def __init__(
        self,
        directory: Path,
        head: ChainHead,
        policy: FlushPolicy,
        lock: threading.RLock,
        *,
        file_mode: int,
        admit: Callable[[], None],
        tick: Callable[[], None],
        failed: Callable[[AuditLogError], None],
        ended: Callable[[], None],
    ) -> None:
        self._directory = directory
        self._head = head
        self._policy = policy
        self._lock = lock
        self._interrupted = owned_by_caller(lock)
        self._file_mode = file_mode
        self._admit = admit
        self._tick = tick
        self._failed = failed
        self._ended = ended
        self._segment: ActiveSegment | None = None
        self._note_due = False
        self.failure: AuditLogError | None = None
        self.stalled_by: OSError | None = None
        self._retries = 0
        self._retry_at = -math.inf
        self.durable_seq = self.durable_bytes = 0
        self.commits = 0
        self.commit_seconds: deque[float] = deque(maxlen=1024)
        self._woken = 0  # callers that the last commit woke
        self._room_waiters: list[Waiter] = []
        self._stopping = False
        # Not a threading.Event: an exception that a signal handler raises inside one leaves its
        # inner lock held for ever.
        self._wake = Waiter()
        self._thread = threading.Thread(
            target=self._run, name=f"auditlog-commit-{head.log}", daemon=True
        )

    def start(self) -> None:
        self._thread.start()

    # Called by the threads that emit ---------------------------------------------------------

    def wait(self, commit: Commit, timeout: float | None) -> bool:
        """Ask for the commit and wait for it, at most ``timeout`` seconds (None: without a bound).

        Returns whether it is done.  With 0 it only asks.
        """
        if commit.done:
            return True
        if self._interrupted():
            raise NotDurableYet(
                "the record cannot be waited for in a signal handler that interrupted the log",
                hint="It is queued; wait for the ticket in the main program.",
            )
        with self._lock:
            if commit.done:
                return True
            if timeout is not None and timeout <= 0:
                self._urge(commit)
                return False
            waiter = self.ask(commit)
        return self.await_answer(commit, waiter, timeout)

    def ask(self, commit: Commit) -> Waiter:
        """Ask for a commit that is not done; called with the lock held.

        Returns a waiter for await_answer.  Who has the lock anyway need not take it for wait again.
        """
        self._urge(commit)
        waiter = Waiter()
        commit.waiters.append(waiter)
        return waiter

    def await_answer(self, commit: Commit, waiter: Waiter, timeout: float | None) -> bool:
        """Wait at most ``timeout`` seconds for the commit; return whether it is done."""
        if not waiter.sleep(timeout):
            with self._lock:
                if waiter in commit.waiters:
                    commit.waiters.remove(waiter)
        return commit.done

    def _urge(self, commit: Commit) -> None:
        if not commit.urgent:  # else the thread has been told
            commit.urgent = True
            self._wake.wake()

    def wake(self) -> None:
        """Let the thread look for work; called with the lock held."""
        self._wake.wake()

    def room_waiter(self) -> Waiter:
        """A waiter that is woken when the queue has become shorter; called with the lock held."""
        waiter = Waiter()
        self._room_waiters.append(waiter)
        return waiter

    def written_seq(self) -> int:
        """Number of the newest record that write(2) took; called with the lock held."""
        commits, segment = self._head.commits, self._segment
        if (
            commits
            and segment is not None
            and segment.name is commits[0].segment
            and segment.written >= commits[0].end
        ):
            return commits[0].last_seq
        return self.durable_seq

    def fail(self, error: AuditLogError) -> None:
        """Poison the log: every pending and later record gets this error."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = error
            self._failed(error)
            while self._head.commits:
                commit = self._head.oldest()
                self._head.finished(commit)
                commit.resolve(error)
            self._wake_for_room()
        _logger.error("%s: the log takes no more events: %s", self._head.log, error)

    def stop(self, timeout: float) -> None:
        """End the thread, which closes the file; nothing may be queued any more.

        A thread that hangs in a system call is left behind after ``timeout`` seconds; it ends, and
        says so, when the call returns.
        """
        with self._lock:
            self._stopping = True
            self._wake.wake()
        if self._thread.ident is None:
            self._ended()
        elif self._thread is not threading.current_thread():
            self._thread.join(min(timeout, threading.TIMEOUT_MAX))

    def running(self) -> bool:
        return self._thread.is_alive()

    def forget(self, error: AuditLogError, lock: threading.RLock) -> None:
        """In a forked child, which has no commit thread: nothing queued is ever written by it."""
        self._lock = lock
        self.failure = error
        for commit in self._head.commits:
            commit.error, commit.done = error, True
        self._head.commits.clear()
        if self._segment is not None:
            self._segment.close()

    # On the commit thread --------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._work()
        except BaseException as error:  # otherwise every caller would wait for ever
            _logger.exception("%s: the commit thread has ended", self._head.log)
            self.fail(
                LogFailed(
                    f"the commit thread ended with {type(error).__name__}",
                    path=self._directory,
                    hint="This is a mistake in auditlog; please report it, and open the log again.",
                )
            )
        finally:
            if self._segment is not None:
                self._segment.close()
            self._ended()

    def _work(self) -> None:
        next_tick = time.monotonic() + _TICK_SECONDS
        while True:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                self._look()
            with self._lock:
                self._admit()
                due_at = self._due_at()
                if self._stopping and due_at > now:
                    return
            if due_at > now:
                self._wake.sleep(min(due_at, next_tick) - now)
            else:
                self._gather()
                self._commit()

    def _due_at(self) -> float:
        """When (monotonic seconds) the oldest commit has to be written; the lock is held."""
        commits = self._head.commits
        if not commits:
            return math.inf
        if self.stalled_by is not None:
            return math.inf if self._stopping else self._retry_at
        for commit in commits:  # nearly always one: any() would cost more than the look
            if commit.urgent:
                return -math.inf
        return self._policy.due_at(
            commits[0].queued_at,
            events=self._head.queued_events,
            queued_bytes=self._head.queued_bytes,
        )

    def _gather(self) -> None:
        """Give the callers that the last commit woke time to queue their next record.

        Else the first of them would get a commit to itself while the others wait through a sync.
        Ends when as many records are queued, or after half the time of the last commit.
        """
        if self._head.queued_events >= self._woken or not self.commit_seconds:
            return
        give_up_at = time.perf_counter() + self.commit_seconds[-1] / 2
        while self._head.queued_events < self._woken and time.perf_counter() < give_up_at:
            time.sleep(0)  # lets another thread have the interpreter

    def _commit(self) -> None:
        """Write the oldest commit and wake its callers with the result."""
        with self._lock:
            if self.failure is not None:
                return
            commit = self._head.oldest()
        began = time.perf_counter()
        try:
            self._write(commit)
        except OSError as error:
            self._after_error(error, commit)
            return
        except AuditLogError as error:
            self.fail(error)
            return
        seconds = time.perf_counter() - began
        with self._lock:
            if self.failure is not None:  # close gave up on it while the disk hung
                return
            self.commit_seconds.append(seconds)
            self.commits += 1
            self.durable_seq = commit.last_seq
            self.durable_bytes += commit.size
            self._woken = commit.awaited_by()
            self._head.finished(commit)
            commit.resolve(None)
            self._wake_for_room()
            retried, self.stalled_by, self._retries = self._retries, None, 0
        if retried:
            _logger.warning("%s: space has returned; writing goes on", self._head.log)

    def _write(self, commit: Commit) -> None:
        """Make a commit durable.  Raises OSError, LogFailed, UnsafePath."""
        segment = self._segment
        if segment is None or segment.name is not commit.segment:
            if segment is not None:
                segment.close()
            self._segment = None
            self._segment = segment = ActiveSegment(
                self._directory, commit.segment, commit.offset, self._file_mode
            )
            self._note_due = True
        segment.append(b"".join(commit.lines), commit.offset)
        if self._note_due:
            try:
                remember_head(self._directory, segment.name)
                self._note_due = False
            except OSError as error:
                if error.errno not in DISK_FULL:
                    raise
                # The records themselves are durable; the next commit tries the note again.

    def _after_error(self, error: OSError, commit: Commit) -> None:
        """Retry later where the disk is full and the file is as before, else fail the log."""
        segment = self._segment
        try:
            if segment is not None:
                # Also after a failed sync: the kernel still shows records that are not on the disk,
                # and recovery would build on them.
                segment.cut_back()
        except OSError as second:
            error = second if error.errno in DISK_FULL else error
        else:
            if error.errno in DISK_FULL:
                self._stall(error)
                return
        self.fail(
            LogFailed(
                "records could not be made durable",
                path=self._directory / commit.segment.logical,
                offset=commit.offset,
                errno=error.errno,
                hint="Mend the disk or the directory, then call reopen() or open the log again;"
                " it goes on behind the last durable record.",
            )
        )

    def _stall(self, error: OSError) -> None:
        delay = _RETRY_SECONDS[min(self._retries, len(_RETRY_SECONDS) - 1)]
        with self._lock:
            self._retry_at = time.monotonic() + delay
            self.stalled_by = error
            self._retries += 1
        if self._retries == 1:
            _logger.error(
                "%s: the disk is full; events wait in memory until space returns: %s",
                self._head.log,
                error,
            )

    def _look(self) -> None:
        """Notice within a second that the file was removed, replaced or changed by others."""
        if self.failure is not None:
            return
        if self._segment is not None:
            try:
                self._segment.check()
            except AuditLogError as error:
                self.fail(error)
                return
            except OSError as error:
                self.fail(
                    LogFailed(
                        "the segment can no longer be looked at",
                        path=self._segment.path,
                        errno=error.errno,
                        hint="Mend the directory, then open the log again.",
                    )
                )
                return
        self._tick()

    def _wake_for_room(self) -> None:
        for waiter in self._room_waiters:
            waiter.wake()
        self._room_waiters.clear()
