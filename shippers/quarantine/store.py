"""Records that no retry can deliver, and alarms: kept durably, one JSON object a line.

    <state_dir>/quarantine/<sink>.ndjson
    <state_dir>/quarantine/acknowledged/<sink>.ndjson      alarms that a person has answered

An entry is synced before the cursor passes its record.  What cannot be written is raised, so that
shipping waits instead of skipping.  A record is entered once, even when it is met again after a
crash: entries behind the cursor are known by their place in the log, and documents of other sources
by their id.  What was acknowledged (shippers.quarantine.acknowledgement) stays known as well.

Invariants (tests of the same name in tests/shippers/quarantine/test_store.py):
  durable    what add returned from is in the file, whole
  once       the same place is entered once, over restarts as well
  torn       a torn entry left by a crash is cut, and nothing behind it is lost
"""

from __future__ import annotations

import base64
import datetime as dt
import errno
import os
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditlog import durable_fs
from auditlog.format.record import format_timestamp
from auditlog.format.segment_names import SegmentName
from shippers.errors import QuarantineDamaged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from shippers.document import Document

__all__ = ["Entry", "Quarantine", "history_path", "lock_file"]

_CHUNK_BYTES: Final = 1 << 20
_REMEMBERED_DOCUMENTS: Final = 100_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, or one alarm (then ``line`` is None).

    kind             refused, tampered, not_a_record, or chain_break for an alarm about the log
    reason           one sentence; ``server_message`` is the sink's own words, ``status`` its code
    segment, offset  where the line begins: logical name, bytes in the uncompressed segment
    document         what was refused, when it is of a source that is no audit log; ``log`` names
                     its source or file then, and ``line`` is its body
    """

    kind: str
    reason: str
    log: str
    segment: str
    offset: int
    seq: int | None = None
    status: int | None = None
    server_message: str = ""
    line: bytes | None = None
    document: Document | None = None

    @property
    def place(self) -> tuple[SegmentName | None, int, str]:
        return _place(self.segment, self.offset, self.kind, self.reason)


class Quarantine:
    """The quarantine of one sink.  Thread-safe."""

    def __init__(self, state_dir: str | Path, sink: str) -> None:
        self.path = Path(state_dir) / "quarantine" / f"{sink}.ndjson"
        self._sink = sink
        self._lock = threading.Lock()
        self._known: dict[str, set[tuple[SegmentName | None, int, str]]] = {}
        self._documents: dict[str, None] = {}  # ids, in the order in which they were entered
        self._whole_bytes = 0
        self._torn = False
        self._closed = False
        self._counted = (0, 0, 0)  # size, modification time in ns, entries

    def recall(self, passed: Callable[[str], tuple[SegmentName | None, int]]) -> int:
        """Read what is there from an earlier run, and cut a torn end; how many entries there are.

        ``passed`` gives a log's cursor: only entries beyond it can be met again.
        """
        with self._lock:
            self._known.clear()
            self._documents.clear()
            self._recall(history_path(self.path), passed)
            count, self._whole_bytes = self._recall(self.path, passed)
            if self.path.exists():
                if self.path.stat().st_size > self._whole_bytes:
                    durable_fs.truncate(self.path, self._whole_bytes)
                # A shipper that was killed may have written them, and no more.
                durable_fs.sync_content(self.path)
                durable_fs.fsync_directory(self.path.parent)
            return count

    def _recall(
        self, path: Path, passed: Callable[[str], tuple[SegmentName | None, int]]
    ) -> tuple[int, int]:
        """How many entries the file has, and their bytes."""
        count = whole_bytes = 0
        for line in _lines(path):
            try:
                fields = orjson.loads(line)
                place = _place(
                    fields["segment"], fields["offset"], fields["kind"], fields["reason"]
                )
                log = fields["log"]
                document = fields.get("document")
                document_id = None if document is None else document["id"]
            except (ValueError, KeyError, TypeError):
                raise QuarantineDamaged(
                    "the line is not an entry of the quarantine",
                    path=path,
                    offset=whole_bytes,
                    hint="Move the file away; what is quarantined again is entered again.",
                ) from None
            whole_bytes += len(line)
            count += 1
            if document_id is not None:
                self._remember(document_id)
            elif not _is_behind(place, passed(log)):
                self._known.setdefault(log, set()).add(place)
        return count, whole_bytes

    def add(self, entries: Iterable[Entry], now: dt.datetime) -> int:
        """Enter what is not entered yet, durably; how many were new.  Raises OSError."""
        with self._lock:
            new = {_key(entry): entry for entry in entries if not self._knows(entry)}
            if not new:
                return 0
            if self._closed:
                raise OSError(errno.ESHUTDOWN, "shipping was stopped", str(self.path))
            content = b"".join(self._encode(entry, now) for entry in new.values())
            self._append(content)
            for entry in new.values():
                if entry.document is not None:
                    self._remember(entry.document.id)
                else:
                    self._known.setdefault(entry.log, set()).add(entry.place)
            return len(new)

    def forget(self, log: str, segment: SegmentName, offset: int) -> None:
        """The log's cursor has passed this place: entries before it are not met again."""
        with self._lock:
            if known := self._known.get(log):
                left = {place for place in known if not _is_behind(place, (segment, offset))}
                self._known[log] = left

    def close(self) -> None:
        """Enter nothing more: another shipper may write the file from now on."""
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

    def _knows(self, entry: Entry) -> bool:
        if entry.document is not None:
            return entry.document.id in self._documents
        return entry.place in self._known.get(entry.log, ())

    def _remember(self, document_id: str) -> None:
        """Documents are met again only as far back as a cursor can be behind."""
        self._documents[document_id] = None
        if len(self._documents) > _REMEMBERED_DOCUMENTS:
            del self._documents[next(iter(self._documents))]

    def _append(self, content: bytes) -> None:
        durable_fs.make_directory(self.path.parent)
        lock = lock_file(self.path)  # a release may be replacing the file; then we are tried again
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
            # What a failed write of ours left; never more than there is, that would add zeros.
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
            # After a failed sync it can be read, and is not on the disk: a shipper that is started
            # anew would take it for entered, and no later sync says otherwise (fsync(2), NOTES).
            with suppress(OSError):
                os.ftruncate(fd, self._whole_bytes)
            raise
        finally:
            os.close(fd)
        self._whole_bytes += len(content)
        self._torn = False

    def _encode(self, entry: Entry, now: dt.datetime) -> bytes:
        fields: dict[str, Any] = {
            "v": 1,
            "at": format_timestamp(now),
            "sink": self._sink,
            "kind": entry.kind,
            "reason": entry.reason,
            "status": entry.status,
            "server_message": entry.server_message.encode("utf-8", "replace").decode(),
            "log": entry.log,
            "segment": entry.segment,
            "offset": entry.offset,
            "seq": entry.seq,
        }
        if entry.document is not None:
            source, document_id, at, _ = entry.document
            fields["document"] = {"source": source, "id": document_id, "at": at}
        if entry.line is not None:
            try:
                fields["line"] = entry.line.decode()
            except UnicodeDecodeError:
                fields["line_base64"] = base64.b64encode(entry.line).decode()
        return orjson.dumps(fields) + b"\n"


