"""Read what QEMU's blklogwrites noted of a disk, and bring an image to the state of its last flush.

The format is that of the kernel's dm-log-writes: a sector with the number of entries, then for each
entry a sector (where, how many sectors, flags) and its data.
"""

from __future__ import annotations

import os
import random
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

__all__ = ["replay_flushed", "replay_some"]

_MAGIC: Final = 0x6A736677736872
_SECTOR: Final = 512
_FLUSH, _FUA, _DISCARD = 1, 2, 4


def replay_flushed(log: Path, image: Path) -> tuple[int, int]:
    """Apply all up to the last flush; how many entries were applied, and how many dropped."""
    entries, flushes = _entries(log)
    flushed = flushes[-1] if flushes else 0
    _apply(log, image, entries[:flushed])
    return flushed, len(entries) - flushed


def replay_some(log: Path, image: Path, rng: random.Random) -> tuple[int, int]:
    """Apply all up to some flush, and some of what was written between it and the next one.

    As a disk may: it writes what it was given in any order until it is told to flush.
    """
    entries, flushes = _entries(log)
    first = rng.randrange(len(flushes)) if flushes else 0
    begin, end = ([*flushes, len(entries)][n] for n in (first, first + 1)) if flushes else (0, 0)
    between = entries[begin : rng.randint(begin, end)]
    kept = [entry for entry in between if entry.forced or rng.random() < 0.5]
    _apply(log, image, entries[:begin] + kept)
    return begin + len(kept), len(between) - len(kept)


class _Entry(NamedTuple):
    where: int
    sectors: int
    flags: int
    data: int

    @property
    def forced(self) -> bool:
        return bool(self.flags & (_FLUSH | _FUA))


def _entries(log: Path) -> tuple[list[_Entry], list[int]]:
    """Every entry, and the number of entries up to each flush."""
    with log.open("rb") as noted:
        magic, _, count, sector = struct.unpack_from("<QQQI", noted.read(_SECTOR).ljust(28, b"\0"))
        if magic == 0:  # it was cut before its first flush
            return [], []
        assert (magic, sector) == (_MAGIC, _SECTOR)
        entries: list[_Entry] = []
        flushes: list[int] = []
        offset, end = _SECTOR, log.stat().st_size
        while offset + _SECTOR <= end:
            where, sectors, flags, _ = struct.unpack_from("<QQQQ", _read(noted, offset, 32))
            entries.append(_Entry(where, sectors, flags, offset + _SECTOR))
            offset += _SECTOR + (0 if flags & _DISCARD else sectors * _SECTOR)
            # The number of entries is noted with each flush: what lies behind it was not flushed.
            if flags & (_FLUSH | _FUA) and len(entries) <= count:
                flushes.append(len(entries))
        return entries, flushes


def _apply(log: Path, image: Path, entries: Iterable[_Entry]) -> None:
    with log.open("rb") as noted, image.open("r+b") as disk:
        for entry in entries:
            size = entry.sectors * _SECTOR
            disk.seek(entry.where * _SECTOR)
            disk.write(bytes(size) if entry.flags & _DISCARD else _read(noted, entry.data, size))


def _read(file: BinaryIO, offset: int, size: int) -> bytes:
    return os.pread(file.fileno(), size, offset)
