"""Decompress .zst and .gz streams, and detect truncated or damaged files.

zstandard's own reader takes a file that was cut off at a block for a complete one.  So the blocks
of the frames are counted by their headers when the file is opened (RFC 8878, 3.1.1): at most 11
bytes are read for every 128 KiB, and the library then decompresses at full speed.

Invariants (tests of the same name in tests/auditlog/reading/test_decompression.py):
  same      the bytes read are those that were compressed, in one frame (gzip: member) or several
  cut_off   a file cut at any byte raises NotWhole, after the bytes that are there were read; a gzip
            member with a wrong checksum does as well
  bounded   however well the content compresses, memory does not grow with it
"""

from __future__ import annotations

import io
import os
from bisect import bisect_left
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import zlib
    from types import ModuleType

    from _typeshed import WriteableBuffer as Buffer

__all__ = ["NotWhole", "unpacked"]

_READ_BYTES: Final = 1 << 17
_CHUNK_BYTES: Final = 1 << 18
_MAX_WINDOW_BYTES: Final = 1 << 27  # zstd frames may ask for more only with --ultra --long
_MAX_FRAME_HEADER_BYTES: Final = 18
_RLE: Final = 1
_SKIPPABLE: Final = b"\x2a\x4d\x18"  # behind 0x50 to 0x5f: a frame of another program's data


class NotWhole(EOFError):
    """Reading a compressed file whose bytes are damaged or cut off."""


def unpacked(raw: io.FileIO, compression: str) -> io.BufferedReader:
    """The uncompressed bytes of a file open at its beginning; closing them closes the file.

    ``compression`` is "", ".zst" or ".gz".  Reading raises NotWhole.
    """
    stream = {".zst": _Zstandard, ".gz": _Gzip}.get(compression)
    return io.BufferedReader(raw if stream is None else stream(raw), _CHUNK_BYTES)


_ZSTD_CAUSES: Final = (
    ("too much memory", "its window is larger than 128 MiB, as zstd --ultra and --long make it"),
    ("ictionary", "it needs the dictionary that it was compressed with"),
)


class _Compressed(io.RawIOBase):
    def __init__(self, raw: io.FileIO) -> None:
        self._raw = raw

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Zstandard(_Compressed):
    def __init__(self, raw: io.FileIO) -> None:
        import zstandard  # noqa: PLC0415  (a process that only writes never needs it)

        super().__init__(raw)
        self._error = zstandard.ZstdError
        self._whole = _ends_with_a_frame(raw.fileno(), zstandard)
        decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        self._stream = decompressor.stream_reader(
            raw, read_size=_READ_BYTES, read_across_frames=True, closefd=False
        )

    def readinto(self, buffer: Buffer, /) -> int:
        """Raises NotWhole when the bytes are not complete frames."""
        try:
            read = self._stream.readinto(buffer)
        except self._error as error:
            text = str(error)
            cause = next((named for part, named in _ZSTD_CAUSES if part in text), text)
            raise NotWhole(cause) from error
        if not read and not self._whole:
            raise NotWhole("its end is missing")
        return read


def _ends_with_a_frame(fd: int, zstandard: ModuleType) -> bool:
    """Whether the file is one complete frame or several; their content is not looked at."""
    size, at = os.fstat(fd).st_size, 0
    while at < size or not size:
        head = os.pread(fd, _MAX_FRAME_HEADER_BYTES, at)
        if head[1:4] == _SKIPPABLE and head[0] >> 4 == 5 and len(head) >= 8:
            at += 8 + int.from_bytes(head[4:8], "little")
            continue
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


class _Gzip(_Compressed):
    """One member after the other; the last has to come to its end."""

    def __init__(self, raw: io.FileIO) -> None:
        import zlib  # noqa: PLC0415  (a process that only writes never needs it)

        super().__init__(raw)
        self._zlib = zlib
        self._member: zlib._Decompress | None = self._next()  # no member: incomplete
        self._packed = b""

    def _next(self) -> zlib._Decompress:
        return self._zlib.decompressobj(wbits=16 + self._zlib.MAX_WBITS)

    def readinto(self, buffer: Buffer, /) -> int:
        """Raises NotWhole when the bytes are not complete members."""
        target = memoryview(buffer).cast("B")
        while True:
            packed = self._packed or self._raw.read(_READ_BYTES) or b""
            if self._member is None:
                if not packed:
                    return 0
                self._packed = packed = packed.lstrip(b"\0")  # padding, as gzip(1) ignores it
                if not packed:
                    continue
            member = self._member or self._next()
            before, damaged = member.copy(), b""  # an error drops what was unpacked before it
            try:
                content = member.decompress(packed, len(target))
            except self._zlib.error as error:
                member, good = before, self._good_bytes(before, packed, len(target))
                packed, damaged = packed[:good], packed[good:]
                content = member.decompress(packed, len(target))
                if not content:
                    raise NotWhole(str(error)) from error
            if not packed and not content:
                raise NotWhole("its end is missing")
            self._packed = member.unused_data if member.eof else member.unconsumed_tail
            self._packed += damaged
            self._member = None if member.eof else member
            if content:
                target[: len(content)] = content
                return len(content)

    def _good_bytes(self, member: zlib._Decompress, packed: bytes, room: int) -> int:
        """How many bytes can be unpacked before the damage."""

        def fails(size: int) -> bool:
            try:
                member.copy().decompress(packed[:size], room)
            except self._zlib.error:
                return True
            return False

        return bisect_left(range(len(packed) + 1), True, key=fails) - 1
