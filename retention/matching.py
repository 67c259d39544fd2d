"""Which holds by actor or correlation id have a record in a segment.  Reads it until all have one.

A line is taken apart only when the value looked for, or any escape that could stand for it, is in
it; so a segment without a match costs little more than reading it.

Invariants (tests of the same name in tests/retention/test_matching.py):
  found     a record of the actor, of the correlation id, or of both is found in every form
  doubt     a line that names the value and cannot be read counts as a match
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from retention.content import decoded

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from retention.holds import Hold

__all__ = ["matching"]


def matching(
    path: Path, compression: str, holds: Iterable[Hold], stop: threading.Event
) -> frozenset[str]:
    """The ids of the holds that have a record in the segment.

    Raises SegmentDamaged, Stopped, OSError.
    """
    wanted = {hold: _needles(hold) for hold in holds}
    found: set[str] = set()
    for block in _blocks(path, compression, stop):
        if len(found) == len(wanted):
            break
        for hold, needles in wanted.items():
            if hold.id not in found and any(
                _matches(hold, line) for line in _candidates(block, needles)
            ):
                found.add(hold.id)
    return frozenset(found)


def _needles(hold: Hold) -> tuple[bytes, ...]:
    values = (hold.actor, hold.correlation_id)
    return tuple(orjson.dumps(value)[1:-1] for value in values if value is not None)


def _blocks(path: Path, compression: str, stop: threading.Event) -> Iterator[bytes]:
    """The uncompressed bytes in pieces that end where a line ends."""
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


def _candidates(block: bytes, needles: tuple[bytes, ...]) -> Iterator[bytes]:
    def possible(text: bytes) -> bool:
        return b"\\" in text or all(needle in text for needle in needles)

    if possible(block):
        yield from filter(possible, block.splitlines())


def _matches(hold: Hold, line: bytes) -> bool:
    try:
        record: Any = orjson.loads(line)
        actor = record.get("actor") or {}
        user_id, correlation_id = actor.get("user_id"), record.get("correlation_id")
    except (ValueError, AttributeError):
        return True  # it may be one that somebody spoiled
    return hold.actor in (None, user_id) and hold.correlation_id in (None, correlation_id)
