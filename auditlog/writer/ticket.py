"""The caller's handle on durability, and the commit that a ticket waits for.

A Commit is the unit that becomes durable as a whole: lines of one segment, written with one
write(2) and one fdatasync(2).  Every ticket of it resolves when both, and for a new segment the
directory entry too, are on disk; or it raises what went wrong.

Invariants (tests of the same name in tests/auditlog/writer/test_ticket.py):
  durable_only   a ticket is done only when its record is durable, or can never be
  own_loop       futures are resolved on the event loop that awaits them, not on the commit thread
"""

from __future__ import annotations

import datetime as dt
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING, Self

from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    import asyncio
    from _thread import LockType
    from collections.abc import Callable, Generator

    from auditlog.format.segment_names import SegmentName

__all__ = ["Commit", "Ticket", "Waiter"]


class Waiter:
    """A thread that sleeps until its commit is done, or until it is its turn to lead one."""

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock: LockType | None = None  # most lead at once and never sleep

    def arm(self) -> None:
        """From now on wake is noticed; called with the committer's lock held."""
        if self._lock is None:
            self._lock = allocate_lock()
            self._lock.acquire()

    def wake(self) -> None:
        """End the sleep, or the next one; called with the committer's lock held."""
        if self._lock is not None and self._lock.locked():
            self._lock.release()

    def woken(self) -> bool:
        """Whether a wake has not been slept through yet."""
        return self._lock is not None and not self._lock.locked()

    def sleep(self, timeout: float | None) -> bool:
        """Returns False when nobody woke it within ``timeout`` seconds."""
        assert self._lock is not None  # noqa: S101  (armed before; for the type checker)
        return self._lock.acquire(timeout=-1 if timeout is None else max(0.0, timeout))


class Commit:
    """Lines that become durable together: ``lines`` of ``segment`` from ``offset`` to ``end``.

    ``first_seq`` is the number of the first, which came at ``queued_at`` (monotonic seconds);
    ``urgent`` says that somebody awaits it.
    """

    __slots__ = (
        "done",
        "end",
        "error",
        "finished",
        "first_seq",
        "futures",
        "lines",
        "offset",
        "queued_at",
        "segment",
        "urgent",
        "waiters",
        "watchers",
    )

    def __init__(self, segment: SegmentName, offset: int, first_seq: int) -> None:
        self.segment = segment
        self.offset = self.end = offset
        self.first_seq = first_seq
        self.queued_at = time.monotonic()
        self.lines: list[bytes] = []
        self.urgent = False
        self.done = False
        self.finished = False  # and no longer queued
        self.error: AuditLogError | None = None
        self.waiters: list[Waiter] = []  # they may be asked to lead
        self.watchers: list[Waiter] = []  # they only want to know
        self.futures: list[asyncio.Future[None]] = []

    @property
    def size(self) -> int:
        return self.end - self.offset

    @property
    def events(self) -> int:
        return len(self.lines)

    @property
    def last_seq(self) -> int:
        return self.first_seq + len(self.lines) - 1

    def resolve(self, error: AuditLogError | None) -> None:
        """Tell everyone who waits; called once, by the committer, under its lock."""
        self.error = error
        self.done = True
        if self.waiters or self.watchers:
            for waiter in (*self.waiters, *self.watchers):
                waiter.wake()
            self.waiters.clear()
            self.watchers.clear()
        if self.futures:
            self._resolve_futures()

    def _resolve_futures(self) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for future in self.futures:
            by_loop.setdefault(future.get_loop(), []).append(future)
        self.futures.clear()
        for loop, futures in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolve_futures, futures)
            except RuntimeError:
                # The loop was closed while the commit ran: nobody is left to be told.
                continue


def _resolve_futures(futures: list[asyncio.Future[None]]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)


class Ticket:
    """What emit returns: ``log``, ``seq`` and ``hash`` of the record, and when it is durable.

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

        ``timeout`` in seconds.  Raises TimeoutError (the record may still become durable),
        LogFailed when it never will.
        """
        seconds = timeout.total_seconds() if isinstance(timeout, dt.timedelta) else timeout
        if not self._commit.done and not self._wait(self._commit, seconds):
            raise TimeoutError(f"seq {self.seq} of {self.log} is not durable after {seconds} s")
        return self._checked()

    def __await__(self) -> Generator[object, None, Self]:
        import asyncio  # noqa: PLC0415  (20 ms that a service without an event loop need not pay)

        while not self._commit.done:
            future = asyncio.get_running_loop().create_future()
            self._commit.futures.append(future)
            if self._commit.done:  # resolved between the check and the append: nobody wakes us
                break
            if not self._commit.urgent:  # the first that awaits a commit asks for it
                self._wait(self._commit, 0)
            yield from future
        return self._checked()

    def _checked(self) -> Self:
        if self._commit.error is not None:
            raise self._commit.error.again()
        return self
