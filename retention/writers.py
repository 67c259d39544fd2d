"""Find out whether a writer has a log open, and keep writers out while its newest is changed."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.writer.lock import lock_path

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from auditlog.format.segment_names import LogId

__all__ = ["kept_out", "writer_of"]


def writer_of(directory: Path, log: LogId) -> str:
    """Return who has the log open for writing, "" where it is nobody.  Raises OSError."""
    if not lock_path(directory, log).exists():
        return ""
    try:
        with kept_out(directory, log):
            return ""
    except durable_fs.Locked as locked:
        return locked.holder or "a process"


@contextmanager
def kept_out(directory: Path, log: LogId) -> Iterator[None]:
    """Hold the lock of the log during the block.  Raises Locked, OSError."""
    place = lock_path(directory, log)
    durable_fs.make_directory(place.parent)
    lock = durable_fs.FileLock(place, f"pid {os.getpid()}")
    try:
        yield
    finally:
        lock.release()
