"""Read an archived segment as it arrives: its bytes are hashed, its lines decompressed.

Invariants (tests of the same name in tests/shippers/archive/test_download.py):
  hashed    size and hash are those of all bytes, also where decompressing stopped before the end
  bounded   memory does not grow with the size of an object
"""

from __future__ import annotations

import io
from hashlib import sha256
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import zstandard

from auditlog.reading.decompression import NotWhole

if TYPE_CHECKING:
    from collections.abc import Iterator

    from _typeshed import WriteableBuffer as Buffer

__all__ = ["ArrivingObject"]

_MAX_WINDOW_BYTES: Final = 1 << 27


class ArrivingObject(io.RawIOBase):
    """The bytes of an object that arrive in pieces."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self.size_bytes = 0
        self._digest = sha256()
        self._pieces = pieces
        self._rest = memoryview(b"")

    @property
    def sha256(self) -> str:
        """The hash of what has arrived so far, in hex."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        if not self._rest and not self._next():
            return 0
        target = memoryview(buffer).cast("B")
        taken = self._rest[: len(target)]
        target[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)

    def drain(self) -> None:
        """Receive and hash whatever is left."""
        while self._next():
            pass

    def content(self) -> BinaryIO:
        """Open the decompressed bytes.  Reading raises NotWhole where they are none."""
        return cast("BinaryIO", io.BufferedReader(_Decompressed(self)))

    def _next(self) -> bool:
        piece = next(self._pieces, None)
        if piece is None:
            return False
        self.size_bytes += len(piece)
        self._digest.update(piece)
        self._rest = memoryview(piece)
        return True


class _Decompressed(io.RawIOBase):
    def __init__(self, arriving: ArrivingObject) -> None:
        super().__init__()
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        self._stream = decompressor.stream_reader(
            cast("BinaryIO", arriving), read_across_frames=True, closefd=False
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        try:
            return self._stream.readinto(buffer)
        except zstandard.ZstdError as error:
            raise NotWhole(str(error)) from error
