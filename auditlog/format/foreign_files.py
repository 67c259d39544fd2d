"""Define cursors into foreign NDJSON files, and parse the times of lines.  Pure.

    {"files": [[first_hash, offset, line_at, line_hash, seal, before], …]}   in the source's cursor

Shippers write these cursors and retention reads them, as with those of our own logs (cursors).

Invariants (tests of the same name in tests/auditlog/format/test_foreign_files.py):
  round_trip   what was encoded is decoded, and what is damaged is refused
  no_instant   a value that is not a plausible timestamp gives None, whatever its type
"""

from __future__ import annotations

import datetime as dt
import re
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = [
    "EARLIEST",
    "EMPTY_CHAIN",
    "FIRST_LINE_BYTES",
    "FilePlace",
    "chained",
    "decode_places",
    "encode_places",
    "first_line_hash",
    "instant_of",
    "line_hash",
    "value_at",
]

FIRST_LINE_BYTES: Final = 1 << 16
"""The first bytes of a file's first line identify it: at most this many."""

EARLIEST: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
"""An earlier time is not taken for the time of an event."""

_UNITS: Final = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (1e20, 1e9))
"""Below each limit, how many of a number's unit are a second; 1e11 s is the year 5138."""

_NUMBER: Final = re.compile(r"\d{9,19}(\.\d{1,9})?", re.ASCII)


class FilePlace(NamedTuple):
    """A position: all bytes before ``offset`` were shipped.

    ``line_at`` and ``line_hash`` are offset and hash of the last line before it.  ``seal`` is the
    signature of a compressed file that was shipped to its end.  ``before`` is the chained hash of
    all lines before the last one; "" in places of older versions.
    """

    first_hash: str
    offset: int
    line_at: int
    line_hash: str
    seal: str = ""
    before: str = ""


def encode_places(places: Iterable[FilePlace]) -> dict[str, Any]:
    return {"files": [list(place) for place in dict.fromkeys(places)]}


def decode_places(value: Mapping[str, Any]) -> list[FilePlace]:
    """The reverse of encode_places.  Raises ValueError."""
    try:
        places = [FilePlace(*fields) for fields in value["files"]]
    except (KeyError, TypeError) as error:
        raise ValueError("the cursor does not hold the places of files") from error
    kinds = (str, int, int, str, str, str)
    if not all(list(map(type, place)) == list(kinds) for place in places):
        raise ValueError("the cursor does not hold the places of files")
    return places


EMPTY_CHAIN: Final = sha256().hexdigest()
"""``before`` of a place behind the first line."""


def chained(before: str, line: str) -> str:
    """The chained hash of some lines and of one more, from its line_hash."""
    return sha256(f"{before}{line}".encode("ascii")).hexdigest()


def line_hash(content: bytes) -> str:
    """The hash of a line; its end of line does not count, so that it may still be missing."""
    return sha256(content.rstrip(b"\r\n")).hexdigest()


def first_line_hash(beginning: bytes) -> str | None:
    """The hash of the first line of a file that begins like this; None when it is not whole yet."""
    line, lf, _ = beginning[:FIRST_LINE_BYTES].partition(b"\n")
    if not lf and len(beginning) < FIRST_LINE_BYTES:
        return None
    return line_hash(line)


def value_at(value: Any, field: str) -> Any:
    """The member of that name, or at that path of members joined by dots; None without one."""
    if isinstance(value, dict) and field in value:
        return value[field]
    for name in field.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def instant_of(given: Any) -> dt.datetime | None:
    """Convert a timestamp; None for anything else.

    Accepted are RFC 3339 (UTC without a zone), a number of seconds, milliseconds, microseconds or
    nanoseconds since 1970, such a number as text, and one of these as the member ``$date`` of an
    object (MongoDB).

    >>> instant_of(1_790_000_000).isoformat()
    '2026-09-21T14:13:20+00:00'
    """
    try:
        if isinstance(given, dict) and len(given) == 1:
            return instant_of(given.get("$date"))
        if isinstance(given, str) and _NUMBER.fullmatch(given):
            given = float(given)
        if isinstance(given, str):
            instant = dt.datetime.fromisoformat(given)
            return instant.replace(tzinfo=instant.tzinfo or dt.UTC).astimezone(dt.UTC)
        if isinstance(given, (int, float)) and not isinstance(given, bool):
            unit = next((unit for limit, unit in _UNITS if abs(given) < limit), 0.0)
            return dt.datetime.fromtimestamp(given / unit, dt.UTC) if unit else None
    except (ValueError, OverflowError, OSError):
        pass  # not a timestamp
    return None
