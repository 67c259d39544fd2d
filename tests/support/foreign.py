"""Files of an older set-up, and what is told of them, for tests of their retention."""

from __future__ import annotations

import datetime as dt
import gzip
import os
from pathlib import Path
from typing import Final

import orjson

from auditlog.cursors import CursorStore, SourceCursor
from auditlog.format.foreign_files import FilePlace, encode_places
from retention.policy import ForeignPolicy, RetentionPolicy
from retention.subjects import ForeignContent
from tests.support.logs import START

__all__ = ["DAY", "NOW", "content_at", "foreign_policy", "leave", "save_places"]

DAY: Final = dt.timedelta(days=1)
NOW: Final = START + 200 * DAY
_AGES: Final = RetentionPolicy(30 * DAY, 90 * DAY, compression="gzip", max_delete_fraction=1.0)


def foreign_policy(
    directory: Path, *, source: bool = False, pattern: str = "*.ndjson", **options: object
) -> RetentionPolicy:
    """A policy that adopts by one pattern; with ``source`` one that ships the same files."""
    sources = (("old", (f"{directory}/{pattern}",)),) if source else ()
    shipped = {} if source else {"shipped": "not_required"}
    fields = {"policy": _AGES, "sources": sources, **shipped, **options}
    return RetentionPolicy(foreign=(ForeignPolicy(pattern, **fields),))  # type: ignore[arg-type]  # by name


def leave(directory: Path, name: str, age: dt.timedelta, lines: int = 3, form: str = "") -> Path:
    """A file whose last line is so old at NOW, and which was last written then."""
    directory.mkdir(mode=0o700, exist_ok=True)
    last_at = NOW - age
    content = b"".join(
        orjson.dumps(
            {
                "timestamp": (last_at - n * dt.timedelta(seconds=1)).isoformat(),
                "event": {"actor": {"user_id": "alice" if n == lines - 1 else "bob"}, "n": n},
                "in": name,
            }
        )
        + b"\n"
        for n in reversed(range(lines))
    )
    path = directory / (name + form)
    path.write_bytes(gzip.compress(content) if form else content)
    os.utime(path, (last_at.timestamp(), last_at.timestamp()))
    return path


def content_at(last_at: dt.datetime, **fields: object) -> ForeignContent:
    """A made-up content of three lines, all of one instant."""
    given = {"untimed": 0, "first_at": last_at, "matches": frozenset(), **fields}
    end = FilePlace("f", 30, 20, "l")
    return ForeignContent(30, "5a", 3, last_at=last_at, end=end, **given)  # type: ignore[arg-type]  # by name


def save_places(state: Path, *places: FilePlace | None, sink: str = "main") -> None:
    """The source ``old`` has brought its files so far."""
    known = encode_places(place for place in places if place is not None)
    CursorStore(state).save_source(sink, SourceCursor("ndjson", "old", known, NOW))
