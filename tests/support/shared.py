"""One expensive server for all processes of a test run.

    with shared(directory, "elasticsearch", start) as description:
        ...

The first process that asks calls ``start``; the others get the JSON value that it returned.  The
process that started the server stops it when no other uses it any more.  The two locks belong to
open files, so the kernel releases those of a process that was killed.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

__all__ = ["shared"]


@contextmanager
def shared(directory: Path, name: str, start: Callable[[ExitStack], Any]) -> Iterator[Any]:
    """Yield the server's description.  ``start`` registers on the stack how to stop the server."""
    path = directory / f"{name}.json"
    with (
        ExitStack() as stop,
        (directory / f"{name}.change").open("w") as change,
        (directory / f"{name}.users").open("w") as users,
    ):
        fcntl.flock(change, fcntl.LOCK_EX)
        started = not path.exists()
        if started:
            path.write_text(json.dumps(start(stop)))
        description = json.loads(path.read_text())
        fcntl.flock(users, fcntl.LOCK_SH)
        fcntl.flock(change, fcntl.LOCK_UN)
        yield description
        fcntl.flock(users, fcntl.LOCK_UN)
        while started:
            fcntl.flock(change, fcntl.LOCK_EX)
            try:
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # Not while waiting for the users: one that comes now has to get past this lock.
                fcntl.flock(change, fcntl.LOCK_UN)
                time.sleep(0.1)
            else:
                path.unlink()
                stop.close()  # under the lock, so that nobody starts a second one beside it
                return
