"""Raise the soft limit on open files (RLIMIT_NOFILE) for sources with many files.

The soft limit is 1,024 on most systems, for programs that use select(2); none of ours does.
"""

from __future__ import annotations

import resource
from contextlib import suppress
from typing import Final

__all__ = ["raise_file_limit"]

_WANTED: Final = 65_536


def raise_file_limit() -> None:
    """Raise the limit to the hard limit, at most 65,536; ignore a refusal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
