"""Define the source protocol: sources are listed once, and read once per sink.

    Source      finds what there is: logs of directories, files of a glob, a journal
    Feed        one source on its way to one sink: its lanes and their cursors

A lane (shippers.lane) reads with a harvester of its source.
A sighting is what a look has found; only the source's own feeds understand it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterable, Sequence
    from pathlib import Path

    from auditlog.cursors import CursorStore
    from shippers.lane import AnyLane
    from shippers.quarantine.store import Quarantine
    from shippers.stats import LogStats

__all__ = ["Feed", "FeedContext", "Source"]


@dataclass(frozen=True, slots=True)
class FeedContext:
    """Arguments of a new feed.  ``wake`` may be called from any thread with a lane's name.

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
