"""Append to the active segment durably, and notice when other processes touch its file.

Invariants (tests of the same name in tests/auditlog/writer/test_active_segment.py):
  durable     append returns after fdatasync, and for a new file after the directory's fsync
  one_place   every line lies exactly at the offset that the log has assigned to it
  cut_back    an append that failed leaves nothing behind in the file
  safe_open   a symlink, a foreign owner's file or a file that is not regular is refused
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import LogFailed

if TYPE_CHECKING:
    from auditlog.format.segment_names import SegmentName

__all__ = ["DISK_FULL", "ActiveSegment"]

DISK_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that end when space returns; after any other error the file is not used again."""


class ActiveSegment:
    """The segment that is open for appending; used by the commit thread alone.

    ``end`` is the offset of the next line; ``written`` is beyond it while a sync runs.
    """

    def __init__(self, directory: Path, name: SegmentName, end: int, mode: int) -> None:
        """Open the segment for appending behind byte ``end``; with ``end`` 0 create it.

        Raises LogFailed when the file is not as long as it should be, UnsafePath, OSError.
        """
        self.name = name
        self.path = directory / name.logical
        self._path = str(self.path)
        self.end = self.written = end
        self._directory = directory
        self._name_durable = False  # the creator of the file may have been killed before that
        if end == 0:
            try:
                self._fd = durable_fs.create_exclusive(self.path, mode)
            except FileExistsError:  # left empty by a crash
                self._fd = durable_fs.open_append(self.path)
        else:
            self._fd = durable_fs.open_append(self.path)
        try:
            durable_fs.check_file(self.path, self._fd)
            state = os.fstat(self._fd)
            self._identity = (state.st_dev, state.st_ino)
            self.check()
        except BaseException:
            self.close()
            raise

    def append(self, data: bytes, offset: int) -> None:
        """Write at ``offset``, which is the end, and sync.

        Raises OSError, LogFailed (see check); then nothing is acknowledged, and cut_back has to
        remove what may have been written before the call is repeated.
        """
        if self.end != offset:
            raise LogFailed(
                f"records for byte {offset} would go to byte {self.end}",
                path=self.path,
                hint="This is a mistake in auditlog; please report it.",
            )
        durable_fs.write_all(self._fd, data)
        self.written = offset + len(data)
        durable_fs.fdatasync(self._fd)
        if not self._name_durable:
            durable_fs.fsync_directory(self._directory)
            self._name_durable = True
        self.end = self.written
        self.check()

    def cut_back(self) -> None:
        """Remove the bytes of an append that failed.  Raises OSError."""
        if os.fstat(self._fd).st_size > self.end:  # never extend a file that others cut
            os.ftruncate(self._fd, self.end)
        self.written = self.end

    def check(self) -> None:
        """Check that the path still names our file, and that no other process changed it.

        Raises LogFailed.  An event that went to a file that was removed or replaced meanwhile
        would be lost for everyone who looks at the path.
        """
        try:
            there = os.lstat(self._path)
        except FileNotFoundError:
            raise self._foreign("the segment was removed or renamed by another process") from None
        if (there.st_dev, there.st_ino) != self._identity:
            raise self._foreign("the segment was replaced by another file")
        if there.st_size != self.end:
            what = "cut short" if there.st_size < self.end else "written to"
            raise self._foreign(
                f"the segment was {what} by another process: it has {there.st_size} bytes"
                f" instead of {self.end}"
            )

    def _foreign(self, reason: str) -> LogFailed:
        return LogFailed(
            reason,
            path=self.path,
            offset=self.end,
            hint="Leave log files to auditlog (no logrotate); then open the log again.",
        )

    def close(self) -> None:
        """Close the descriptor without syncing it; doing it twice does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
