"""Wake shipping when a directory changes.  Wake-ups are hints: directories are also rescanned.

The inotify reader of watchdog drops events when the kernel's queue overflows, and can end while its
observer still claims to be alive.  So every source is also listed at intervals, and ``check`` looks
at every thread behind an observer and builds a new observer if one has ended.

A directory that cannot be watched, because it does not exist (yet) or the kernel's limits are
reached (inotify(7), /proc/sys/fs/inotify), is listed every second until it can be; this is logged
once, and once more when it is over.

Only writes, and new and removed names of files and directories, are watched, so that our own
reading causes no report.

After each reading of reports the next one waits for a moment, in which the kernel joins equal ones
(inotify(7)): a program that appends steadily would otherwise wake four threads for each line.  The
first report after a pause is not held back.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final

from watchdog.events import (
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

__all__ = ["Watch"]

_logger = logging.getLogger("auditlog.shippers")

_EVENTS: list[type[FileSystemEvent]] = [
    DirCreatedEvent,
    DirDeletedEvent,
    DirMovedEvent,
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


_JOINED_SECONDS: Final = 0.02
"""How long reports of one file are joined."""

_LIMITS: Final = {
    errno.ENOSPC: "the limit fs.inotify.max_user_watches is reached",
    errno.EMFILE: "the limit fs.inotify.max_user_instances is reached",
}


class Watch:
    """Watches the directories that ``check`` is given, as far as possible.  Call it now and then.

    ``names_changed`` is called with a directory, ``file_grew`` with a path, both from the watch's
    thread; they have to be quick.
    """

    def __init__(
        self, names_changed: Callable[[Path], None], file_grew: Callable[[str], None]
    ) -> None:
        self.rebuilds = 0
        self.unwatched: frozenset[Path] = frozenset()
        """Directories that ``check`` could not watch; the caller has to list them regularly."""
        self._names_changed = names_changed
        self._file_grew = file_grew
        self._observer: Any = None  # watchdog's class, which is another one on each system
        self._watched: dict[Path, tuple[int, int]] = {}
        self._said: dict[Path, str] = {}

    def stop(self) -> None:
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.stop()
            if observer.is_alive():
                observer.join(2.0)

    def check(self, directories: Iterable[Path]) -> None:
        """Watch these and no others; rebuild what has died, and watch replaced ones anew."""
        identities = {directory: _identity(directory) for directory in directories}
        if any(identities.get(directory) != seen for directory, seen in self._watched.items()):
            self._forget()  # its watch was for a directory that was removed or replaced, and ended
        elif self._observer is not None and not self._alive():
            self.rebuilds += 1
            _logger.warning("the file watcher has died and is rebuilt")
            self._forget()
        for directory, identity in identities.items():
            if identity is not None and directory not in self._watched:
                self._schedule(directory, identity)
        self.unwatched = frozenset(identities.keys() - self._watched.keys())

    def _schedule(self, directory: Path, identity: tuple[int, int]) -> None:
        handler = _EventHandler(directory, self._names_changed, self._file_grew)
        try:
            if self._observer is None:
                self._observer = Observer()
                _join_reports(self._observer)
                self._observer.start()
            self._observer.schedule(handler, str(directory), event_filter=_EVENTS)
        except OSError as error:
            reason = _LIMITS.get(error.errno or 0) or error.strerror or type(error).__name__
            if self._said.get(directory) != reason:
                self._said[directory] = reason
                _logger.warning(
                    "%s cannot be watched (%s); it is looked at every second", directory, reason
                )
            return
        if self._said.pop(directory, None) is not None:
            _logger.info("%s is watched again", directory)
        self._watched[directory] = identity
        self._names_changed(directory)

    def _forget(self) -> None:
        self.stop()
        self._watched.clear()

    def _alive(self) -> bool:
        """Whether every thread behind the observer runs, whatever the library calls them."""
        owners: list[object] = [self._observer, *self._observer.emitters]
        threads = {v for o in owners for v in vars(o).values() if isinstance(v, threading.Thread)}
        threads.update(owner for owner in owners if isinstance(owner, threading.Thread))
        return all(thread.is_alive() for thread in threads)


class _EventHandler(FileSystemEventHandler):
    def __init__(
        self,
        directory: Path,
        names_changed: Callable[[Path], None],
        file_grew: Callable[[str], None],
    ) -> None:
        self._directory = directory
        self._names_changed = names_changed
        self._file_grew = file_grew

    def on_any_event(self, event: FileSystemEvent) -> None:
        if isinstance(event, FileModifiedEvent):
            self._file_grew(str(event.src_path))
        else:
            self._names_changed(self._directory)


def _join_reports(observer: Any) -> None:
    """Let the observer's reader of inotify wait before each of its readings but the first.

    Where watchdog has another reader, as in other versions and on other systems, each report comes
    by itself.
    """
    for reader in vars(observer).values():
        if (read := getattr(reader, "read_events", None)) is not None:

            def unhurried(*, _read: Callable[[], Any] = read) -> Any:
                time.sleep(_JOINED_SECONDS)
                return _read()

            reader.read_events = unhurried


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        state = directory.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
