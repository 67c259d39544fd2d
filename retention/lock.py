"""Keep two processes from running retention, or editing holds, at the same time."""

from __future__ import annotations

import os
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from auditlog import durable_fs
from retention.errors import Busy

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["locked"]


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold the lock file during the block, creating its directory where needed.

    Raises Busy naming the holder, OSError.
    """
    path = Path(path)
    durable_fs.make_directory(path.parent)
    try:
        lock = durable_fs.FileLock(path, f"pid {os.getpid()}")
    except durable_fs.Locked as error:
        raise Busy(
            f"it is held by {error.holder or 'another process'}",
            path=path,
            hint="Wait for the other retention run to end, or stop it.",
        ) from error
    try:
        yield
    finally:
        lock.release()
