"""The uncompressed bytes of one segment, by offset, in whatever form the file has.

A plain segment is read in place, so what its writer appends (or cuts off) meanwhile is simply
there at the next read.  A compressed one is sealed and read once, forwards.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.errors import LogDamaged
from auditlog.reading.reader import NotWhole, open_any_form, open_segment

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from auditlog.reading.inventory import SegmentFile

__all__ = ["SegmentBytes"]

_CHUNK_BYTES: Final = 1 << 18


class SegmentBytes:
    """An open segment.  Raises FileNotFoundError when no form of it is left, OSError otherwise."""

    def __init__(self, segment: SegmentFile) -> None:
        self.name = segment.name.logical
        self._stream: BinaryIO
        self._stream, self.path = open_any_form(segment)
        self.plain = self.path.name == self.name
        self._fd = self._stream.fileno() if self.plain else -1
        self._buffer = b""
        self._buffer_offset = 0
        self._durable_bytes = 0

    def close(self) -> None:
        self._stream.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of what is there now.

        A compressed segment is read from its beginning again when the offset goes back.  Raises
        LogDamaged, OSError.
        """
        if self.plain:
            return os.pread(self._fd, size, offset)
        self._skip_to(offset)
        self._fill(size)
        return self._buffer[:size]

    def is_durable(self, end: int) -> bool:
        """Make durable what was read up to byte ``end``; false where that is not there any more.

        The writer's own sync may still be under way, or have failed, after which it cuts off what
        it wrote.  Raises OSError.
        """
        if not self.plain or end <= self._durable_bytes:
            return True
        size = os.fstat(self._fd).st_size
        durable_fs.fdatasync(self._fd)
        if not self._durable_bytes:
            durable_fs.fsync_directory(self.path.parent)
        if os.fstat(self._fd).st_size < end:
            return False
        self._durable_bytes = size
        return True

    def size(self) -> int | None:
        """The size now, of a plain segment; None for a compressed one."""
        return os.fstat(self._fd).st_size if self.plain else None

    def replaced_by(self) -> Path | None:
        """The path, when another plain file has taken this one's place there."""
        if not self.plain:
            return None
        mine = os.fstat(self._fd)
        try:
            there = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None  # compressed or deleted: what is open stays whole
        return None if os.path.samestat(mine, there) else self.path

    def _skip_to(self, offset: int) -> None:
        if offset < self._buffer_offset:
            self._stream.close()
            self._stream = open_segment(self.path)
            self._buffer, self._buffer_offset = b"", 0
        while self._buffer_offset + len(self._buffer) < offset:
            self._buffer_offset += len(self._buffer)
            self._buffer = self._read_chunk()
            if not self._buffer:
                return
        self._buffer = self._buffer[offset - self._buffer_offset :]
        self._buffer_offset = offset

    def _fill(self, size: int) -> None:
        chunks, have = [self._buffer], len(self._buffer)
        while have < size and (chunk := self._read_chunk()):
            chunks.append(chunk)
            have += len(chunk)
        self._buffer = b"".join(chunks)

    def _read_chunk(self) -> bytes:
        try:
            return self._stream.read(_CHUNK_BYTES)
        except NotWhole as error:
            raise LogDamaged(
                f"the compressed segment cannot be decompressed ({error})",
                path=self.path,
                offset=self._buffer_offset,
                hint="Restore it from a copy; shipping of this log goes on by itself then.",
            ) from error
