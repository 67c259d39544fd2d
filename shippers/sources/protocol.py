"""Define what is shipped from.  A source is looked at once; each sink follows it with its own feed.

    Source      finds what there is: logs of directories, files of a glob, a journal
    Feed        one source on its way to one sink: its lanes and their cursors
    Harvester   reads one lane in order, from a position on

A sighting is what a look has found; only the source's own feeds understand it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from auditlog.cursors import CursorStore
    from shippers.batch import Batch
    from shippers.lane import AnyLane
    from shippers.quarantine.store import Quarantine
    from shippers.stats import LogStats

__all__ = ["Feed", "FeedContext", "Harvester", "Source"]

P = TypeVar("P")


class Harvester(Protocol[P]):
    """Reads one lane.  It belongs to one delivery loop, which it never blocks.

    ``exhausted``: the last read gave nothing because there is nothing.  It is false if something
    is only not there yet; then the lane is woken.
    """

    @property
    def exhausted(self) -> bool: ...

    def read(self, max_bytes: int, max_records: int) -> Batch[P] | None:
        """The next items; None if there are none for now.  An empty batch asks to be called again.

        Raises AuditLogError, OSError; the position stays.
        """
        ...

    def rewind(self, position: P) -> None:
        """Read on from a position that was given out before."""
        ...

    def lag_bytes(self) -> int:
        """Bytes that are not read yet, as far as that is known."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class FeedContext:
    """What a feed works with.  ``wake`` may be called from any thread with a lane's name.

    With ``drain`` a feed ships what is there now, and then ends.
    """

    sink: str
    cursors: CursorStore
    quarantine: Quarantine
    drain: bool
    wake: Callable[[str], None]


class Feed(Protocol):
    """One source on its way to one sink.  Only the sink's loop calls it, except for ``stats``."""

    @property
    def lanes(self) -> Collection[AnyLane]: ...

    def see(self, sighting: Any) -> Iterable[AnyLane]:
        """Take note of a sighting; returns the lanes that may have something to read.

        Raises ShipperError for what must not be shipped.
        """
        ...

    def lane_of(self, name: str) -> AnyLane | None:
        """The lane that a path or a lane's name stands for; None if it is another source's."""
        ...

    def save(self) -> None:
        """Make the positions of all lanes durable that moved.  Raises OSError."""
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
        """The directories to watch, as known by the last look."""
        ...

    def look(self, changed: Collection[Path] | None, *, strict: bool = False) -> Sequence[object]:
        """Sightings of what there is in the directories that changed, or in all (None).

        A directory that cannot be listed is logged once; with ``strict`` it raises OSError.
        """
        ...

    def feed(self, context: FeedContext) -> Feed:
        """A new feed to one sink."""
        ...
