"""Store undeliverable records and alarms durably, one JSON object per line.

    <state_dir>/quarantine/<sink>.ndjson
    <state_dir>/quarantine/acknowledged/<sink>.ndjson      alarms that a person has answered

An entry is synced before the cursor passes its record.  If it cannot be written, ``add`` raises, so
that shipping waits instead of skipping.  A record is entered once, even if it is met again after a
crash: entries beyond the cursor are known by their place in the log, and documents of other sources
by their id.  Acknowledged alarms (shippers.quarantine.acknowledgement) stay known as well.

Invariants (tests of the same name in tests/shippers/quarantine/test_store.py):
  durable    what add returned from is in the file, whole
  once       the same place is entered once, over restarts as well
  torn       a torn entry left by a crash is cut, and nothing behind it is lost
"""

from __future__ import annotations

import datetime as dt
import errno
import os
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import CursorDamaged
from auditlog.format.segment_names import SegmentName
from shippers.errors import QuarantineDamaged
from shippers.quarantine.entry import Entry, StoredEntry, decode, encode, entry_id

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from auditlog.cursors import CursorStore
    from shippers.quarantine.entry import Place

__all__ = [
    "Entry",
    "Quarantine",
    "changing",
    "history_path",
    "lock_file",
    "read_entries",
    "take_out",
]

_CHUNK_BYTES: Final = 1 << 20
_REMEMBERED_DOCUMENTS: Final = 100_000
_LOCK_SECONDS: Final = 30.0


class Quarantine:
    """The quarantine of one sink.  Thread-safe."""

    def __init__(self, state_dir: str | Path, sink: str) -> None:
        self.path = Path(state_dir) / "quarantine" / f"{sink}.ndjson"
        self._sink = sink
        self._lock = threading.Lock()
        self._known: dict[str, set[Place]] = {}
        self._documents: dict[str, None] = {}  # ids, in the order in which they were entered
        self._whole_bytes = 0
        self._torn = False
        self._closed = False
        self._counted = (0, 0, 0)  # size, modification time in ns, entries

    def recall(self, cursors: CursorStore) -> int:
        """Read the entries of an earlier run and cut a torn end; returns how many there are.

        Only entries beyond the cursor of their log can be met again.  Raises QuarantineDamaged,
        OSError.
        """
        with self._lock:
            self._known.clear()
            self._documents.clear()
            for entry in read_entries(history_path(self.path)):
                self._remember(entry.key)
            count = self._whole_bytes = 0
            for entry in read_entries(self.path):
                self._remember(entry.key)
                count += 1
            for log in self._known:
                self._forget(log, *self._passed(cursors, log))
            if self.path.exists():
                self._whole_bytes = sum(map(len, _lines(self.path)))
                if self.path.stat().st_size > self._whole_bytes:
                    durable_fs.truncate(self.path, self._whole_bytes)
                # A shipper that was killed may have written them without a sync.
                durable_fs.sync_content(self.path)
                durable_fs.fsync_directory(self.path.parent)
            return count

    def add(self, entries: Iterable[Entry], now: dt.datetime) -> int:
        """Enter durably what is not entered yet; returns how many were new.  Raises OSError."""
        with self._lock:
            new = {entry.key: entry for entry in entries if not self._knows(entry.key)}
            if not new:
                return 0
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "shipping was stopped", str(self.path))
            self._append(b"".join(encode(entry, self._sink, now) for entry in new.values()))
            for key in new:
                self._remember(key)
            return len(new)

    def forget(self, log: str, segment: SegmentName, offset: int) -> None:
        """Forget entries before this place, which the log's cursor has passed."""
        with self._lock:
            self._forget(log, segment, offset)

    def close(self) -> None:
        """Stop writing: another shipper may write the file from now on."""
        with self._lock:
            self._closed = True

    def size(self) -> tuple[int, int]:
        """Entries and bytes in the file now, whoever added or removed them.  Raises OSError."""
        try:
            state = self.path.stat()
        except FileNotFoundError:
            return 0, 0
        if self._counted[:2] != (state.st_size, state.st_mtime_ns):
            entries = sum(1 for _ in _lines(self.path))
            self._counted = (state.st_size, state.st_mtime_ns, entries)
        return self._counted[2], state.st_size

    def _passed(self, cursors: CursorStore, log: str) -> tuple[SegmentName | None, int]:
        try:
            cursor = cursors.load(self._sink, log)
        except CursorDamaged:
            cursor = None  # the log is shipped from its beginning then
        return (None, 0) if cursor is None else (SegmentName.parse(cursor.segment), cursor.offset)

    def _knows(self, key: tuple[str, Place | str]) -> bool:
        log, place = key
        return (
            place in self._documents
            if isinstance(place, str)
            else place in self._known.get(log, ())
        )

    def _remember(self, key: tuple[str, Place | str]) -> None:
        log, place = key
        if not isinstance(place, str):
            self._known.setdefault(log, set()).add(place)
            return
        self._documents[place] = None
        if len(self._documents) > _REMEMBERED_DOCUMENTS:  # a cursor is never so far behind
            del self._documents[next(iter(self._documents))]

    def _forget(self, log: str, segment: SegmentName | None, offset: int) -> None:
        known = self._known.get(log)
        if known and segment is not None:
            self._known[log] = {
                place for place in known if place[0] is None or place[:2] >= (segment, offset)
            }

    def _append(self, content: bytes) -> None:
        durable_fs.make_directory(self.path.parent)
        lock = lock_file(self.path)  # a retry may be replacing the file; then this is tried again
        try:
            self._append_locked(content)
        finally:
            lock.release()

    def _append_locked(self, content: bytes) -> None:
        if not self.path.exists():
            os.close(durable_fs.create_exclusive(self.path))
            durable_fs.fsync_directory(self.path.parent)
            self._whole_bytes = 0
        elif self._torn:
            # Cut off the remains of a failed write; extending the file would add zeros.
            self._whole_bytes = min(self._whole_bytes, self.path.stat().st_size)
            durable_fs.truncate(self.path, self._whole_bytes)
        else:
            self._whole_bytes = self.path.stat().st_size  # others may have emptied it, or added
        self._torn = True
        fd = durable_fs.open_append(self.path)
        try:
            durable_fs.write_all(fd, content)
            durable_fs.fsync(fd)
        except OSError:
            # After a failed sync the content can be read but is not on the disk: the next shipper
            # would take it for entered, and no later sync reports it (fsync(2), NOTES).
            with suppress(OSError):
                os.ftruncate(fd, self._whole_bytes)
            raise
        finally:
            os.close(fd)
        self._whole_bytes += len(content)
        self._torn = False


