"""Read the uncompressed bytes of a compressed file, forward only.

Going back reads the file from its beginning again, so callers go forwards.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from auditlog.reading.decompression import NotWhole

if TYPE_CHECKING:
    from collections.abc import Callable
    from io import BufferedReader

__all__ = ["ForwardReader"]

_CHUNK_BYTES: Final = 1 << 18


class ForwardReader:
    """``start`` opens the uncompressed bytes from their beginning.

    damage   why the file could not be read further, and at which uncompressed offset; None while
             it could
    """

    def __init__(self, start: Callable[[], BufferedReader]) -> None:
        self.damage: tuple[NotWhole, int] | None = None
        self._start = start
        self._stream = start()
        self._buffer = b""
        self._offset = 0  # of the buffer

    def close(self) -> None:
        self._stream.close()

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes; fewer only at the end, or before ``damage``.  Raises OSError."""
        if offset < self._offset:
            self._stream.close()
            self._stream = self._start()
            self._buffer, self._offset, self.damage = b"", 0, None
        while self._offset + len(self._buffer) < offset:
            self._offset += len(self._buffer)
            self._buffer = self._read_chunk()
            if not self._buffer:
                return b""
        chunks = [self._buffer[offset - self._offset :]]
        have = len(chunks[0])
        while have < size and (chunk := self._read_chunk()):
            chunks.append(chunk)
            have += len(chunk)
        self._buffer, self._offset = b"".join(chunks), offset
        return self._buffer[:size]

    def _read_chunk(self) -> bytes:
        if self.damage is not None:
            return b""
        try:
            return self._stream.read1(_CHUNK_BYTES)  # gives what comes before damage
        except NotWhole as error:
            self.damage = error, self._offset
            return b""
