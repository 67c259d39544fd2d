"""Read the uncompressed bytes of one segment by offset, plain or compressed.

A plain segment is read in place, so the next read sees what its writer appends (or cuts off)
meanwhile.  A compressed one is sealed and read once, forwards.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.errors import LogDamaged
from auditlog.reading.reader import open_any_form, open_segment
from shippers.sources.forward_reader import ForwardReader

if TYPE_CHECKING:
    from pathlib import Path

    from auditlog.reading.inventory import SegmentFile

__all__ = ["SegmentBytes"]


class SegmentBytes:
    """An open segment.  Raises FileNotFoundError if no form of it is left, OSError otherwise."""

    def __init__(self, segment: SegmentFile) -> None:
        self.name = segment.name.logical
        stream, self.path = open_any_form(segment)
        self._stream = stream
        self._fd = stream.fileno() if self.path.name == self.name else -1
        self._packed: ForwardReader | None = None
        self._durable_bytes = 0
        if self._fd < 0:
            opened = iter([stream])  # once; after that from the beginning again
            self._packed = ForwardReader(lambda: next(opened, None) or open_segment(self.path))

    def close(self) -> None:
        (self._packed or self._stream).close()

    def read_at(self, offset: int, size: int) -> bytes:
        """Up to ``size`` bytes from ``offset``; fewer only at the end of what is there now.

        Raises LogDamaged, OSError.
        """
        if self._packed is None:
            return os.pread(self._fd, size, offset)
        block = self._packed.read_at(offset, size)
        if self._packed.damage is not None:
            error, at = self._packed.damage
            raise LogDamaged(
                f"the compressed segment cannot be decompressed ({error})",
                path=self.path,
                offset=at,
                hint="Restore it from a copy; shipping of this log goes on by itself then.",
            )
        return block

    def is_durable(self, end: int) -> bool:
        """Make the bytes before ``end`` durable; false if they are not there any more.

        The writer's own sync may still be under way, or have failed: then it cuts off what it
        wrote.  Raises OSError.
        """
        if self._packed is not None or end <= self._durable_bytes:
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
        """The size of a plain segment now; None for a compressed one."""
        return os.fstat(self._fd).st_size if self._packed is None else None

    def replaced_by(self) -> Path | None:
        """The path, if another plain file has taken this one's place."""
        if self._packed is not None:
            return None
        mine = os.fstat(self._fd)
        try:
            there = self.path.stat(follow_symlinks=False)
        except FileNotFoundError:
            return None  # compressed or deleted: what is open stays whole
        return None if os.path.samestat(mine, there) else self.path
