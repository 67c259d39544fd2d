"""Write, sync, rename, remove and lock files; the only module of the project that does so.

To be durable on Linux (fsync(2), rename(2), open(2)), the bytes of a file are synced through its
own descriptor, and its name through the descriptor of its directory.  fdatasync also writes the
size, so an append needs no full fsync.  A descriptor whose sync failed is never synced again: the
kernel reports a lost page once and then calls it clean (fsync(2), NOTES).

Nothing here retries or hides an error; callers get OSError as it comes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import stat
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog.errors import UnsafePath

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "FileLock",
    "Locked",
    "check_directory",
    "check_file",
    "create_exclusive",
    "fdatasync",
    "fsync",
    "fsync_directory",
    "make_directory",
    "open_append",
    "open_for_writing_elsewhere",
    "open_read",
    "rename",
    "replace_durably",
    "sync_content",
    "truncate",
    "unlink",
    "write_all",
]

_APPEND: Final = os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_STDERR: Final = 2
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC


def fsync(fd: int) -> None:
    os.fsync(fd)


def fdatasync(fd: int) -> None:
    os.fdatasync(fd)


def sync_content(path: str | os.PathLike[str]) -> None:
    """Sync bytes that another process may have written.

    A process that was killed before its sync leaves bytes that can be read, but that a power loss
    removes.  Sync them before anything is built on having read them.
    """
    fd = open_read(path)
    try:
        with _naming(path):
            os.fdatasync(fd)
    finally:
        os.close(fd)


@contextmanager
def _naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Add the path to errors of calls on a descriptor, which do not name it."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or os.fspath(path)
        raise


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Make the names in the directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with _naming(path):
            os.fsync(fd)
    finally:
        os.close(fd)


def make_directory(path: str | os.PathLike[str], mode: int = 0o700) -> None:
    """Create the directory and its missing parents, each durable in its own parent.

    In a directory that its group shares (see _shared) the group may read the new one, too.
    """
    path = Path(path)
    if path.is_dir():
        return
    if not path.parent.exists():
        make_directory(path.parent, mode)
    if _shared(path.parent):
        mode |= stat.S_IRGRP | stat.S_IXGRP
    try:
        path.mkdir(mode)
    except FileExistsError:
        if not path.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path)) from None
        return
    try:
        made = stat.S_IMODE(path.stat().st_mode)
        if made & 0o777 != mode:
            # A umask of 077 would take from the group what the option gives it.  Where the mode is
            # right, chmod(2) would only be refused: it names the set-group-id bit that mkdir(2)
            # inherits (systemd.exec(5), RestrictSUIDSGID=).
            path.chmod(made & stat.S_ISGID | mode)
        fsync_directory(path.parent)
    except BaseException:
        # Otherwise the next call would find it and leave it with the wrong mode, and unsynced.
        with suppress(OSError):  # another process has put something in it already
            path.rmdir()
        raise


def check_directory(path: str | os.PathLike[str], *, allow_other_owner: bool = False) -> None:
    """Refuse a directory that someone else could swap files in.

    Raises UnsafePath for one that is a symlink, world-writable or of another user (root's is fine),
    NotADirectoryError and FileNotFoundError as they are.
    """
    state = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(state.st_mode):
        raise UnsafePath(
            "the directory is a symbolic link", path=path, hint="Name the directory itself."
        )
    if not stat.S_ISDIR(state.st_mode):
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(path))
    if state.st_mode & stat.S_IWOTH:
        raise UnsafePath(
            "the directory is writable for everyone", path=path, hint="Run chmod o-w on it."
        )
    if not allow_other_owner:
        _check_owner(path, state.st_uid)


def check_file(path: str | os.PathLike[str], fd: int) -> None:
    """Refuse to append to a file that is not regular, or belongs to another user."""
    state = os.fstat(fd)
    if not stat.S_ISREG(state.st_mode):
        raise UnsafePath("the segment is not a regular file", path=path)
    _check_owner(path, state.st_uid)


def _check_owner(path: str | os.PathLike[str], uid: int) -> None:
    if uid not in (os.geteuid(), 0):
        raise UnsafePath(
            f"it belongs to uid {uid}, not to uid {os.geteuid()}",
            path=path,
            hint="Run the service as its owner, or give it a directory of its own.",
        )


def _open(path: str | os.PathLike[str], flags: int, mode: int = 0o600) -> int:
    """As open(2), but never use descriptor 0, 1 or 2, even in a process that has closed them.

    Otherwise a library's message to standard error would be written into the log.
    """
    fd = os.open(path, flags, mode)
    if fd > _STDERR:
        return fd
    try:
        return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    finally:
        os.close(fd)


def create_exclusive(path: str | os.PathLike[str], mode: int = 0o600) -> int:
    """Create a new file for appending, or raise FileExistsError; the caller syncs its directory."""
    fd = _open(path, _APPEND | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(fd, mode)  # whatever the umask
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_append(path: str | os.PathLike[str]) -> int:
    return _open(path, _APPEND | os.O_NONBLOCK)  # this only affects a named pipe


def open_read(path: str | os.PathLike[str]) -> int:
    return os.open(path, _READ)


def open_for_writing_elsewhere(path: str | os.PathLike[str]) -> bool:
    """Whether another process has the file open for writing, as far as the kernel reports it.

    The kernel refuses a read lease on such a file (fcntl(2), F_SETLEASE).  Returns False on file
    systems without leases and for files of another user, where the kernel does not report it.
    """
    fd = open_read(path)
    try:
        # A process that opens it now breaks the lease, which sends a signal: choose an ignored one.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except OSError as error:
        return error.errno == errno.EAGAIN
    finally:
        os.close(fd)  # which gives the lease up
    return False


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; a short write goes on where it stopped."""
    written = os.write(fd, data)
    if written == len(data):
        return
    view = memoryview(data)
    while written < len(view):
        written += os.write(fd, view[written:])


def truncate(path: str | os.PathLike[str], size: int) -> None:
    """Cut the file to ``size`` bytes, durably."""
    fd = _open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with _naming(path):
            os.ftruncate(fd, size)
            os.fsync(fd)
    finally:
        os.close(fd)


def rename(source: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Rename over whatever is there; the caller syncs the directory."""
    os.rename(source, target)


def unlink(path: str | os.PathLike[str]) -> None:
    """Remove the name; the caller syncs the directory."""
    os.unlink(path)


def _shared(directory: Path) -> bool:
    """Whether the group of the directory may read new files in it (set-group-id and readable)."""
    mode = directory.stat().st_mode
    return bool(mode & stat.S_ISGID and mode & stat.S_IRGRP)


def replace_durably(
    path: str | os.PathLike[str], content: bytes, *, keep: Path | None = None
) -> None:
    """Replace a small file so that a crash leaves the old or the new content, never a mixture.

    Its mode is 0600, or 0640 in a directory that its group shares.

    With ``keep`` the old file stays under that name.  Between the two renames only ``keep`` is
    there: a reader that finds nothing at ``path`` looks at ``keep`` next.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    fd = _open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with _naming(temporary):
            if _shared(path.parent):
                os.fchmod(fd, 0o640)  # whatever the umask
            write_all(fd, content)
            os.fsync(fd)
    except OSError:
        with suppress(OSError):  # the first error is the one to report
            os.unlink(temporary)
        raise
    finally:
        os.close(fd)
    if keep is not None and path.exists():
        os.rename(path, keep)
    os.rename(temporary, path)
    fsync_directory(path.parent)


def create_durably(path: str | os.PathLike[str], content: bytes, mode: int = 0o600) -> bool:
    """Create a small file of this mode, whole or not at all; False when there is one already."""
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}.tmp")
    fd = _open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        with _naming(temporary):
            os.fchmod(fd, mode)  # whatever the umask
            write_all(fd, content)
            os.fsync(fd)
        os.link(temporary, path)  # which, unlike rename(2), never replaces
    except FileExistsError:
        return False
    finally:
        os.close(fd)
        os.unlink(temporary)
    fsync_directory(path.parent)
    return True


class Locked(OSError):
    """Another open file description holds the lock; ``holder`` is the text in the lock file."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(errno.EWOULDBLOCK, os.strerror(errno.EWOULDBLOCK), str(path))
        self.holder = holder


class FileLock:
    """Hold an exclusive flock(2) on a file whose text names the holder.  Raises Locked, OSError.

    The kernel drops the lock when the process ends, however it ends.  The file itself stays: were
    it removed, two processes could hold locks on two files of one name.
    """

    def __init__(self, path: str | os.PathLike[str], holder: str) -> None:
        self.path = Path(path)
        self._fd = _open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            with _naming(path):
                self._take(holder)
        except BaseException:
            self.release()
            raise

    def _take(self, holder: str) -> None:
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._fd, 200, 0).decode("utf-8", "replace").strip()
            raise Locked(self.path, text) from None
        os.ftruncate(self._fd, 0)
        os.pwrite(self._fd, f"{holder}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock up, also for children that inherited it; doing it twice does nothing."""
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self.abandon()

    def abandon(self) -> None:
        """Close a copy that was inherited over a fork; the parent keeps the lock."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
