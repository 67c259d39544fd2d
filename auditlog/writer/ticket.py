"""Define tickets: they let a caller wait until a record is durable.

A Commit is the unit that becomes durable as a whole: lines of one segment, written with one
write(2) and one fdatasync(2).  All its tickets resolve when the lines, and for a new segment the
directory entry too, are on disk; or they raise the reason why they never will be.

Invariants (tests of the same name in tests/auditlog/writer/test_ticket.py):
  durable_only   a ticket is done only when its record is durable, or can never be
  own_loop       futures are resolved on the event loop that awaits them, not on the commit thread
"""

from __future__ import annotations

import datetime as dt
import math
import sys
import threading
import time
from _thread import allocate_lock
from contextlib import suppress
from typing import TYPE_CHECKING, Self, overload

from auditlog.errors import AuditLogError, NotDurableYet

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from auditlog.format.segment_names import SegmentName

__all__ = ["Commit", "Ticket", "Waiter", "seconds"]


class Waiter:
    """A thread's sleep that another one ends: a lock that is held until then."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def wake(self) -> None:
        """End the sleep, or the next one; called by one thread at a time."""
        if self._lock.locked():
            with suppress(RuntimeError):  # a signal handler came in between, and woke it
                self._lock.release()

    def sleep(self, timeout: float | None) -> bool:
        """Returns False when nobody woke it within ``timeout`` seconds (None: without a bound)."""
        if timeout is None:
            return self._lock.acquire()
        return self._lock.acquire(timeout=min(max(0.0, timeout), threading.TIMEOUT_MAX))


class Commit:
    """Lines that become durable together: ``lines`` of ``segment`` from ``offset`` to ``end``.

    ``first_seq`` is the number of the first, which was queued at ``queued_at`` (monotonic seconds);
    ``urgent`` says that somebody waits for it.
    """

    __slots__ = (
        "done",
        "end",
        "error",
        "first_seq",
        "lines",
        "loops",
        "offset",
        "queued_at",
        "segment",
        "urgent",
        "waiters",
    )

    def __init__(self, segment: SegmentName, offset: int, first_seq: int) -> None:
        self.segment = segment
        self.offset = self.end = offset
        self.first_seq = first_seq
        self.queued_at = time.monotonic()
        self.lines: list[bytes] = []
        self.urgent = False
        self.done = False
        self.error: AuditLogError | None = None
        self.waiters: list[Waiter] = []
        self.loops: dict[asyncio.AbstractEventLoop, _Awaiting] = {}

    @property
    def size(self) -> int:
        return self.end - self.offset

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.lines) - 1

    def awaited_by(self) -> int:
        """How many threads and coroutines wait for it."""
        number = len(self.waiters)
        for loop in list(self.loops.values()):
            number += len(loop.futures)
        return number

    def resolve(self, error: AuditLogError | None) -> None:
        """Tell everyone who waits; called once, with the log's lock held."""
        self.error = error
        self.done = True
        for waiter in self.waiters:
            waiter.wake()
        self.waiters.clear()
        for loop, awaiting in list(self.loops.items()):
            try:
                loop.call_soon_threadsafe(awaiting.resolve)
            except RuntimeError:
                # The loop was closed while the commit ran: nobody is left to be told.
                continue


