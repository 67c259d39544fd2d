"""Make queued commits durable, in order: group commit led by whoever waits.

A thread that needs its record durable and finds nobody committing leads: it writes the oldest
commit, syncs it, wakes those who wait for it, and so on until its own is done.  Everything queued
while a sync ran goes out with the next.  Where nobody waits (batched), or whoever waits must not
block (asyncio) or the disk is full, a background thread, the keeper, leads; once a second it also
looks after the log (see Log).

Invariants (tests of the same name in tests/auditlog/writer/test_group_commit.py):
  in_order     commits become durable in the order of their records
  poisoned     after a failed write or sync nothing is ever written or synced again
  lost_leader  a leader that a signal handler threw out is replaced within a second or so
  disk_full    ENOSPC and EDQUOT lose nothing: the partial line is cut, the queue kept, retried
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from auditlog.errors import AuditLogError, LogFailed
from auditlog.writer.log_end import LogEnd
from auditlog.writer.ticket import Commit, Waiter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from auditlog.writer.chain_head import Pending
    from auditlog.writer.flush_policy import FlushPolicy

__all__ = ["Committer"]

_TICK_SECONDS: Final = 1.0
_RETRY_SECONDS: Final = (0.05, 0.1, 0.2, 0.5, 1.0)

_logger = logging.getLogger("auditlog")


class Committer:
    """Takes commits from ``pending`` and makes them durable.

    ``lock`` guards both; ``room`` is notified when the queue shrinks, for whoever has set
    ``room_wanted``.  ``tick`` is called by the keeper about once a second, without the lock;
    ``failed`` once, with it, when the log has failed.
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
        self._pending = pending
        self._policy = policy
        self._lock = lock
        self._tick = tick
        self._failed = failed
        self.room = threading.Condition(lock)
        self.room_wanted = False
        self._end = LogEnd(directory, file_mode)
        self.failure: AuditLogError | None = None
        self.durable_seq = self.durable_bytes = 0
        self.stalled_by: OSError | None = None
        self.commit_seconds: deque[float] = deque(maxlen=1024)
        self.commits = 0
        self._crowd = 0
        self._retries = 0
        self._retry_at = 0.0
        self._leader: Waiter | None = None
        self._leader_thread: int | None = None
        self._keepers_own = Waiter()
        # No threading.Event: what a signal handler raises inside one leaves its lock held for ever.
        self._wake = Waiter()
        self._wake.arm()
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
                    self._lead(me, commit)
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
            me.arm()
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
        return self._leader_thread == threading.get_ident() and self._leads()

    def _leads(self) -> bool:
        """Whether the thread that took the lead is still about it.

        Two exceptions from signal handlers in a row, the second where the first would have made it
        pass the lead on, throw a thread out of wait while it is still called the leader.
        """
        thread = self._leader_thread
        frame = None if thread is None else sys._current_frames().get(thread)  # noqa: SLF001  (documented)
        while frame is not None:
            if frame.f_code is _WAIT and frame.f_locals.get("me") is self._leader:
                return True
            frame = frame.f_back
        return False

    def _take_lead(self, me: Waiter, commit: Commit) -> bool:
        """Whether the caller leads now; else it is among those who are woken."""
        thread = threading.get_ident()
        with self._lock:
            if self._leader_thread == thread:
                if self._leads():
                    raise LogFailed(
                        "a signal handler waits for a commit that the code it interrupted is"
                        " making",
                        hint="Emit from the main program, or do not wait in a signal handler.",
                    )
                self._leader = None
            if self._leader is None and self.stalled_by is None:
                self._leader_thread = thread
                self._leader = me
                return True
            if not commit.done and me not in commit.waiters:
                me.arm()
                commit.waiters.append(me)
            return commit.done and self._leader is me

    def _leave(self, me: Waiter, commit: Commit) -> None:
        if self._leader is not me and me not in commit.waiters and not me.woken():
            return  # nearly always: it led, or was woken because its commit is done
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
        self._end.close()

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
        self._end.close()

    def written_seq(self) -> int:
        """Number of the newest record that write(2) took; called with the lock held."""
        commits = self._pending.commits
        if commits and self._end.has_written(commits[0]):
            return commits[0].last_seq
        return self.durable_seq

    def wake_keeper(self) -> None:
        """Have the keeper look whether something is due; called with the lock held."""
        self._wake.wake()

    def _lead(self, me: Waiter, until: Commit) -> None:
        """Commit in order until ``until`` is done, then pass the lead on; the caller has it."""
        while not until.done:
            if self._crowd:
                self._gather(until)
            with self._lock:
                if self.stalled_by is not None or not self._pending.commits:
                    break
                commit = self._pending.oldest()
            outcome = self._write(commit)
            with self._lock:
                self._settle(commit, outcome)
                if outcome is None and until.done:
                    self._pass_on(me)
                    return
            if isinstance(outcome, AuditLogError):
                self.fail(outcome)  # before anybody else can take the lead
        self._pass_on(me)

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
        """Tell everyone how the write ended; the lock is held."""
        if isinstance(outcome, OSError):
            self._stall(outcome)
            return
        if outcome is None:
            self.durable_seq = commit.last_seq
            self.durable_bytes += commit.size
        self._crowd = len(commit.waiters)
        commit.resolve(outcome)
        self._pending.finished(commit)
        if self.room_wanted:
            self.room_wanted = False
            self.room.notify_all()

    def _stall(self, error: OSError) -> None:
        if self._retries == 0:
            _logger.error(
                "%s: the disk is full; events wait in memory until space returns: %s",
                self._pending.log,
                error,
            )
        delay = _RETRY_SECONDS[min(self._retries, len(_RETRY_SECONDS) - 1)]
        self._retry_at = time.monotonic() + delay
        self._retries += 1
        self.stalled_by = error

    def _write(self, commit: Commit) -> OSError | AuditLogError | None:
        """Make it durable.  Returns None, the OSError of a full disk, or why the log has failed."""
        if self.failure is not None:
            return self.failure
        began = time.perf_counter()
        outcome = self._end.write(commit)
        if outcome is None:
            self.commit_seconds.append(time.perf_counter() - began)
            self.commits += 1
        return outcome

    def _keep(self) -> None:
        next_tick = time.monotonic() + _TICK_SECONDS
        while not self._stopping:
            self._wake.sleep(min(next_tick, self._deadline()) - time.monotonic())
            self._lead_if_due()
            if time.monotonic() >= next_tick and not self._stopping:
                next_tick = time.monotonic() + _TICK_SECONDS
                self._replace_a_lost_leader()
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
        self._lead(self._keepers_own, last)
        if self.stalled_by is None and self._retries:
            self._retries = 0
            if self.failure is None:
                _logger.warning("%s: space has returned; writing goes on", self._pending.log)

    def _replace_a_lost_leader(self) -> None:
        """What a signal handler broke off twice in a row: nobody leads, or nobody woken came."""
        with self._lock:
            if self._leader is not None and self._leader is not self._keepers_own:
                if self._leads():
                    return
                self._leader = self._leader_thread = None
            if self._leader is None:
                self._wake_next()

    def _look(self) -> None:
        """What has to be noticed although nobody writes."""
        with self._lock:
            if self._leader is not None or self.failure is not None:
                return
            self._leader = self._keepers_own
        try:
            failure = self._end.look()
            if failure is not None:
                self.fail(failure)
        finally:
            self._pass_on(self._keepers_own)
        if self.failure is None:
            self._tick()


_WAIT: Final = Committer.wait.__code__
"""What a thread that leads runs somewhere down its stack."""
