"""Lock a log for writing; the kernel drops the lock when the process that holds it ends.

<dir>/.auditlog/<log>.lock      held with flock(2) for as long as the log is open
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import LogLocked
from auditlog.format.segment_names import LogId
from auditlog.reading.inventory import STATE_DIRECTORY

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["lock_log", "lock_path"]

_MAX_SLOTS: Final = 1000


def lock_path(directory: Path, log: LogId) -> Path:
    return directory / STATE_DIRECTORY / f"{log}.lock"


def lock_log(directory: Path, log: LogId) -> tuple[LogId, durable_fs.FileLock]:
    """Take the log's lock; with instance "auto" that of the lowest free slot, from "1" on.

    Returns the log that was locked.  Raises LogLocked, naming the holder, or OSError.
    """
    holder = f"pid {os.getpid()}"
    for candidate in _candidates(log):
        try:
            return candidate, durable_fs.FileLock(lock_path(directory, candidate), holder)
        except durable_fs.Locked as locked:
            refusal = LogLocked(
                f"{candidate} is being written by {locked.holder or 'another process'}",
                path=locked.filename,
                hint='Stop it, or give each process its own log: instance="auto", or a name.',
            )
    raise refusal


def _candidates(log: LogId) -> Iterator[LogId]:
    if log.instance != "auto":
        yield log
        return
    for slot in range(1, _MAX_SLOTS + 1):
        yield LogId(log.service, log.host, str(slot))
