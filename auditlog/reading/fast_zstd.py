"""Read a .zst segment as fast as its library can, and still notice one that was cut off.

The reader of auditlog feeds the decompressor some bytes at a time, since only so it learns whether
the last frame has ended.  Here the blocks of the frames are counted off beforehand by their
headers (RFC 8878, 3.1.1), 11 bytes or less in 128 KiB, and the library reads as it likes.

Invariants (tests of the same name in tests/auditlog/reading/test_fast_zstd.py):
  same      what is read is what auditlog.reading.reader reads
  cut_off   a file cut at any byte raises NotWhole, after what was there was read
"""

from __future__ import annotations

import io
import os
from typing import TYPE_CHECKING, BinaryIO, Final

import zstandard

from auditlog import durable_fs
from auditlog.reading.reader import NotWhole

if TYPE_CHECKING:
    from pathlib import Path

    from _typeshed import WriteableBuffer as Buffer

__all__ = ["open_zstd"]

_READ_BYTES: Final = 1 << 17
_MAX_WINDOW_BYTES: Final = 1 << 27  # as auditlog.reading.reader
_MAX_HEADER_BYTES: Final = 18
_RLE: Final = 1


class _Zstd(io.RawIOBase):
    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw
        self._whole = _ends_with_a_frame(raw.fileno())
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        self._stream = decompressor.stream_reader(
            raw, read_size=_READ_BYTES, read_across_frames=True, closefd=False
        )

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Raises NotWhole when the bytes are not whole frames."""
        try:
            read = self._stream.readinto(buffer)
        except zstandard.ZstdError as error:
            raise NotWhole(str(error)) from error
        if not read and not self._whole:
            raise NotWhole("its end is missing")
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


def open_zstd(path: Path) -> BinaryIO:
    """Open for reading the uncompressed bytes.  A symlink is refused (ELOOP); raises OSError."""
    raw = os.fdopen(durable_fs.open_read(path), "rb", buffering=0)
    return io.BufferedReader(_Zstd(raw), _READ_BYTES)


def _ends_with_a_frame(fd: int) -> bool:
    """Whether the file is one whole frame or several; what is in them is not looked at."""
    size, at = os.fstat(fd).st_size, 0
    while at < size or not size:
        head = os.pread(fd, _MAX_HEADER_BYTES, at)
        try:
            checksum = zstandard.get_frame_parameters(head).has_checksum
            at += zstandard.frame_header_size(head)
        except zstandard.ZstdError:
            return False
        last = False
        while not last:
            block = os.pread(fd, 3, at)
            if len(block) < 3:
                return False
            header = int.from_bytes(block, "little")
            last = bool(header & 1)
            at += 3 + (1 if header >> 1 & 3 == _RLE else header >> 3)
        at += 4 if checksum else 0
    return at == size
