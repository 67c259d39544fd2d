"""The places that were reached in files, by what the files begin with.  Pure.

    {"files": [[first_hash, offset, line_at, line_hash, seal], …]}      in the source's cursor

Files come and go under changing names, so a place is not tied to a name: whoever opens a file asks
for the places of its first line, and tries which of them fits.

Invariants (tests of the same name in tests/shippers/test_ndjson_places.py):
  round_trip  what was encoded is decoded, and what is damaged is refused
  bounded     no more than ``limit`` places are kept, the newest ones
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = ["FilePlace", "Places", "decode", "encode"]

_LIMIT: Final = 1024


class FilePlace(NamedTuple):
    """Everything before ``offset`` is behind it; ``line_at`` and ``line_hash`` are those of the
    last line before it.  ``seal`` is the signature of a compressed file that it is the end of.
    """

    first_hash: str
    offset: int
    line_at: int
    line_hash: str
    seal: str = ""


class Places:
    """Places that nobody is at any more, in the order in which they were left."""

    def __init__(self, places: Iterable[FilePlace] = (), limit: int = _LIMIT) -> None:
        self._limit = limit
        self._all: dict[FilePlace, None] = {}
        self._by_first: dict[str, set[FilePlace]] = {}
        for place in places:
            self.add(place)

    def __len__(self) -> int:
        return len(self._all)

    def all(self) -> tuple[FilePlace, ...]:
        return tuple(self._all)

    def of(self, first_hash: str) -> Collection[FilePlace]:
        """The places in files that begin with this line."""
        return self._by_first.get(first_hash, ())

    def add(self, place: FilePlace) -> None:
        self.discard(place)
        self._all[place] = None
        self._by_first.setdefault(place.first_hash, set()).add(place)
        if len(self._all) > self._limit:
            self.discard(next(iter(self._all)))

    def discard(self, place: FilePlace) -> None:
        if place in self._all:
            del self._all[place]
            same = self._by_first[place.first_hash]
            same.discard(place)
            if not same:
                del self._by_first[place.first_hash]


def encode(places: Iterable[FilePlace]) -> dict[str, Any]:
    return {"files": [list(place) for place in dict.fromkeys(places)]}


def decode(value: Mapping[str, Any]) -> list[FilePlace]:
    """Raises ValueError when it is not what encode made."""
    try:
        places = [FilePlace(*fields) for fields in value["files"]]
    except (KeyError, TypeError) as error:
        raise ValueError("the cursor does not hold the places of files") from error
    kinds = (str, int, int, str, str)
    if not all(list(map(type, place)) == list(kinds) for place in places):
        raise ValueError("the cursor does not hold the places of files")
    return places
