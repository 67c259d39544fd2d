"""Guest program that writes as `writer_guest.py` does, but nothing is ever synced.

A cut must find its disk wanting: otherwise, it would not tell a loss from a promise kept.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path


def do_nothing(fd: int) -> None:
    pass


if __name__ == "__main__":
    os.fsync = os.fdatasync = do_nothing
    runpy.run_path(str(Path(__file__).with_name("writer_guest.py")), run_name="__main__")
