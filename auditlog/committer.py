"""Make queued commits durable, in order: group commit led by whoever waits.

A thread that needs its record durable and finds nobody committing leads: it writes the oldest
commit, syncs it, wakes those who wait for it, and so on until its own is done.  Everything queued
while a sync ran goes out with the next.  Where nobody waits (batched), or whoever waits must not
block (asyncio) or the disk is full, a background thread, the keeper, leads; once a second it also
looks after the log (see Log).

Invariants (tests of the same name in tests/auditlog/test_committer.py):
  in_order     commits become durable in the order of their records
  poisoned     after a failed write or sync nothing is ever written or synced again
  disk_full    ENOSPC and EDQUOT lose nothing: the partial line is cut, the queue kept, retried
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from auditlog.active_segment import DISK_FULL, ActiveSegment
from auditlog.errors import AuditLogError, LogFailed
from auditlog.recovery import remember_head
from auditlog.ticket import Commit, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditlog.flush_policy import FlushPolicy
    from auditlog.pending import Pending

__all__ = ["Committer"]

_TICK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)

_logger = logging.getLogger("auditlog")


class Committer:
    """Takes commits from ``pending`` and makes them durable.

    ``lock`` guards both; ``room`` is notified when the queue shrinks.  ``tick`` is called by the
    keeper about once a second, without the lock; ``failed`` once, with it, when the log has failed.
    """

    def __init__(
        self,
        directory: Path,
        pending: Pending,
        policy: FlushPolicy,
        lock: threading.RLock,
        *,
        file_mode: int,
        tick: Callable[[], None],
        failed: Callable[[AuditLogError], None],
    ) -> None:
        self._directory = directory
        self._pending = pending
        self._policy = policy
        self._lock = lock
        self._file_mode = file_mode
        self._tick = tick
        self._failed = failed
        self.room = threading.Condition(lock)
        self.segment: ActiveSegment | None = None
        self.failure: AuditLogError | None = None
        self.durable_seq = 0
        self.stalled_by: OSError | None = None
        self.commit_seconds: deque[float] = deque(maxlen=1024)
        self.commits = 0
        self._crowd = 0
        self._retries = 0
        self._retry_at = 0.0
        self._head_due = False
        self._leader: Waiter | None = None
        self._leader_thread: int | None = None
        self._keepers_own = Waiter()
        # No threading.Event: what a signal handler raises inside one leaves its lock held for ever.
        self._wake = Waiter()
        self._stopping = False
        self._keeper = threading.Thread(
            target=self._keep, name=f"auditlog-keeper-{pending.log}", daemon=True
        )

    def start(self) -> None:
        self._keeper.start()

    def wait(self, commit: Commit, timeout: float | None) -> bool:
        """Return True once the commit is done, False when it is not after ``timeout`` seconds.

        Without a timeout the caller leads the commit where nobody else does; with one the keeper
        is asked to, since whoever leads is as slow as the disk.  A signal handler may raise
        anywhere in here: leadership is passed on all the same.
        """
        if commit.done:
            return True
        if timeout is not None:
            return self._watch(commit, timeout)
        me = Waiter()
        try:
            while not commit.done:
                if self._take_lead(me, commit):
                    self._lead(commit)
                    self._pass_on(me)
                elif not commit.done:
                    me.sleep(None)
        finally:
            self._leave(me, commit)
        return commit.done

    def _watch(self, commit: Commit, timeout: float) -> bool:
        me = Waiter()
        with self._lock:
            if commit.done:
                return True
            commit.urgent = True
            self.wake_keeper()
            if timeout <= 0:
                return False
            commit.watchers.append(me)
        try:
            me.sleep(timeout)
        finally:
            with self._lock:
                if me in commit.watchers:
                    commit.watchers.remove(me)
        return commit.done

    def led_by_this_thread(self) -> bool:
        """Whether the caller is, in a signal handler, behind a commit that its thread is making."""
        return self._leader_thread == threading.get_ident()

    def _take_lead(self, me: Waiter, commit: Commit) -> bool:
        """Whether the caller leads now; else it is among those who are woken."""
        with self._lock:
            if self._leader is None and self.stalled_by is None:
                self._leader_thread = threading.get_ident()
                self._leader = me
                return True
            if self.led_by_this_thread():
                raise LogFailed(
                    "a signal handler waits for a commit that the code it interrupted is making",
                    hint="Emit from the main program, or do not wait in a signal handler.",
                )
            if not commit.done and me not in commit.waiters:
                commit.waiters.append(me)
            return commit.done and self._leader is me

    def _leave(self, me: Waiter, commit: Commit) -> None:
        if self._leader is not me and me not in commit.waiters and not me.woken():
            return  # nearly always: it was woken because its commit is done
        with self._lock:
            if me in commit.waiters:
                commit.waiters.remove(me)
            elif me.woken():
                self._wake_next()  # woken to lead, and going without having done so
        self._pass_on(me)

    def stop(self) -> None:
        """End the keeper; nothing may be queued any more."""
        with self._lock:
            self._stopping = True
            self._wake.wake()
        if self._keeper is not threading.current_thread() and self._keeper.ident is not None:
            self._keeper.join()
        if self.segment is not None:
            self.segment.close()

    def fail(self, error: AuditLogError) -> None:
        """Poison the log: every pending and later record gets this error."""
        with self._lock:
            if self.failure is not None:
                return
            self.failure = error
            self._failed(error)
            while self._pending.commits:
                commit = self._pending.oldest()
                self._pending.finished(commit)
                commit.resolve(error)
            self.room.notify_all()
        _logger.error("%s: the log takes no more events: %s", self._pending.log, error)

    def forget(self, error: AuditLogError, lock: threading.RLock) -> None:
        """In a forked child: nothing queued here is ever written by it."""
        self._lock = lock
        self.failure = error
        for commit in self._pending.commits:
            commit.error, commit.done = error, True
        self._pending.commits.clear()
        if self.segment is not None:
            self.segment.close()

    def wake_keeper(self) -> None:
        """Have the keeper look whether something is due; called with the lock held."""
        self._wake.wake()

    def _lead(self, until: Commit) -> None:
        """Commit in order until ``until`` is done; the caller is the leader."""
        while not until.done:
            self._gather(until)
            with self._lock:
                if self.stalled_by is not None or not self._pending.commits:
                    return
                commit = self._pending.oldest()
            self._settle(commit, self._write(commit))

    def _gather(self, commit: Commit) -> None:
        """Let those who waited for the commit before queue their next record, if they have one.

        Woken together, the first of them would otherwise lead a commit of its record alone and
        have all others wait through a sync.  Each turn gives the interpreter to another thread.
        """
        for _ in range(self._crowd):
            if commit.events >= self._crowd:
                return
            time.sleep(0)

    def _pass_on(self, me: Waiter) -> None:
        """If the caller leads: no longer, and whoever waits first is woken to take over."""
        with self._lock:
            if self._leader is me:
                self._wake_next()
                self._leader_thread = None
                self._leader = None

    def _wake_next(self) -> None:
        """The first thread that waits; the keeper where only time or futures do."""
        if self.stalled_by is None:
            for commit in self._pending.commits:
                if commit.waiters:
                    commit.waiters.pop(0).wake()
                    return
        if self._pending.commits:
            self.wake_keeper()

    def _settle(self, commit: Commit, outcome: OSError | AuditLogError | None) -> None:
        if isinstance(outcome, OSError):
            with self._lock:
                if self._retries == 0:
                    _logger.error(
                        "%s: the disk is full; events wait in memory until space returns: %s",
                        self._pending.log,
                        outcome,
                    )
                delay = _RETRY_SECONDS[min(self._retries, len(_RETRY_SECONDS) - 1)]
                self._retry_at = time.monotonic() + delay
                self._retries += 1
                self.stalled_by = outcome
            return
        with self._lock:
            if outcome is None:
                self.durable_seq = commit.last_seq
            self._crowd = len(commit.waiters)
            commit.resolve(outcome)
            self._pending.finished(commit)
            self.room.notify_all()
        if outcome is not None:
            self.fail(outcome)

    def _write(self, commit: Commit) -> OSError | AuditLogError | None:
        """Make it durable.  Returns None, the OSError of a full disk, or why the log has failed."""
        if self.failure is not None:
            return self.failure
        began = time.perf_counter()
        segment = self.segment
        try:
            if segment is None or segment.name != commit.segment:
                if segment is not None:
                    segment.close()
                self.segment = None
                segment = ActiveSegment(
                    self._directory, commit.segment, commit.offset, self._file_mode
                )
                self.segment = segment
                self._head_due = True
            segment.append(b"".join(commit.lines), commit.offset)
            if self._head_due:
                self._remember_head(segment)
        except OSError as error:
            return self._after_error(error, commit)
        except AuditLogError as error:
            return error
        self.commit_seconds.append(time.perf_counter() - began)
        self.commits += 1
        return None

    def _remember_head(self, segment: ActiveSegment) -> None:
        try:
            remember_head(self._directory, segment.name)
            self._head_due = False
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            # The records themselves are durable; the note is tried again with the next commit.

    def _after_error(self, error: OSError, commit: Commit) -> OSError | AuditLogError:
        segment = self.segment
        path = self._directory / commit.segment.logical
        try:
            if segment is not None:
                # Whatever failed: after a failed sync the kernel still shows records that are not
                # on the disk, and recovery would build on them.
                segment.cut_back()
        except OSError as second:
            error = second if error.errno in DISK_FULL else error
        else:
            if error.errno in DISK_FULL:
                return error
        if segment is not None:
            segment.close()
        return LogFailed(
            "records could not be made durable",
            path=path,
            offset=commit.offset,
            errno=error.errno,
            hint="Mend the disk or the directory, then open the log again;"
            " it goes on behind the last durable record.",
        )

    def _keep(self) -> None:
        next_tick = time.monotonic() + _TICK_SECONDS
        while not self._stopping:
            self._wake.sleep(min(next_tick, self._deadline()) - time.monotonic())
            self._lead_if_due()
            if time.monotonic() >= next_tick and not self._stopping:
                next_tick = time.monotonic() + _TICK_SECONDS
                self._look()

    def _deadline(self) -> float:
        """When (monotonic seconds) something has to be committed that nobody leads."""
        with self._lock:
            if self.stalled_by is not None:
                return self._retry_at
            if not self._pending.commits or self._leader is not None:
                return float("inf")
            oldest = self._pending.commits[0]
            if oldest.urgent:
                return 0.0
            return oldest.queued_at + self._policy.max_delay.total_seconds()

    def _lead_if_due(self) -> None:
        with self._lock:
            commits = self._pending.commits
            if not commits or self._leader is not None:
                return
            if self.stalled_by is not None:
                if time.monotonic() < self._retry_at:
                    return
                self.stalled_by = None
            elif not (
                any(commit.urgent for commit in commits)
                or self._policy.due(
                    events=self._pending.queued_events,
                    queued_bytes=self._pending.queued_bytes,
                    age_seconds=time.monotonic() - commits[0].queued_at,
                )
            ):
                return
            self._leader = self._keepers_own
            last = commits[-1]
        self._lead(last)
        self._pass_on(self._keepers_own)
        if self.stalled_by is None and self._retries:
            self._retries = 0
            if self.failure is None:
                _logger.warning("%s: space has returned; writing goes on", self._pending.log)

    def _look(self) -> None:
        """What has to be noticed although nobody writes."""
        with self._lock:
            if self._leader is not None or self.failure is not None or self.segment is None:
                return
            self._leader = self._keepers_own
        try:
            self.segment.mend()
            self.segment.check()
        except AuditLogError as error:
            self.fail(error)
        except OSError as error:
            self.fail(
                LogFailed(
                    "the segment can no longer be looked at",
                    path=self.segment.path,
                    errno=error.errno,
                    hint="Mend the directory, then open the log again.",
                )
            )
        finally:
            self._pass_on(self._keepers_own)
        if self.failure is None:
            self._tick()
