"""Harvest one file that another program appends to; detect truncation and replacement.

The place in a file is (hash of its first line, offset), with the offset and hash of the last line
before it.  Both lines are compared when the file is opened, and again *after* each read.  Another
program may truncate and refill the file at any moment, but never restores the old content; if both
lines are unchanged after a read, they were unchanged during it.  Otherwise the bytes read are
dropped, and the file is read from its beginning; lines delivered before are duplicates by their id.

A place that was reached earlier, in this file or in one that begins alike, counts only if all lines
before it are the same: the file is read up to there without giving lines out, and a chained hash of
the lines is compared.

A line is given out once its LF is there.  The bytes behind the last LF are given out when nothing
is likely to follow: in a compressed file at once, a whole JSON object after five seconds without a
write, and anything else after five minutes.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_file.py):
  whole_lines  a line that may still grow is never given out
  resumes      from any place given out, exactly the lines behind it follow
  other_file   a place that does not fit the file costs a re-read, and never a line
  truncated    whenever a file is truncated and refilled, its lines are those of one content or the
               other, each under the first line it was written behind
  cut          a line of any length takes bounded memory, and holds up no other file
"""

from __future__ import annotations

import datetime as dt
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import orjson

from auditlog.errors import LogDamaged
from auditlog.format.foreign_files import (
    EMPTY_CHAIN,
    FIRST_LINE_BYTES,
    FilePlace,
    chained,
    first_line_hash,
    line_hash,
)
from shippers.batch import DocumentBatch
from shippers.sources.ndjson.file_bytes import FileBytes, FileState, other_format
from shippers.sources.ndjson.line import Line, LineFormat, to_document
from shippers.sources.ndjson.overlong import Overlong

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["FileHarvester"]

_logger = logging.getLogger("auditlog.shippers")

_OBJECT_SETTLES_SECONDS: Final = 5.0
_TAIL_SETTLES_SECONDS: Final = 300.0
_HELD_OPEN_SECONDS: Final = 300.0
_GONE_SETTLES_SECONDS: Final = 60.0  # a writer goes on for a while in a file that was renamed
_UNFINISHED_SECONDS: Final = 60.0  # so long a compressed file may be about to be written
_SCAN_BYTES: Final = 4 << 20  # of an overlong line or a hole, before other files have their turn
_LEAST_BYTES: Final = 1 << 16
_CHECK_BYTES: Final = 1 << 20  # a longer last line is not compared
_SAME_TIME_SECONDS: Final = 2.0  # two writes so close may leave one mtime, on some file systems


_Lines = DocumentBatch[FilePlace | None]


class _Replaced(Exception):
    """The file has another content than when its place was found."""


class _Unlike(Exception):
    """The file is another one than that of the place which was compared."""


