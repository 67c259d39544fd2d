"""Be woken when a directory changes.  A wake-up is a hint: nothing depends on its coming.

The inotify reader of watchdog drops events when the kernel's queue overflows, and can end while its
observer still says that it is alive.  So every log is also rescanned now and then, and ``check``
looks at every thread there is behind an observer and builds a new one when one has ended.

Only writes, new names and removed names are asked for: our own reading wakes nobody.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Protocol

from watchdog.events import (
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from auditlog.errors import InvalidName
from auditlog.segment_names import SegmentName

__all__ = ["Listener", "Watch"]

_logger = logging.getLogger("auditlog.shippers")

_EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileDeletedEvent,
    FileModifiedEvent,
    FileMovedEvent,
]


class Listener(Protocol):
    """Who is woken; called from the watch's thread, and quick."""

    def names_changed(self, directory: Path) -> None: ...

    def log_grew(self, log: str) -> None: ...


class Watch:
    """Watches directories, of which some may not exist (yet).  Call ``check`` now and then."""

    def __init__(self, directories: Sequence[Path], listener: Listener) -> None:
        self.rebuilds = 0
        self._directories = tuple(directories)
        self._listener = listener
        self._observer = Observer()
        self._watched: dict[Path, tuple[int, int]] = {}
        self._said: set[str] = set()

    @property
    def complete(self) -> bool:
        """Whether every directory is watched; one that does not exist (yet) is not."""
        return all(directory in self._watched for directory in self._directories)

    def start(self) -> None:
        self._observer.start()
        self.check()

    def stop(self) -> None:
        self._observer.stop()
        if self._observer.is_alive():
            self._observer.join(2.0)

    def check(self) -> None:
        """Rebuild what has died, and watch directories that are there now or are new ones."""
        if not self._alive():
            self.rebuilds += 1
            _logger.warning("the file watcher has died and is rebuilt")
            self._rebuild()
        identities = {directory: _identity(directory) for directory in self._directories}
        if any(identities[directory] != seen for directory, seen in self._watched.items()):
            self._rebuild()  # a directory was removed or replaced; its watch is for the old one
        for directory, identity in identities.items():
            if identity is not None and directory not in self._watched:
                self._schedule(directory, identity)

    def _schedule(self, directory: Path, identity: tuple[int, int]) -> None:
        handler = _Handler(directory, self._listener)
        try:
            self._observer.schedule(handler, str(directory), event_filter=_EVENTS)
        except OSError as error:
            text = f"{directory} cannot be watched ({error.strerror}); it is read every second"
            if text not in self._said:
                self._said.add(text)
                _logger.warning("%s", text)
            return
        self._watched[directory] = identity
        self._listener.names_changed(directory)

    def _rebuild(self) -> None:
        self.stop()
        self._watched.clear()
        self._observer = Observer()
        self._observer.start()

    def _alive(self) -> bool:
        """Whether every thread behind the observer runs, whatever the library calls them."""
        owners: list[object] = [self._observer, *self._observer.emitters]
        threads = {v for o in owners for v in vars(o).values() if isinstance(v, threading.Thread)}
        threads.update(owner for owner in owners if isinstance(owner, threading.Thread))
        return all(thread.is_alive() for thread in threads)


class _Handler(FileSystemEventHandler):
    def __init__(self, directory: Path, listener: Listener) -> None:
        self._directory = directory
        self._listener = listener

    def on_any_event(self, event: FileSystemEvent) -> None:
        if not isinstance(event, FileModifiedEvent):
            self._listener.names_changed(self._directory)
        elif (log := _log_of(str(event.src_path))) is not None:
            self._listener.log_grew(log)


@lru_cache(4096)
def _log_of(path: str) -> str | None:
    try:
        return str(SegmentName.parse(path.rpartition("/")[2]).log)
    except InvalidName:
        return None


def _identity(directory: Path) -> tuple[int, int] | None:
    try:
        state = directory.stat()
    except OSError:
        return None
    return state.st_dev, state.st_ino
