"""Read what QEMU's blklogwrites noted of a disk, and bring an image to the state of its last flush.

The format is that of the kernel's dm-log-writes: a sector with the number of entries, then for each
entry a sector (where, how many sectors, flags) and its data.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO, Final

__all__ = ["replay_flushed"]

_MAGIC: Final = 0x6A736677736872
_SECTOR: Final = 512
_FLUSH, _FUA, _DISCARD = 1, 2, 4


def replay_flushed(log: Path, image: Path) -> tuple[int, int]:
    """Apply all up to the last flush; how many entries were applied, and how many dropped."""
    with log.open("rb") as noted, image.open("r+b") as disk:
        magic, _, count, sector = struct.unpack_from("<QQQI", noted.read(_SECTOR).ljust(28, b"\0"))
        if magic == 0:  # it was cut before its first flush
            return 0, 0
        assert (magic, sector) == (_MAGIC, _SECTOR)
        entries: list[tuple[int, int, int, int]] = []
        offset, flushed, end = _SECTOR, 0, log.stat().st_size
        while offset + _SECTOR <= end:
            where, sectors, flags, _ = struct.unpack_from("<QQQQ", _read(noted, offset, 32))
            entries.append((where, sectors, flags, offset + _SECTOR))
            offset += _SECTOR + (0 if flags & _DISCARD else sectors * _SECTOR)
            # The number of entries is noted with each flush: what lies behind it was not flushed.
            if flags & (_FLUSH | _FUA) and len(entries) <= count:
                flushed = len(entries)
        for where, sectors, flags, data in entries[:flushed]:
            size = sectors * _SECTOR
            disk.seek(where * _SECTOR)
            disk.write(bytes(size) if flags & _DISCARD else _read(noted, data, size))
        return flushed, len(entries) - flushed


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, offset)
