"""One erasure in a process of its own, to be killed at any system call.

The log has a compressed segment and a plain one; a record of each is erased.
"""

from __future__ import annotations

import os
from pathlib import Path

from auditctl.main import main
from tests.support.forked import at_barrier
from tests.support.logs import LogBuilder, write_log

__all__ = ["NAME", "erase", "erase_forked", "prepare"]

NAME = "Ottilie Wetzlar"
_QUERY = ("--query", 'details.name="Ottilie Wetzlar"')
_ORDER = ("--reason", "request 17", "--by", "dpo@example.org", "--confirm")


def prepare(directory: Path) -> LogBuilder:
    built = write_log(directory, records=3)
    built.append(1, details={"name": NAME})
    built.append(1)
    built.rotate()
    built.append(2)
    built.append(1, details={"name": NAME})
    built.rotate()
    built.append(2)
    built.compress(0)
    return built


def erase(directory: Path) -> int:
    return main(["erase", "--dir", str(directory), *_QUERY, *_ORDER, "--json"])


def erase_forked(directory: str) -> None:
    """Drop the output: standard output is the server's."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    at_barrier()
    erase(Path(directory))