def history_path(path: Path) -> Path:
    """Where what was acknowledged of this quarantine file is kept."""
    return path.parent / "acknowledged" / path.name


def _lines(path: Path) -> Iterator[bytes]:
    """The whole lines of a file; none when there is no file."""
    try:
        fd = durable_fs.open_read(path)
    except (FileNotFoundError, NotADirectoryError):  # what is in the way is met when one is added
        return
    with os.fdopen(fd, "rb", buffering=_CHUNK_BYTES) as file:
        for line in file:
            if line.endswith(b"\n"):
                yield line


def lock_file(path: Path) -> durable_fs.FileLock:
    """Held by whoever changes a quarantine file, for as long as that takes.  Raises OSError."""
    return durable_fs.FileLock(path.with_suffix(".lock"), f"pid {os.getpid()}")


def _key(entry: Entry) -> tuple[str, object]:
    return entry.log, entry.place if entry.document is None else entry.document.id


def _place(
    segment: str, offset: int, kind: str, reason: str
) -> tuple[SegmentName | None, int, str]:
    # An alarm and a record can be at one place, and a place can have two alarms.
    which = f"{kind}: {reason}" if kind == "chain_break" else "record"
    return SegmentName.parse(segment) if segment else None, offset, which


def _is_behind(
    place: tuple[SegmentName | None, int, str], cursor: tuple[SegmentName | None, int]
) -> bool:
    """Whether the cursor has passed the place, so that it is never read again."""
    segment, offset = cursor
    if segment is None or place[0] is None:
        return False
    return (place[0], place[1]) < (segment, offset)
