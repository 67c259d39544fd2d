"""An overlay of this machine's root, in a mount namespace of its own.

What is changed inside lives in memory, and is gone with the last process of the namespace: the one
that is returned waits for the end of its input.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

__all__ = ["Unavailable", "hold_overlay"]

_MOUNT: Final = """
set -eu
mount --make-rprivate /
mount -t tmpfs -o size=3g,mode=755 tmpfs "$1"
mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/up,workdir=$1/work" "$1/root"
"""
_WAIT: Final = """
echo ready
read -r _ || true
"""


class Unavailable(Exception):
    """It cannot be had here; the text says what is missing."""


def hold_overlay(
    place: Path,
    then: str,
    *,
    namespaces: Sequence[str] = (),
    programs: Sequence[str],
    packages: str,
) -> subprocess.Popen[str]:
    """Mount it at ``root`` in an empty directory, and run a script of bash, whose ``$1`` is that.

    ``namespaces`` are options of unshare(1) for more of them.  Raises Unavailable without root, or
    without one of ``programs``, which are in Debian's ``packages``.
    """
    for program in ("unshare", "nsenter", *programs):
        if shutil.which(program) is None:
            raise Unavailable(f"{program} is missing (Debian: {packages})")
    if os.geteuid() != 0:
        raise Unavailable("only root can mount an overlay of the root")
    script = _MOUNT + then + _WAIT
    holder = subprocess.Popen(
        ["unshare", "--mount", *namespaces, "bash", "-c", script, "hold", str(place)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    if holder.stdout.readline() != "ready\n":
        _, errors = holder.communicate()
        raise Unavailable(f"no overlay of the root can be mounted: {errors.strip()}")
    return holder
