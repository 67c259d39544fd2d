"""Close the open logs when their process ends, and disown them in a forked child.

    interpreter exit                    atexit, after all threads that are not daemons have ended
    multiprocessing, ProcessPool…       a finalizer of multiprocessing.util: such a process ends
                                        with os._exit, which runs no atexit handler
    os.fork                             the child never writes to a log of its parent

A process that ends by a signal's default action, or by os._exit, runs none of these: the server
that handles the signal has to call ``close_all`` in its shutdown hook (docs/how-to).

Invariants (tests of the same name in tests/auditlog/writer/test_lifetime.py):
  at_exit      events emitted just before the process ends are in the log, in every kind of process
  disowned     a forked child has no open log, and its end changes none of its parent's
"""

from __future__ import annotations

import atexit
import logging
import os
import sys
import warnings
import weakref
from typing import TYPE_CHECKING, Protocol

from auditlog.errors import AuditLogError

if TYPE_CHECKING:
    import datetime as dt

    from auditlog.format.segment_names import LogId

__all__ = ["close_all", "closed", "opened"]

_logger = logging.getLogger("auditlog")


class OpenLog(Protocol):
    """The methods of a log that are called when its process ends or forks."""

    @property
    def id(self) -> LogId: ...

    def close(self, timeout: dt.timedelta | float | None = None) -> None: ...

    def disown(self) -> None: ...


_open_logs: weakref.WeakSet[OpenLog] = weakref.WeakSet()
_finalized_pid = 0


def close_all(timeout: dt.timedelta | float | None = None) -> None:
    """Close every log that this process has open, for the shutdown hook of a server.

    ``timeout`` in seconds for each, as for Log.close.  A log that cannot be closed is reported to
    the logger "auditlog" and does not keep the others open.
    """
    for log in list(_open_logs):
        try:
            log.close(timeout)
        except AuditLogError as error:
            _logger.error("%s: %s", log.id, error)  # noqa: TRY400  (no traceback at exit)


def opened(log: OpenLog) -> None:
    """Close this log when the process ends, if nobody has done it before."""
    global _finalized_pid  # noqa: PLW0603  (once for each process, children included)
    _open_logs.add(log)
    # A child of multiprocessing has imported it before it came here; other processes need not.
    util = sys.modules.get("multiprocessing.util")
    if util is not None and _finalized_pid != os.getpid():
        _finalized_pid = os.getpid()
        util.Finalize(None, _at_exit, exitpriority=0)


def closed(log: OpenLog) -> None:
    """Remove a closed log from the list."""
    _open_logs.discard(log)


def _at_exit() -> None:
    left_open = list(_open_logs)
    close_all()
    for log in left_open:  # afterwards: where warnings are errors, this raises
        warnings.warn(f"{log!r} was never closed", ResourceWarning, source=log, stacklevel=2)


def _disown_all() -> None:
    for log in list(_open_logs):
        log.disown()
    _open_logs.clear()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_disown_all)