def history_path(path: Path) -> Path:
    """Where the acknowledged alarms of this quarantine file are kept."""
    return path.parent / "acknowledged" / path.name


def read_entries(path: Path) -> Iterator[StoredEntry]:
    """The whole entries of a quarantine file; none if there is no file.

    Raises QuarantineDamaged for a line that is not an entry, OSError.
    """
    offset = 0
    for line in _lines(path):
        try:
            entry = decode(line)
        except ValueError:
            raise QuarantineDamaged(
                "the line is not an entry of the quarantine",
                path=path,
                offset=offset,
                hint="Move the file away; records that are refused again are entered again.",
            ) from None
        offset += len(line)
        yield entry


def take_out(path: Path, ids: Collection[str]) -> None:
    """Replace the file by one without the entries of these ids, inside ``changing``."""
    temporary = path.with_name(f".{path.name}.release")
    if temporary.exists():
        durable_fs.unlink(temporary)  # a killed run left it
    fd = durable_fs.create_exclusive(temporary)
    try:
        for line in _lines(path):
            if entry_id(line) not in ids:
                durable_fs.write_all(fd, line)
        durable_fs.fsync(fd)
    finally:
        os.close(fd)
    durable_fs.rename(temporary, path)
    durable_fs.fsync_directory(path.parent)


@contextmanager
def changing(path: Path) -> Iterator[None]:
    """Hold the lock for changing the file.  Raises Locked after 30 seconds, OSError."""
    deadline = time.monotonic() + _LOCK_SECONDS  # the shipper holds it for one write at a time
    while True:
        try:
            lock = lock_file(path)
            break
        except durable_fs.Locked:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
    try:
        yield
    finally:
        lock.release()


def lock_file(path: Path) -> durable_fs.FileLock:
    """Held by whoever changes a quarantine file, for as long as that takes.  Raises OSError."""
    return durable_fs.FileLock(path.with_suffix(".lock"), f"pid {os.getpid()}")


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file; none if there is no file."""
    try:
        fd = durable_fs.open_read(path)
    except (FileNotFoundError, NotADirectoryError):  # the next ``add`` meets what is in the way
        return
    with os.fdopen(fd, "rb", buffering=_CHUNK_BYTES) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line
