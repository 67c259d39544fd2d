"""What is shipped from: a source is looked at, and followed by each sink for itself.

    Source     finds what there is (logs of directories, files of a glob, a journal)
    Follower   one source on its way to one sink: its lanes and their cursors
    Harvester  reads one lane's entries in order, from a position on

A sighting is what a source has found, for its followers alone to understand.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from auditlog.cursors import CursorStore
    from shippers.batch import AnyBatch
    from shippers.lane import Lane
    from shippers.quarantine.store import Quarantine
    from shippers.stats import LogStats

__all__ = ["Follower", "Following", "Harvester", "Source"]


class Harvester(Protocol):
    """Reads one lane.  It belongs to one loop, which it never blocks.

    ``exhausted`` is true when the last read gave nothing since there is nothing, and false when
    it is only not there yet; then the lane is woken.
    """

    @property
    def position(self) -> Any: ...

    @property
    def exhausted(self) -> bool: ...

    def read(self, max_bytes: int, max_records: int) -> AnyBatch | None:
        """The next entries; None when there are none for now.  An empty batch asks to be called
        again.  Raises AuditLogError, OSError; the position stays."""
        ...

    def lag_bytes(self) -> int:
        """How much is not read yet, as far as that is known."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Following:
    """Whom a follower works for; ``wake`` may be called from any thread with a lane's name.

    ``drain`` means that what is there now is to be shipped, and then it ends.
    """

    sink: str
    cursors: CursorStore
    quarantine: Quarantine
    drain: bool
    wake: Callable[[str], None]


class Follower(Protocol):
    """One source as one sink follows it.  Only the sink's loop calls it, ``stats`` excepted."""

    @property
    def lanes(self) -> Collection[Lane]: ...

    def see(self, sighting: Any) -> Iterable[Lane]:
        """Take note of what there is now; the lanes that may have something to read.

        Raises ShipperError for what must not be shipped.
        """
        ...

    def woken(self, name: str) -> Lane | None:
        """The lane that a path or a lane's name stands for; None for what is another's."""
        ...

    def save(self) -> None:
        """Make the cursors durable of all lanes whose position moved.  Raises OSError."""
        ...

    def stats(self, lock: threading.Lock) -> list[LogStats]:
        """Called from other threads; ``lock`` keeps the loop from changing lanes meanwhile."""
        ...


class Source(Protocol):
    """Something to ship from.  ``name`` is unique among the sources of a service."""

    @property
    def name(self) -> str: ...

    @property
    def directories(self) -> Sequence[Path]:
        """What to watch, as known by the last look."""
        ...

    def look(self, changed: Collection[Path] | None, *, strict: bool = False) -> Sequence[object]:
        """Sightings of what there is in the directories that changed, or in all (None).

        What cannot be looked at is said once; with ``strict`` it raises OSError.
        """
        ...

    def follow(self, following: Following) -> Follower: ...