class FileHarvester:
    """Reads one file, from a place on.  Not thread-safe: it belongs to one loop.

    ``known`` gives the places that were reached in files that begin with the same line; ``ended``
    is called when a compressed file gives nothing more for now, ``opened`` before each read.
    ``failed`` tells that the last read raised.
    """

    def __init__(
        self,
        lane: str,
        state: FileState,
        form: LineFormat,
        start: FilePlace | None = None,
        *,
        max_line_bytes: int,
        known: Callable[[str], Iterable[FilePlace]],
        ended: Callable[[], None] = lambda: None,
        opened: Callable[[FileHarvester], None] = lambda _: None,
    ) -> None:
        self.state = state
        self.restarts = 0
        self.gone = False
        self.exhausted = False
        self.failed = False
        self.base: FilePlace | None = None  # what was known of this content when it was opened
        self._lane = lane
        self._form = form
        self._max_line_bytes = max_line_bytes
        self._known = known
        self._ended = ended
        self._note_opened = opened
        self._place = start
        self._first_hash = ""
        self._first_bytes = 0  # how much of the file shows that it begins with that line
        self._offset = 0
        self._open: FileBytes | None = None
        self._checked = False
        self._just_written = False
        self._unfinished = False
        self._end = ""
        self._format = ""  # why it is not shipped
        self._damage: tuple[str, LogDamaged] | None = None
        self._zeros_end = 0  # up to where zeros behind the offset were looked through
        self._padded_bytes = -1  # size of the file when all behind the offset were zeros
        self._line_bytes = 400  # how long lines are here, to read about as many as are asked for
        self._overlong: Overlong | None = None
        self._chain = ""  # of the lines before the offset; "" behind a place that does not tell
        self._target: FilePlace | None = None  # a place that is compared while reading up to it
        self._unlike: set[FilePlace] = set()

    @property
    def position(self) -> FilePlace | None:
        """Behind the last line that was given out; None before the first."""
        return self._place

    @property
    def has_tail(self) -> bool:
        """Whether something without its LF waits at the end."""
        return self.exhausted and not self.gone and self.lag_bytes() > 0

    @property
    def seal(self) -> str:
        """The signature of a compressed file that was read to its end, and is as it was."""
        return self._end if self._end == self.state.signature else ""

    @property
    def is_open(self) -> bool:
        return self._open is not None

    @property
    def can_close(self) -> bool:
        """Whether the file can be opened again later by its name, and is cheap to open."""
        return self._open is not None and not self.gone and not self.state.compression

    def drained(self) -> bool:
        """Whether nothing more is likely to come: no name leads here, and all of it was read."""
        if not self.gone or self._open is None:
            return self.gone
        idle = time.time() - self.state.mtime
        settled = _GONE_SETTLES_SECONDS if not self.lag_bytes() else 2 * _GONE_SETTLES_SECONDS
        return self.exhausted and idle > settled

    def lag_bytes(self) -> int:
        """Bytes behind the place; of a compressed file all while it is not at its end."""
        if self._format:
            return 0
        if self.state.compression:
            return 0 if self.exhausted else self.state.size_bytes
        if self.state.size_bytes == self._padded_bytes:
            return 0
        reached = self._offset if self._target is None else self._target.offset
        return max(0, self.state.size_bytes - reached)

    def seen(self, state: FileState | None) -> bool:
        """Take note of what a listing says: None when no name leads here any more.

        True when there may be something to read.
        """
        self.gone = state is None
        if state is None:
            return self._open is not None
        changed = (state.size_bytes, state.mtime) != (self.state.size_bytes, self.state.mtime)
        self.state = state
        if changed or self._just_written or self._unfinished or not self.exhausted or self.has_tail:
            return True
        self._close_if_old()
        return False

    def rewind(self, position: FilePlace | None) -> None:
        """Read again from the place, or from what was known before."""
        self._place, self._first_hash, self._offset, self._overlong = position, "", 0, None
        self._target, self._zeros_end = None, 0
        self._checked = self.exhausted = False

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def read(self, max_bytes: int, max_records: int) -> _Lines | None:
        """The next lines; None when there are none for now.  An empty batch asks to be called on.

        Raises LogDamaged, OSError; the place stays.
        """
        self.exhausted = self.failed = False
        try:
            batch = self._read_unless_damaged(max_bytes, max_records)
        except (LogDamaged, OSError) as error:
            if isinstance(error, OSError) and error.filename is None:
                error.filename = str(self.state.path)  # errors of read(2) lack it
            self.failed = True
            self._ended()
            raise
        if batch is None:
            self.exhausted = True
            if self.state.compression:
                if not self._unfinished:
                    self.close()
                    self._end = self.state.signature
                self._ended()
        self._close_if_old()
        return batch

    def _read_unless_damaged(self, max_bytes: int, max_records: int) -> _Lines | None:
        if self._damage is not None and self._damage[0] == self.state.signature:
            raise self._damage[1]  # it was not touched since; unpacking it again shows nothing new
        try:
            return self._read(max_bytes, max_records)
        except LogDamaged as error:
            self.close()
            self._unfinished = time.time() - self.state.mtime < _UNFINISHED_SECONDS
            if self._unfinished:
                return None
            self._damage = (self.state.signature, error)
            raise

    def _read(self, max_bytes: int, max_records: int) -> _Lines | None:
        self._unfinished = False
        file = self._opened()
        if file is None:
            return None
        size, mtime = file.status()
        self.state = replace(self.state, size_bytes=size, mtime=mtime)
        self._just_written = time.time() - mtime < _SAME_TIME_SECONDS
        if not self._checked and not self._find_place(file):
            return None
        batch = _Lines(log=self._lane, start=self._place)
        try:
            return self._read_lines(file, batch, max(max_bytes, 1), max_records)
        except _Replaced:
            self._restart()
        except _Unlike:
            self._checked, self._offset = False, 0
        return batch

    # -- which file, and where in it -------------------------------------------------------

    def _opened(self) -> FileBytes | None:
        if self._open is None:
            self._checked = False
            try:
                self._open = FileBytes(self.state)
            except FileNotFoundError:
                return None  # renamed or removed since the listing; the next one says which
        self._note_opened(self)
        return self._open

    def _close_if_old(self) -> None:
        """Old files that are not appended to hold no descriptor between two reads."""
        if self.state.compression:
            return  # it would be unpacked from its beginning each time
        if time.time() - self.state.mtime > _HELD_OPEN_SECONDS and not self.gone:
            self.close()

    def _find_place(self, file: FileBytes) -> bool:
        """Compare the file with the place; false while it has no whole first line."""
        beginning = file.read_at(0, FIRST_LINE_BYTES)
        if self._is_other_format(beginning):
            return False
        first = first_line_hash(beginning)
        if first is None:
            file.check_whole()
        if first is None and self._settled(beginning):
            first = line_hash(beginning)
        if first is None:
            if self._offset:
                self._restart()
            return False
        begun = self._offset or self._overlong is not None
        if begun and first == self._first_hash and self._fits(file, self._place):
            scanned = 0 if self._overlong is None else self._overlong.scanned_bytes
            if self.state.compression or self.state.size_bytes >= self._offset + scanned:
                self._checked = True
                return True
        if begun:
            self._restart()
        self._first_hash = first
        self._first_bytes = (beginning.find(b"\n") + 1 or len(beginning)) + 1
        places = [] if self._place is None else [self._place]
        fitting = [
            place
            for place in (*places, *self._known(first))
            if place.first_hash == first and self._fits(file, place)
        ]
        likely = [place for place in fitting if place not in self._unlike]
        best = max(likely, key=lambda place: place.offset, default=None)
        self._checked, self._target = True, None
        if best is not None and best.before and best != self._place:
            # Other files may begin and end alike: read up to it, and compare what lies before.
            self._target, best = best, None
        self._place = self.base = best
        self._offset = 0 if best is None else best.offset
        self._chain = EMPTY_CHAIN if best is None else _chain_behind(best)
        return True

    def _is_other_format(self, beginning: bytes) -> bool:
        """Log once for each content that it is not shipped."""
        before = self._format
        self._format = "" if self.state.compression else other_format(beginning)
        if self._format and self._format != before:
            _logger.warning("%s is not shipped: it is %s", self.state.path, self._format)
        return bool(self._format)

    def _restart(self) -> None:
        """Another content under the same name or inode."""
        self.restarts += 1
        self._place, self._first_hash, self._offset, self._overlong = None, "", 0, None
        self._checked, self._target, self._zeros_end = False, None, 0
        self._unlike.clear()

    def _bytes_at(self, file: FileBytes, offset: int, size: int) -> bytes:
        """Read bytes at an offset.  Raises _Replaced when the file was truncated meanwhile."""
        block = file.read_at(offset, size)
        if not self.state.compression and not self._is_still(file, offset + len(block)):
            raise _Replaced
        return block

    def _is_still(self, file: FileBytes, end: int) -> bool:
        """Whether the file is what it was when the place was found, up to there."""
        if file.status()[0] < end:
            return False
        beginning = file.read_at(0, self._first_bytes)
        first = first_line_hash(beginning) or line_hash(beginning)
        return first == self._first_hash and self._fits(file, self._place)

    def _fits(self, file: FileBytes, place: FilePlace | None) -> bool:
        if place is None:
            return True  # nothing was given out of it yet
        if not self.state.compression and self.state.size_bytes < place.offset:
            return False
        size = place.offset - place.line_at
        if size > _CHECK_BYTES:
            return True
        line = file.read_at(place.line_at, size)
        return len(line) == size and line_hash(line) == place.line_hash

    # -- what is read ----------------------------------------------------------------------

    def _read_lines(
        self, file: FileBytes, batch: _Lines, max_bytes: int, max_records: int
    ) -> _Lines | None:
        self._padded_bytes = -1
        if self._overlong is not None:
            return self._scan_overlong(file, self._overlong, batch)
        block = self._block(file, max_bytes, max_records)
        if block.startswith(b"\0"):
            return self._skip_zeros(file, block, batch)
        offset, end = self._offset, block.rfind(b"\n") + 1
        if end:
            self._zeros_end = 0
            read_at = dt.datetime.now(dt.UTC)
            for line in block[: end - 1].split(b"\n"):
                self._give(batch, offset, line, len(line) + 1, read_at)
                offset += len(line) + 1
                if len(batch) >= max_records:
                    break
            self._line_bytes = max(100, (offset - self._offset) // max(len(batch), 1) + 1)
            self._offset = offset
            return batch
        return self._read_tail(file, block, batch)

    def _read_tail(self, file: FileBytes, block: bytes, batch: _Lines) -> _Lines | None:
        """Give out what has no LF, if it is too long or nothing is likely to follow it."""
        tail, cut_off = block.rstrip(b"\0"), False  # behind it may be room that is filled later
        if len(tail) > self._max_line_bytes:
            self._overlong = overlong = Overlong(block[: self._max_line_bytes])
            return self._scan_overlong(file, overlong, batch)
        if len(block) > self._max_line_bytes and not self.state.compression:
            _, more = self._behind_zeros(file, self._offset + len(block))
            if more is False:
                return batch
            cut_off = bool(more)
        file.check_whole()
        if tail.strip() and (cut_off or self._settled(tail)):
            self._give(batch, self._offset, tail, len(tail), dt.datetime.now(dt.UTC))
            self._offset += len(tail)
            return batch
        return None

    def _block(self, file: FileBytes, max_bytes: int, max_records: int) -> bytes:
        """About as many lines as are asked for, or the beginning of one that is longer."""
        size = max(min(max_bytes, self._line_bytes * max_records), _LEAST_BYTES)
        block = self._bytes_at(file, self._offset, size)
        if len(block) == size and b"\n" not in block:
            block = self._bytes_at(file, self._offset, max(size, self._max_line_bytes + 2))
        return block

    def _give(
        self, batch: _Lines, offset: int, content: bytes, size: int, now: dt.datetime
    ) -> None:
        whole = content.rstrip(b"\r")
        content = whole.lstrip(b"\0")  # see _skip_zeros
        if not content.strip():
            return
        end = offset + size
        offset += len(whole) - len(content)
        shown = content[: self._max_line_bytes]
        line = Line(
            str(self.state.path), self._first_hash, offset, shown, line_hash(content), len(content)
        )
        self._add(batch, line, end, now)

    def _add(self, batch: _Lines, line: Line, end: int, now: dt.datetime) -> None:
        before, self._chain = self._chain, self._chain and chained(self._chain, line.digest)
        if (target := self._target) is not None:
            if line.offset < target.line_at:
                return
            self._target = None
            if (line.offset, line.digest, before) != (*target[2:4], target.before):
                self._unlike.add(target)
                raise _Unlike
            self._place = self.base = target
            return
        document, wrong = to_document(line, self._form, now)
        batch.bad_lines += bool(wrong)
        batch.cut_lines += line.cut
        batch.size_bytes += len(document.line)
        batch.items.append(document)
        self._place = FilePlace(self._first_hash, end, line.offset, line.digest, before=before)
        batch.positions.append(self._place)

    def _scan_overlong(self, file: FileBytes, overlong: Overlong, batch: _Lines) -> _Lines | None:
        """Go on to the line's end; an empty batch when other files should have their turn."""
        chunk = self._bytes_at(file, self._offset + overlong.scanned_bytes, _SCAN_BYTES)
        line, lf, _ = chunk.partition(b"\n")
        overlong.feed(line)
        if not lf:
            if len(chunk) == _SCAN_BYTES:
                return batch
            file.check_whole()
            if not self._settled(b""):
                return None
        self._overlong = None
        line_of = Line(
            str(self.state.path),
            self._first_hash,
            self._offset,
            overlong.content,
            overlong.line_hash(),
            overlong.size_bytes,
        )
        end = self._offset + overlong.scanned_bytes + len(lf)
        self._add(batch, line_of, end, dt.datetime.now(dt.UTC))
        self._offset = end
        return batch

    def _skip_zeros(self, file: FileBytes, block: bytes, batch: _Lines) -> _Lines | None:
        """Pass over NUL bytes when something follows them: a program may fill reserved room later.

        Others are left by a truncation under a writer that does not append (O_APPEND), or a crash.
        """
        rest = block.lstrip(b"\0")
        if rest or self.state.compression:
            self._offset += len(block) - len(rest)
            return batch
        end, more = self._behind_zeros(file, self._offset + len(block))
        if more is None:
            self._padded_bytes = end
            return None
        if more:
            self._offset = end
        return batch

    def _behind_zeros(self, file: FileBytes, at: int) -> tuple[int, bool | None]:
        """Where zeros end and whether something follows there: None at the end of the file.

        False when other files should have their turn; the next call goes on there.
        """
        at = file.next_data(max(self._zeros_end, at))
        chunk = self._bytes_at(file, at, _SCAN_BYTES)
        rest = chunk.lstrip(b"\0")
        end = at + len(chunk) - len(rest)
        self._zeros_end = end if chunk and not rest else 0
        return end, bool(rest) if chunk else None

    def _settled(self, tail: bytes) -> bool:
        """Whether nothing is likely to be written behind this tail any more."""
        if not tail and self._overlong is None:
            return False
        if self.state.compression:
            return True
        idle = time.time() - self.state.mtime
        if idle >= (_GONE_SETTLES_SECONDS if self.gone else _TAIL_SETTLES_SECONDS):
            return True
        return idle >= _OBJECT_SETTLES_SECONDS and _is_object(tail)


def _chain_behind(place: FilePlace) -> str:
    return place.before and chained(place.before, place.line_hash)


def _is_object(tail: bytes) -> bool:
    try:
        return isinstance(orjson.loads(tail), dict)
    except orjson.JSONDecodeError:
        return False
