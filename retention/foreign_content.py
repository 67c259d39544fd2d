"""Read a whole foreign file: its digest, lines, their times, and how it ends.

Every line is read for its time, since the lines may be in any order.  A line that is not JSON, has
no time, or one before the year 2000 counts as untimed.  Zeros before a line and at the end of a
file are passed over as sources do, however many: truncations, crashes and reserved room leave them.

Invariants (tests of the same name in tests/retention/test_foreign_content.py):
  all_forms   plain, .zst and .gz of the same bytes give the same content
  same_end    a source that shipped the file to its end has that end in its cursor
  doubt       a line matches a hold that it names in any member, and so does an unreadable line
  bounded     memory does not grow with the size of a file
"""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final

import orjson

from auditlog import durable_fs
from auditlog.format.foreign_files import (
    EARLIEST,
    EMPTY_CHAIN,
    FIRST_LINE_BYTES,
    FilePlace,
    chained,
    first_line_hash,
    instant_of,
    line_hash,
    value_at,
)
from retention.content import Identity, decoded
from retention.errors import SegmentDamaged
from retention.matching import may_match, values_of
from retention.subjects import ForeignContent

if TYPE_CHECKING:
    import datetime as dt
    import threading
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from retention.holds import Hold

__all__ = ["inspect_foreign", "last_time"]

_LONGEST_LINE_BYTES: Final = 16 << 20
_TAIL_BYTES: Final = 1 << 16


def inspect_foreign(
    path: Path,
    form: str,
    fields: Sequence[str],
    stop: threading.Event,
    holds: Iterable[Hold] = (),
) -> tuple[ForeignContent, Identity]:
    """Read a whole file; return its content, and the identity of the file.

    Raises SegmentDamaged, SegmentChanged when it was written to at the same time, Stopped, OSError.
    """
    identity = Identity.at(path)
    reading = _ContentCollector(path, tuple(fields), [hold for hold in holds if hold.reads_records])
    for piece in decoded(path, form, stop):
        reading.feed(piece)
    content = reading.finish()
    identity.check(path)
    return content, identity


def last_time(path: Path, fields: Sequence[str]) -> dt.datetime | None:
    """Return the time of a plain file's last line; None where it has none.  Raises OSError."""
    fd = durable_fs.open_read(path)
    try:
        size = os.fstat(fd).st_size
        tail = os.pread(fd, _TAIL_BYTES, max(0, size - _TAIL_BYTES))
    finally:
        os.close(fd)
    return _time(tail.rstrip(b"\0 \t\r\n").rpartition(b"\n")[2], tuple(fields))


class _ContentCollector:
    """Collects what a file contains, fed in pieces of any size."""

    def __init__(self, path: Path, fields: tuple[str, ...], holds: Sequence[Hold]) -> None:
        self._path = path
        self._fields = fields
        self._values = {hold.id: values_of(hold) for hold in holds}
        self._digest = sha256()
        self._size_bytes = 0
        self._beginning = b""
        self._rest = b""
        self._offset = 0  # of what is in _rest
        self._lines = self._untimed = 0
        self._first_at: dt.datetime | None = None
        self._last_at: dt.datetime | None = None
        self._last: tuple[int, bytes] | None = None
        self._before = ""  # the chain before the last line
        self._matches: set[str] = set()

    def feed(self, piece: bytes) -> None:
        """Add a piece.  Raises SegmentDamaged at a line that is too long."""
        self._digest.update(piece)
        self._size_bytes += len(piece)
        if len(self._beginning) < FIRST_LINE_BYTES:
            self._beginning += piece[: FIRST_LINE_BYTES + 1]
        lines = (self._rest + piece).split(b"\n")
        rest = lines.pop()
        for line in lines:
            self._take(line)
            self._offset += len(line) + 1
        self._rest = rest.lstrip(b"\0")
        self._offset += len(rest) - len(self._rest)
        if len(self._rest) > _LONGEST_LINE_BYTES:
            self._end_line_at_zeros()

    def _end_line_at_zeros(self) -> None:
        """End a line that zeros make too long, as sources do.  Raises SegmentDamaged."""
        line = self._rest.rstrip(b"\0")
        if len(line) > _LONGEST_LINE_BYTES:
            raise SegmentDamaged(
                f"a line is longer than {_LONGEST_LINE_BYTES >> 20} MiB",
                path=self._path,
                offset=self._offset,
                hint="The file is kept, since its age cannot be told.",
            )
        self._take(line)
        self._offset += len(self._rest)
        self._rest = b""

    def _take(self, line: bytes) -> None:
        content = line.rstrip(b"\r").lstrip(b"\0")
        if not content.strip():
            return
        self._lines += 1
        if self._last is None:
            self._before = EMPTY_CHAIN
        else:
            self._before = chained(self._before, line_hash(self._last[1]))
        self._last = (self._offset + len(line.rstrip(b"\r")) - len(content), content)
        at = _time(content, self._fields)
        if at is None:
            self._untimed += 1
        else:
            self._first_at = at if self._first_at is None else min(self._first_at, at)
            self._last_at = at if self._last_at is None else max(self._last_at, at)
        for hold, values in self._values.items():
            if hold not in self._matches and may_match(content, values):
                self._matches.add(hold)

    def finish(self) -> ForeignContent:
        self._take(self._rest.rstrip(b"\0"))
        end = None
        if self._last is not None:
            first = first_line_hash(self._beginning) or line_hash(self._beginning)
            line_at, line = self._last
            hashed = line_hash(line)
            end = FilePlace(first, self._size_bytes, line_at, hashed, before=self._before)
        return ForeignContent(
            self._size_bytes,
            self._digest.hexdigest(),
            self._lines,
            self._untimed,
            self._first_at,
            self._last_at,
            end,
            frozenset(self._matches),
        )


def _time(line: bytes, fields: tuple[str, ...]) -> dt.datetime | None:
    try:
        value: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    for field in fields:
        at = instant_of(value_at(value, field))
        if at is not None and at >= EARLIEST:
            return at
    return None
