"""Where commits go: the end of the log on disk, in one segment after another.

Invariants (tests of the same name in tests/auditlog/writer/test_log_end.py):
  noted        the newest segment that has a durable record is noted, so that its loss is noticed
  cut_back     what could not be made durable is not left in the file
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditlog.errors import AuditLogError, LogFailed
from auditlog.writer.recovery import remember_head
from auditlog.writer.segment_file import DISK_FULL, ActiveSegment

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.writer.ticket import Commit

__all__ = ["LogEnd"]


class LogEnd:
    """Writes the commits of one log, in order.  Used by one thread at a time."""

    def __init__(self, directory: Path, file_mode: int) -> None:
        self._directory = directory
        self._file_mode = file_mode
        self._segment: ActiveSegment | None = None
        self._head_due = False

    def write(self, commit: Commit) -> OSError | AuditLogError | None:
        """Make it durable.

        Returns None, the OSError of a full disk, after which it may be tried again, or why the log
        has failed; it is then closed.  A call that a signal handler broke off may be repeated.
        """
        segment = self._segment
        try:
            if segment is None or (
                segment.name is not commit.segment and segment.name != commit.segment
            ):
                if segment is not None:
                    segment.close()
                self._segment = None
                segment = ActiveSegment(
                    self._directory, commit.segment, commit.offset, self._file_mode
                )
                self._segment = segment
                self._head_due = True
            segment.append(b"".join(commit.lines), commit.offset)
            if self._head_due:
                self._remember_head(segment)
        except OSError as error:
            return self._after_error(error, commit)
        except AuditLogError as error:
            return error
        return None

    def has_written(self, commit: Commit) -> bool:
        """Whether write(2) took all of it, durable or not."""
        segment = self._segment
        return (
            segment is not None and segment.name == commit.segment and segment.written >= commit.end
        )

    def look(self) -> AuditLogError | None:
        """Whether the segment is still ours and as it was left; None, or why the log has failed."""
        segment = self._segment
        if segment is None:
            return None
        try:
            segment.mend()
            segment.check()
        except AuditLogError as error:
            return error
        except OSError as error:
            return LogFailed(
                "the segment can no longer be looked at",
                path=segment.path,
                errno=error.errno,
                hint="Mend the directory, then open the log again.",
            )
        return None

    def close(self) -> None:
        """Close the descriptor without syncing it; doing it twice does nothing."""
        if self._segment is not None:
            self._segment.close()

    def _remember_head(self, segment: ActiveSegment) -> None:
        try:
            remember_head(self._directory, segment.name)
            self._head_due = False
        except OSError as error:
            if error.errno not in DISK_FULL:
                raise
            # The records themselves are durable; the note is tried again with the next commit.

    def _after_error(self, error: OSError, commit: Commit) -> OSError | AuditLogError:
        segment = self._segment
        path = self._directory / commit.segment.logical
        try:
            if segment is not None:
                # Whatever failed: after a failed sync the kernel still shows records that are not
                # on the disk, and recovery would build on them.
                segment.cut_back()
        except OSError as second:
            error = second if error.errno in DISK_FULL else error
        else:
            if error.errno in DISK_FULL:
                return error
        if segment is not None:
            segment.close()
        return LogFailed(
            "records could not be made durable",
            path=path,
            offset=commit.offset,
            errno=error.errno,
            hint="Mend the disk or the directory, then open the log again;"
            " it goes on behind the last durable record.",
        )
