"""List the indices that retention deleted from a sink, so that no shipper creates them again.

The tombstones in ``retention@<host>`` are the only source: they are durable before an index is
deleted, retention never deletes them, and they do not depend on a state directory.  They are read
again only when a retention log has changed, so a shipper can ask before every request.

Invariants (tests of the same name in tests/auditlog/reading/test_deleted_indices.py):
  told_at_once   a tombstone is known as soon as it is durable, whichever process wrote it
  elsewhere      an index of the same name in another cluster does not count
  kept           a log that cannot be read for a while does not make a known deletion unknown
"""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from auditlog.reading.inventory import scan
from auditlog.reading.tombstone_scan import RETENTION_SERVICE, index_tombstones

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from auditlog.format.tombstones import IndexTombstone

__all__ = ["DeletedIndices"]

_SETTLED_NS: Final = 2_000_000_000
"""A directory may change again within the resolution of its modification time (ns)."""

_Looks = tuple[int, tuple[tuple[Path, int], ...]]
"""How a directory looked: when it changed, and how long its logs' newest segments were."""


class DeletedIndices:
    """The deleted indices of the directories' tombstones.  Thread-safe."""

    def __init__(self, directories: Iterable[Path]) -> None:
        self._directories = tuple(directories)
        self._lock = threading.Lock()
        self._seen: dict[Path, _Looks] = {}
        self._found: dict[Path, tuple[IndexTombstone, ...]] = {}

    def of(self, sink: str, urls: Sequence[str] = ()) -> frozenset[str]:
        """Names of the indices that were deleted in this sink.

        A sink is known by its name, or by one of its addresses: under another name it would be
        shipped to from the beginning, and must not get back what is gone.
        """
        with self._lock:
            for directory in self._directories:
                self._look(directory)
            return frozenset(
                tombstone.index
                for found in self._found.values()
                for tombstone in found
                if tombstone.sink == sink or set(tombstone.urls) & set(urls)
            )

    def _look(self, directory: Path) -> None:
        try:
            changed_ns = directory.stat().st_mtime_ns
            before = self._seen.get(directory)
            if before is not None and before == (changed_ns, _sizes(p for p, _ in before[1])):
                return
            newest = [
                segments[-1].form_path("")
                for log, segments in scan(directory).logs.items()
                if log.service == RETENTION_SERVICE
            ]
            sizes = _sizes(newest)  # before the content: what is written meanwhile is read again
            found = index_tombstones(directory)
        except OSError:  # missing for now: the indices known so far stay known
            return
        self._found[directory] = tuple(dict.fromkeys((*self._found.get(directory, ()), *found)))
        if time.time_ns() - changed_ns > _SETTLED_NS:
            self._seen[directory] = (changed_ns, sizes)


def _sizes(segments: Iterable[Path]) -> tuple[tuple[Path, int], ...]:
    return tuple((path, path.stat().st_size if path.exists() else -1) for path in segments)
