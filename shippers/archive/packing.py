"""Compress a segment on the way into the archive: always to the same bytes, never as a whole.

The hash of an object is needed before its first byte is sent, so a segment is compressed twice:
once to measure it, and once as it is sent.  That costs a second of CPU for 256 MiB, and neither
memory nor disk space, of which a host that has to archive may have none left.

Invariants (tests of the same name in tests/shippers/archive/test_packing.py):
  same         every form of a segment gives the same object
  measured     the size and the hashes are those of the bytes that are read
  again        a body can be read again from its beginning, or from any place
"""

from __future__ import annotations

import io
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Final

import zstandard

from auditlog.errors import LogDamaged
from auditlog.reading.decompression import NotWhole
from auditlog.reading.reader import open_any_form

if TYPE_CHECKING:
    from collections.abc import Generator

    from auditlog.reading.inventory import SegmentFile

__all__ = ["PART_BYTES", "SINGLE_BYTES", "Measured", "PackedBody", "PartDigests", "measure"]

PART_BYTES: Final = 16 << 20
SINGLE_BYTES: Final = 64 << 20
"""A larger object is uploaded in parts of PART_BYTES, of which one is in memory."""

_CHUNK_BYTES: Final = 1 << 18
_LEVEL: Final = 3


@dataclass(frozen=True, slots=True)
class Measured:
    """Sizes of an object and of its content, the object's SHA-256 in hex, and its checksum.

    The checksum is what S3 calls so: base64 of the SHA-256, or for an upload in parts that of the
    parts' digests, and their number behind it.
    """

    size_bytes: int
    sha256: str
    checksum: str
    content_bytes: int

    @property
    def in_parts(self) -> bool:
        return "-" in self.checksum

    @classmethod
    def of(cls, content: bytes) -> Measured:
        """Measure an object that is stored as it is, in one piece."""
        digest = sha256(content)
        checksum = b64encode(digest.digest()).decode()
        return cls(len(content), digest.hexdigest(), checksum, len(content))


def measure(segment: SegmentFile) -> Measured:
    """Compress a segment and keep nothing.  Raises LogDamaged, OSError."""
    whole, parts, content = sha256(), PartDigests(), 0
    for piece, read in _pieces(segment):
        content += read
        whole.update(piece)
        parts.update(piece)
    checksum = b64encode(whole.digest()).decode()
    if parts.size_bytes > SINGLE_BYTES:
        checksum = parts.checksum()
    return Measured(parts.size_bytes, whole.hexdigest(), checksum, content)


class PartDigests:
    """The checksum of an object that is uploaded in parts of PART_BYTES."""

    def __init__(self) -> None:
        self.size_bytes = 0
        self._digests: list[bytes] = []
        self._part = sha256()
        self._room = PART_BYTES

    def update(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        while piece:
            self._part.update(piece[: self._room])
            rest = piece[self._room :]
            self._room -= len(piece) - len(rest)
            if not self._room:
                self._finish()
            piece = rest

    def checksum(self) -> str:
        """The checksum; nothing may be added afterwards."""
        if self._room < PART_BYTES:
            self._finish()
        whole = sha256(b"".join(self._digests)).digest()
        return f"{b64encode(whole).decode()}-{len(self._digests)}"

    def _finish(self) -> None:
        self._digests.append(self._part.digest())
        self._part, self._room = sha256(), PART_BYTES


def _pieces(segment: SegmentFile) -> Generator[tuple[bytes, int], None, None]:
    """Yield compressed bytes, and the number of bytes that were read for them."""
    # Fixed for ever: another setting would give another object under the same key.
    compressor = zstandard.ZstdCompressor(
        level=_LEVEL, write_checksum=True, write_content_size=False
    ).compressobj()
    stream, path = open_any_form(segment)
    with stream:
        try:
            while chunk := stream.read(_CHUNK_BYTES):
                yield compressor.compress(chunk), len(chunk)
        except NotWhole as error:
            raise LogDamaged(
                f"the compressed segment cannot be decompressed ({error})",
                path=path,
                hint="Restore it from a copy, or from the index.",
            ) from error
    yield compressor.flush(), 0


class PackedBody(io.RawIOBase):
    """The bytes of an object, made as they are read."""

    def __init__(self, segment: SegmentFile, size_bytes: int) -> None:
        super().__init__()
        self._segment = segment
        self._size = size_bytes
        self._wanted = 0  # where the caller is
        self._at = 0  # where the first byte of _rest is
        self._rest = b""
        self._pieces = _pieces(segment)

    def __len__(self) -> int:
        return self._size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._wanted

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._wanted, io.SEEK_END: self._size}[whence]
        self._wanted = base + offset
        return self._wanted

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end.  Raises LogDamaged, OSError."""
        if self._wanted < self._at:
            self._pieces.close()
            self._pieces, self._at, self._rest = _pieces(self._segment), 0, b""
        while self._at < self._wanted and self._take(min(self._wanted - self._at, _CHUNK_BYTES)):
            pass
        left = max(0, self._size - self._wanted)
        found = self._take(left if size < 0 else min(size, left))
        self._wanted += len(found)
        return found

    def _take(self, size: int) -> bytes:
        """Return the next bytes, wherever the caller is."""
        parts: list[bytes] = []
        missing = size
        while missing > 0:
            if not self._rest:
                piece, _ = next(self._pieces, (None, 0))
                if piece is None:
                    break
                self._rest = piece
                continue
            parts.append(self._rest[:missing])
            missing -= len(parts[-1])
            self._rest = self._rest[len(parts[-1]) :]
        found = b"".join(parts)
        self._at += len(found)
        return found

    def close(self) -> None:
        self._pieces.close()
        super().close()
