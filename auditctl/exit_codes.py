"""Define the exit codes; scripts rely on them, so a code never changes its meaning."""

from __future__ import annotations

import enum

__all__ = ["ExitCode"]


class ExitCode(enum.IntEnum):
    """The codes 65 and 75 are those of sysexits.h, 130 and 141 those of a shell for a signal."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PARTLY = 3
    REFUSED = 4
    DATA = 65
    LOCKED = 75
    INTERRUPTED = 130
    PIPE_CLOSED = 141
