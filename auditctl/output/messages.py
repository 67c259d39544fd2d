"""Write messages to stderr.  A message that has no room is lost, and nothing else with it.

Imported by the start of the program, so it imports nothing heavy.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

__all__ = ["write_message"]


def write_message(text: str) -> None:
    """Write one message and a line break.  Raises BrokenPipeError if the reader has closed it.

    Where the disk behind stderr is full, messages are dropped from then on: the command's work and
    its exit code do not depend on them.
    """
    try:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        raise
    except OSError:
        with suppress(OSError, ValueError):  # a stream of a test has no number
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, sys.stderr.fileno())  # otherwise it fails again at exit
            os.close(null)