class _Awaiting:
    """The coroutines of one event loop that await a commit, with one timer for all of them.

    A timer for each would cost as much as the rest of awaiting.  Used on the loop's thread only.
    """

    __slots__ = ("_timer", "checked_at", "futures")

    def __init__(self) -> None:
        self.futures: list[asyncio.Future[None]] = []
        self._timer: asyncio.TimerHandle | None = None
        self.checked_at = math.inf

    def check_at(self, deadline: float, loop: asyncio.AbstractEventLoop) -> None:
        """Wake all at the deadline (monotonic seconds), so that each can look at its own."""
        if self._timer is not None:
            self._timer.cancel()
        self.checked_at = deadline
        # A little late: the deadlines that follow closely are then looked at together.
        self._timer = loop.call_later(deadline - time.monotonic() + 0.01, self.resolve)

    def resolve(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self.checked_at = None, math.inf
        for future in self.futures:
            if not future.done():
                future.set_result(None)
        self.futures.clear()


class Ticket:
    """The result of emit: ``log``, ``seq`` and ``hash`` of the record, and when it is durable.

    >>> ticket = log.emit("pool.drained")        # doctest: +SKIP
    >>> ticket.wait(timeout=5).seq               # doctest: +SKIP
    """

    __slots__ = ("_commit", "_wait", "hash", "seq")

    def __init__(
        self,
        commit: Commit,
        wait: Callable[[Commit, float | None], bool],
        seq: int,
        record_hash: str,
    ) -> None:
        self._commit = commit
        self._wait = wait
        self.seq = seq
        self.hash = record_hash

    @property
    def log(self) -> str:
        return str(self._commit.segment.log)

    def __repr__(self) -> str:
        state = (
            "pending" if not self._commit.done else "failed" if self._commit.error else "durable"
        )
        return f"<Ticket {self.log} seq {self.seq} {state}>"

    def done(self) -> bool:
        """Whether the record is durable, or never will be; wait tells which, without waiting."""
        return self._commit.done

    def wait(self, timeout: dt.timedelta | float | None = None) -> Self:
        """Return when the record is durable.

        ``timeout`` in seconds; None waits without a bound.  Raises NotDurableYet, a TimeoutError
        (the record may still become durable), and LogFailed when it never will.
        """
        if self._commit.done:
            return self._checked()
        within = seconds(timeout)
        ends_at = None if within is None else time.monotonic() + within
        while not self._commit.done:  # twice where a signal handler's record had to be queued first
            left = None if ends_at is None else ends_at - time.monotonic()
            if not self._wait(self._commit, left):
                raise self._not_yet()
        return self._checked()

    def __await__(self) -> Generator[object, None, Self]:
        return self.await_durable(None).__await__()

    async def await_durable(self, deadline: float | None) -> Self:
        """Wait as ``wait`` does until ``deadline`` (monotonic seconds); the event loop goes on."""
        get_running_loop = sys.modules["asyncio"].get_running_loop  # no import on the hot path
        while not (commit := self._commit).done:
            loop = get_running_loop()
            awaiting = commit.loops.get(loop)
            if awaiting is None:
                awaiting = commit.loops[loop] = _Awaiting()
            future = loop.create_future()
            awaiting.futures.append(future)
            if commit.done:  # resolved between the check and the append: nobody wakes us
                break
            if not commit.urgent:  # the first that awaits a commit asks for it
                self._wait(commit, 0)
            if deadline is not None and deadline < awaiting.checked_at:
                awaiting.check_at(deadline, loop)
            await future
            if deadline is not None and not commit.done and time.monotonic() >= deadline:
                raise self._not_yet()
        return self._checked()

    def recorded(self, commit: Commit, seq: int, record_hash: str) -> None:
        """The record of a signal handler has been queued in this commit."""
        before, self._commit = self._commit, commit
        self.seq, self.hash = seq, record_hash
        commit.urgent = True
        before.resolve(None)

    def refused(self, error: AuditLogError) -> None:
        """The record of a signal handler could not be queued."""
        self._commit.resolve(error)

    def _not_yet(self) -> NotDurableYet:
        age = time.monotonic() - self._commit.queued_at
        return NotDurableYet(
            f"the record is not durable after {age:.1f} s",
            seq=self.seq,
            hint="It is queued and may still become durable; ticket.wait() or flush() tells."
            " See the log's stats: the disk is slow or full.",
        )

    def _checked(self) -> Self:
        if self._commit.error is not None:
            raise self._commit.error.again()
        return self


@overload
def seconds(value: dt.timedelta | float) -> float: ...
@overload
def seconds(value: dt.timedelta | float | None) -> float | None: ...
def seconds(value: dt.timedelta | float | None) -> float | None:
    """A duration given either way, in seconds."""
    return value.total_seconds() if isinstance(value, dt.timedelta) else value
