"""Provide a bridge's log: open it lazily, and reopen it after a failure.

A bridge is given an open log, or a function that opens one.  The function is called at the first
event, so in a server's worker and not before the fork; and again in a child that was forked later,
or after somebody closed the log.  A log that failed, or could not be opened, is tried again after
1 s, then 2, 4 and so on up to a minute; events refused meanwhile are counted by the log and
recorded when it is back.

Invariants (tests of the same name in tests/auditlog/bridges/test_log_source.py):
  once       threads that need the log at the same time open it once
  reopened   after a failure the log is tried again, not before its delay and by nobody twice
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeAlias

from auditlog.errors import AuditLogError, ForkedLog, LogClosed, LogFailed
from auditlog.writer.log import Log

__all__ = ["GivenLog", "LogSource"]

GivenLog: TypeAlias = Log | Callable[[], Log]

_FIRST_DELAY_SECONDS: Final = 1.0
_LAST_DELAY_SECONDS: Final = 60.0
_OVER: Final = (LogFailed, LogClosed, ForkedLog)


class LogSource:
    """The log of one bridge.  Any thread may ask."""

    def __init__(self, given: GivenLog, *, now: Callable[[], float] = time.monotonic) -> None:
        self._log = None if callable(given) else given
        self._open = given if callable(given) else None
        self._now = now
        self._lock = threading.Lock()
        self._error: AuditLogError | None = None
        self._delay = 0.0
        self._try_at = 0.0

    @property
    def opens(self) -> bool:
        """Whether the bridge opens the log, and so has to close it."""
        return self._open is not None

    @property
    def down(self) -> bool:
        """Whether the log failed, and it is too early to try again."""
        return self._error is not None and self._now() < self._try_at

    @property
    def ready(self) -> bool:
        """Whether ``get`` returns at once."""
        return self._log is not None and self._error is None

    @property
    def current(self) -> Log | None:
        """Return the current log, which may have failed; None before it was opened."""
        return self._log

    def get(self) -> Log:
        """Return the log; opening it may take as long as a commit.

        Raises AuditLogError, and what opening a log raises.
        """
        log = self._log
        if log is not None and self._error is None:
            return log
        with self._lock:
            if self._error is None and self._log is not None:
                return self._log
            if self._error is not None and self._now() < self._try_at:
                raise self._error.again()
            try:
                if isinstance(self._error, LogFailed) and self._log is not None:
                    self._log.reopen()
                elif self._open is not None:
                    self._log = self._open()
            except AuditLogError as error:
                self._postpone(error)
                raise
            assert self._log is not None  # noqa: S101  (only an opened log can have failed)
            self._error = None
            return self._log

    def lost(self, error: Exception) -> None:
        """Note that an event was refused because of this error."""
        if isinstance(error, _OVER):
            with self._lock:
                if self._error is None:
                    self._postpone(error)

    def recorded(self) -> None:
        """Note that an event was recorded."""
        self._delay = 0.0

    def close(self) -> None:
        """Close the log if the bridge opened it.  Raises LogFailed."""
        if self._open is not None and self._log is not None:
            log, self._log = self._log, None
            log.close()

    def _postpone(self, error: AuditLogError) -> None:
        # A log of another process is gone for good: its successor can be opened at once.
        forked = isinstance(error, (ForkedLog, LogClosed)) and self._open is not None
        self._error = error
        self._delay = min(max(2 * self._delay, _FIRST_DELAY_SECONDS), _LAST_DELAY_SECONDS)
        self._try_at = self._now() + (0.0 if forked else self._delay)
