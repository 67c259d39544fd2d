"""Find actor and correlation id holds that match a segment or foreign file.

A line is parsed only when it contains the searched values, or an escape that may stand for them, so
a file without a match costs little more than reading it.

Invariants (tests of the same name in tests/retention/test_matching.py):
  found     a record of the actor, of the correlation id, or of both is found in every form
  doubt     a line that contains the value and cannot be parsed counts as a match
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from auditlog.format.json_text import encoded
from retention.content import decoded

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from retention.holds import Hold

__all__ = ["matching", "may_match", "values_of"]


def matching(
    path: Path, compression: str, holds: Iterable[Hold], stop: threading.Event
) -> frozenset[str]:
    """Return the ids of the holds that have a record in the segment.

    Raises SegmentDamaged, Stopped, OSError.
    """
    wanted = {hold: values_of(hold) for hold in holds}
    found: set[str] = set()
    if not wanted:
        return frozenset()
    for block in _blocks(path, compression, stop):
        if len(found) == len(wanted):
            break
        for hold, values in wanted.items():
            if hold.id not in found and _has_values(block, values):
                lines = (line for line in block.splitlines() if _has_values(line, values))
                if any(_matches(hold, line) for line in lines):
                    found.add(hold.id)
    return frozenset(found)


def values_of(hold: Hold) -> tuple[bytes, ...]:
    """Return what a line must contain, as it is in JSON, to match the hold."""
    values = (hold.actor, hold.correlation_id)
    return tuple(orjson.dumps(value)[1:-1] for value in values if value is not None)


def _has_values(text: bytes, values: tuple[bytes, ...]) -> bool:
    """Whether the text contains all values, or an escape that may stand for any part of them."""
    return b"\\" in text or all(value in text for value in values)


def may_match(line: bytes, values: tuple[bytes, ...]) -> bool:
    """Whether a line of unknown format contains the values, in any member."""
    if b"\\" in line:
        try:
            line = encoded(orjson.loads(line))
        except orjson.JSONDecodeError:
            return True
    return all(value in line for value in values)


def _blocks(path: Path, compression: str, stop: threading.Event) -> Iterator[bytes]:
    """Yield the uncompressed bytes in pieces that end at the end of a line."""
    rest = b""
    for piece in decoded(path, compression, stop):
        head, newline, tail = piece.rpartition(b"\n")
        if newline:
            yield rest + head + newline
            rest = tail
        else:
            rest += piece
    if rest:
        yield rest


def _matches(hold: Hold, line: bytes) -> bool:
    """Whether a record is the hold's; one that cannot be parsed may have been damaged."""
    try:
        record: Any = orjson.loads(line)
        actor = record.get("actor") or {}
        user_id, correlation_id = actor.get("user_id"), record.get("correlation_id")
    except (ValueError, AttributeError):
        return True
    return hold.actor in (None, user_id) and hold.correlation_id in (None, correlation_id)
