"""Read the uncompressed bytes of one file that another program writes, by offset.

The file is opened only while there is something to read: the descriptor holds it when it is renamed
or removed meanwhile, and thousands of old files hold none.  A plain file is read in place; a
compressed one is finished, and read forwards.  Once it is open nothing goes by its name, which
rotation gives to another file.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from auditlog.errors import LogDamaged
from auditlog.reading.decompression import unpacked
from shippers.sources.forward_reader import ForwardReader

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path

__all__ = ["FileBytes", "FileState", "compression_of", "other_format"]

_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class FileState:
    """A file as a listing shows it; ``key`` is (device, inode), ``mtime`` in seconds.

    ``target`` is what is opened if ``path`` is a symbolic link.
    """

    path: Path
    key: tuple[int, int]
    size_bytes: int
    mtime: float
    target: Path | None = None

    @property
    def opened_path(self) -> Path:
        return self.target or self.path

    @property
    def compression(self) -> str:
        return compression_of(self.path)

    @property
    def signature(self) -> str:
        """Changes whenever the file does; says nothing about what is in it."""
        return f"{self.key[0]}:{self.key[1]}:{self.size_bytes}:{self.mtime!r}"


def compression_of(path: Path) -> str:
    """``.gz``, ``.zst`` or ""."""
    return path.suffix if path.suffix in {".gz", ".zst"} else ""


_FORMATS: Final = {
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
    b"\x1f\x8b": "gzip, and not named so",
    b"\x28\xb5\x2f\xfd": "zstd, and not named so",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"\x7fELF": "a program",
    b"LPKSHHRH": "a systemd journal",
    b"SQLite format 3\0": "an SQLite database",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
}

# A truncation leaves a hole, a crash zeros up to the end of a block, and room may be reserved.
_PADDING: Final = re.compile(rb"(?:\A|(?<=\n))\0+|\0{512,}")


def other_format(beginning: bytes) -> str:
    """The format of a file that does not hold lines of text; "" if it may."""
    for magic, name in _FORMATS.items():
        if beginning.startswith(magic):
            return name
    head = _PADDING.sub(b"", beginning)[:4096]
    return "binary" if 10 * head.count(0) > len(head) else ""


class FileBytes:
    """An open file.  Raises FileNotFoundError if the path is not that file any more, OSError."""

    def __init__(self, state: FileState) -> None:
        self._path = state.path
        self._compression = state.compression
        self._packed: ForwardReader | None = None
        self._fd = os.open(state.opened_path, _FLAGS)
        try:
            self._check(state)
            if self._compression:
                self._packed = ForwardReader(self._unpacked)
        except BaseException:
            os.close(self._fd)
            raise

    def _check(self, state: FileState) -> None:
        found = os.fstat(self._fd)
        if (found.st_dev, found.st_ino) != state.key or not stat.S_ISREG(found.st_mode):
            raise FileNotFoundError(2, os.strerror(2), str(state.path))

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()
        os.close(self._fd)

    def status(self) -> tuple[int, float]:
        """Size and modification time of the file as it is, also if its name is gone."""
        found = os.fstat(self._fd)
        return found.st_size, found.st_mtime

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of what is there now.

        Of a compressed file that is not whole (yet) the bytes that can be unpacked: see
        ``check_whole``.  Raises OSError.
        """
        if self._packed is None:
            return os.pread(self._fd, size, offset)
        return self._packed.read_at(offset, size)

    def check_whole(self) -> None:
        """Raise LogDamaged if the last read ended where a compressed file is not whole."""
        if self._packed is not None and self._packed.damage is not None:
            error, offset = self._packed.damage
            raise LogDamaged(
                f"the compressed file is not whole ({error})",
                path=self._path,
                offset=offset,
                hint="It is tried again; restore it from a copy if nothing is writing it.",
            )

    def next_data(self, offset: int) -> int:
        """The end of a hole at ``offset``: that of the file, or where there is something again."""
        if self._packed is not None:
            return offset
        try:
            return os.lseek(self._fd, offset, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # the hole reaches up to the end
                return max(offset, os.fstat(self._fd).st_size)
            return offset  # a file system without holes

    def _unpacked(self) -> BufferedReader:
        """From the file's beginning; the descriptor stays ours."""
        os.lseek(self._fd, 0, os.SEEK_SET)
        return unpacked(os.fdopen(self._fd, "rb", buffering=0, closefd=False), self._compression)
