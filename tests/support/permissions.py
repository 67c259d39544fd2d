"""Files of another user, and commands that may do with them only what their permissions say.

Root may read and write everything; ``powerless`` takes that from a command that tests run as root.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

__all__ = ["belongs_to_another_user", "powerless"]

_ANOTHER: Final = 65_534


def powerless() -> tuple[str, ...]:
    """Return what to put in front of a command so that permissions count, for root as well."""
    if os.geteuid() != 0:
        return ()
    setpriv = shutil.which("setpriv")
    assert setpriv, "setpriv (util-linux) takes root's right to ignore permissions away"
    capabilities = "-dac_override,-dac_read_search"
    return (setpriv, f"--inh-caps={capabilities}", f"--bounding-set={capabilities}")


def belongs_to_another_user(directory: Path, mode: int = 0o750) -> None:
    """Give a directory to another user, and to our group as ``mode`` says.

    Without root it stays ours, and we get what the group would have.
    """
    for path in (directory, *directory.rglob("*")):
        allowed = mode if path.is_dir() else mode & 0o666
        if os.geteuid() == 0:
            os.chown(path, _ANOTHER, os.getegid())
            path.chmod(allowed)
        else:
            path.chmod((allowed & 0o070) << 3 | allowed & 0o070)
