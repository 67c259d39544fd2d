"""Create a file atomically: complete and durable, or not at all.

Invariants (tests of the same name in tests/auditctl/output/test_new_file.py):
  all_or_none  a failure leaves nothing behind, and a file that is there is not replaced
  private      only its owner can read it, unless a mode is given
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from auditctl.errors import BadPath
from auditlog import durable_fs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["check_place", "new_file"]

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def new_file(target: Path, *, mode: int = 0o600) -> Iterator[BinaryIO]:
    """Write it inside the ``with``.  Raises BadPath before anything is made, OSError."""
    if target.exists():
        raise BadPath("it is there already", path=target, hint="Choose another name.")
    check_place(target)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        fd = durable_fs.create_exclusive(temporary, mode=mode)
    except FileExistsError:
        raise BadPath(
            "somebody is writing it, or was killed while writing it",
            path=temporary,
            hint="Remove it if nobody is, or choose another name.",
        ) from None
    try:
        with os.fdopen(fd, "wb", closefd=False) as file:
            yield file
        durable_fs.fsync(fd)
        durable_fs.rename(temporary, target)
        durable_fs.fsync_directory(target.parent)
    except BaseException as error:
        durable_fs.unlink(temporary)
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            error.filename = target  # errors of write(2) lack the path
        raise
    finally:
        os.close(fd)


def check_place(target: Path) -> None:
    """Raises BadPath where there is no directory for the file."""
    if not target.parent.is_dir():
        raise BadPath(
            "there is no such directory",
            path=target.parent,
            hint="Check the path; nothing was created.",
        )
