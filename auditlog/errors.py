"""Define the errors of the package, one class for each cause.

Every error says what happened, where (path, offset, seq) and what to do next.  None of them
ever contains the payload of a record: error texts end up in places that must not receive it.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, Self

__all__ = [
    "ArchiveMemoryDamaged",
    "AuditLogError",
    "BufferFull",
    "ClockUnusable",
    "CursorDamaged",
    "ForkedLog",
    "InvalidEvent",
    "InvalidEventType",
    "InvalidName",
    "InvalidOption",
    "LogClosed",
    "LogDamaged",
    "LogFailed",
    "LogLocked",
    "NoLog",
    "NotAccessible",
    "NotDurableYet",
    "PathNotFound",
    "PathNotPermitted",
    "QueryError",
    "RecordTooLarge",
    "UnsafePath",
]


# Every module of ours imports this one, so it notices that the package's __init__ is a stranger's.
if not hasattr(sys.modules["auditlog"], "_HOMES"):
    raise ImportError(
        f"{Path(__file__).parent} holds files of two distributions, llama-orch-auditlog and"
        " django-auditlog, which both name their package auditlog. Install one of them alone, or"
        " each in an environment of its own; see docs/beside-django-auditlog.md."
    )


class AuditLogError(Exception):
    """Base of every error this package raises.

    ``reason`` is one sentence without a full stop; ``path``, ``offset`` (bytes into the
    uncompressed segment), ``seq`` and ``errno`` say where; ``hint`` says what to do next.
    """

    def __init__(
        self,
        reason: str,
        *,
        path: str | os.PathLike[str] | None = None,
        offset: int | None = None,
        seq: int | None = None,
        errno: int | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = None if path is None else Path(path)
        self.offset = offset
        self.seq = seq
        self.errno = errno
        self.hint = hint

    def again(self) -> Self:
        """A copy to raise in another thread: a raised exception grows a traceback of its own."""
        return type(self)(
            self.reason,
            path=self.path,
            offset=self.offset,
            seq=self.seq,
            errno=self.errno,
            hint=self.hint,
        )

    def __str__(self) -> str:
        where = [
            f"{name} {value}"
            for name, value in (("at byte", self.offset), ("seq", self.seq))
            if value is not None
        ]
        text = self.reason if self.path is None else f"{self.path}: {self.reason}"
        if where:
            text += f" ({', '.join(where)})"
        if self.errno is not None:
            text += f": {os.strerror(self.errno)}"
        return f"{text}. {self.hint}" if self.hint else text


class InvalidName(AuditLogError, ValueError):
    """A service, host, instance or segment name that the naming does not allow."""


class InvalidOption(AuditLogError, ValueError):
    """An argument of this library that is out of range or unusable."""


class InvalidEventType(AuditLogError, TypeError):
    """A subclass of Event that cannot be one; raised where the class is defined."""


class InvalidEvent(AuditLogError, ValueError):
    """An event whose fields cannot become a record; nothing was queued."""


class QueryError(AuditLogError, ValueError):
    """A query or a time of a search that cannot be parsed; nothing was searched."""


class RecordTooLarge(InvalidEvent):
    """An event whose record would be longer than 65,535 bytes; nothing was queued."""


class UnsafePath(AuditLogError):
    """A directory or file that is a symlink, belongs to another user or is world-writable."""


class NotAccessible(AuditLogError, OSError):
    """The operating system refused a log's directory or file; ``errno`` says why."""


class PathNotFound(NotAccessible, FileNotFoundError):
    """A log's directory cannot be made, or a file of it is missing."""


class PathNotPermitted(NotAccessible, PermissionError):
    """This user may not use a log's directory or file."""


def not_accessible(
    error: OSError, path: str | os.PathLike[str], reason: str = "the log cannot be opened"
) -> NotAccessible:
    """Return the error of the operating system as one of this library, of the same kind."""
    kind = NotAccessible
    if isinstance(error, FileNotFoundError):
        kind = PathNotFound
    elif isinstance(error, PermissionError):
        kind = PathNotPermitted
    named = error.filename2 or error.filename
    if isinstance(named, int):  # a file descriptor
        named = None
    return kind(reason, path=named or path, errno=error.errno, hint=hint_for(error.errno))


@contextmanager
def reading(path: str | os.PathLike[str]) -> Iterator[None]:
    """Raise what the operating system refuses within it as NotAccessible."""
    try:
        yield
    except AuditLogError:
        raise
    except OSError as error:
        raise not_accessible(error, path, "the log cannot be read") from error


def hint_for(number: int | None) -> str:
    """Return what to do about an errno of the operating system."""
    return _HINTS.get(number or 0, "Check the directory, its owner and its file system.")


_HINTS: Final = {
    errno.ENOENT: "Check the path; nothing was created.",
    errno.EEXIST: "Something else has that name; choose another one.",
    errno.ENOTDIR: "Name a directory here.",
    errno.EISDIR: "Name a file here.",
    errno.EACCES: "Run as the user who owns it, or as a member of its group.",
    errno.EPERM: "Run as the user who owns it; lsattr shows whether it is immutable.",
    errno.EROFS: "The file system is mounted read-only.",
    errno.ENOSPC: "Free some disk space and run it again.",
    errno.EFBIG: "A limit on the size of files stops it: see ulimit -f.",
    errno.EDQUOT: "Free some of the quota and run it again.",
    errno.ELOOP: "It is a symbolic link; name the file or directory itself.",
}


class NoLog(AuditLogError):
    """The directory has no log, and no trace of an earlier one."""


class LogLocked(AuditLogError):
    """Another process (or another Log of this one) is the log's writer."""


class LogDamaged(AuditLogError):
    """The log holds bytes that a crash cannot leave behind; no file was changed."""


class LogFailed(AuditLogError):
    """The log could not be made durable and takes no more events; open it again."""


class LogClosed(AuditLogError):
    """The log was closed before the event came."""


class ForkedLog(AuditLogError):
    """A child process used the log of its parent."""


class ClockUnusable(AuditLogError):
    """The clock shows a time that no record can have; nothing was queued."""


class BufferFull(AuditLogError):
    """The queue stayed full for ``block_timeout``; the event was refused and counted."""


class NotDurableYet(AuditLogError, TimeoutError):
    """The record was not durable within the timeout; it is queued and may still become durable."""


class CursorDamaged(AuditLogError):
    """Neither the cursor nor its previous copy can be read; shipping starts from the beginning."""


class ArchiveMemoryDamaged(AuditLogError):
    """The memory of what is archived cannot be read or written; nothing is deleted meanwhile."""
