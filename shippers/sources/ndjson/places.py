"""Store the shipped position of each file, identified by its content.  Pure.

Files come and go under changing names, so a place does not depend on a name: a harvester that opens
a file asks for the places of its first line, and tries which of them fits.

Invariants (tests of the same name in tests/shippers/sources/ndjson/test_places.py):
  bounded     ``trim`` keeps every place in use, and the newest ``limit`` of the others
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from auditlog.format.foreign_files import FilePlace

__all__ = ["Places"]

_LIMIT: Final = 4096


class Places:
    """Places in files that are not open any more, in the order in which they were left."""

    def __init__(self, places: Iterable[FilePlace] = (), limit: int = _LIMIT) -> None:
        self._limit = limit
        self._all: dict[FilePlace, None] = {}
        self._by_first: dict[str, set[FilePlace]] = {}
        for place in places:
            self.add(place)

    def all(self) -> tuple[FilePlace, ...]:
        return tuple(self._all)

    def of(self, first_hash: str) -> Collection[FilePlace]:
        """The places in files that begin with this line."""
        return self._by_first.get(first_hash, ())

    def add(self, place: FilePlace) -> None:
        self.discard(place)
        self._all[place] = None
        self._by_first.setdefault(place.first_hash, set()).add(place)

    def trim(self, in_use: Collection[FilePlace | None]) -> None:
        """Drop the oldest places beyond the limit, but none that a file stands for."""
        spare = [place for place in self._all if place not in in_use]
        for place in spare[: max(0, len(spare) - self._limit)]:
            self.discard(place)

    def discard(self, place: FilePlace) -> None:
        if place in self._all:
            del self._all[place]
            same = self._by_first[place.first_hash]
            same.discard(place)
            if not same:
                del self._by_first[place.first_hash]
