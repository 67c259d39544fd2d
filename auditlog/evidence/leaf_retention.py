"""Drop the leaves of deleted segments, where the policy does not want them kept.

A leaf is 32 bytes, and proves a document of an index years after its file was deleted.  Whoever
does not want that drops them: of each leaves file whose segment was deleted, the tiles of 256 that
it has whole.  Their roots stay in ``tree.1``, so every later root, consistency proof and inclusion
proof of a record that is left still comes out.  Leaves that share a tile with others stay.

Invariants (tests of the same name in tests/auditlog/evidence/test_leaf_retention.py):
  same_root   roots, and proofs of the records that are left, are those of the whole tree
  present     leaves of a segment that is there, or behind ``limit``, or too young, are not dropped
  killed      whatever is cut off half-way, the next run finishes it
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

from auditlog import durable_fs
from auditlog.evidence.merkle import HASH_BYTES, TILE_WIDTH
from auditlog.evidence.tree_files import SUFFIX, leaves_name, list_leaves

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

__all__ = ["drop_leaves"]


def drop_leaves(directory: Path, present: Collection[str], limit: int, until: dt.date) -> int:
    """Drop leaves of deleted segments of days before ``until``; return how many were dropped.

    ``present`` are the labels (``<day>.<part>``) of the segments that are left.  ``limit`` is the
    smallest size that a consistency proof may still have to begin at.  Raises OSError.
    """
    dropped = 0
    for first_seq, path in list_leaves(directory)[:-1]:  # the newest one is still appended to
        label = path.name.split(".", 1)[1].removesuffix(SUFFIX)
        day = _day(label)
        if label in present or day is None or day >= until:
            continue
        first = first_seq - 1
        begin = -(-first // TILE_WIDTH) * TILE_WIDTH
        end = min(first + path.stat().st_size // HASH_BYTES, limit) // TILE_WIDTH * TILE_WIDTH
        if end > begin:
            _cut(path, leaves_name(end + 1, label), begin - first, end - first)
            dropped += end - begin
    return dropped


def _day(label: str) -> dt.date | None:
    try:
        return dt.date.fromisoformat(label.partition(".")[0])
    except ValueError:  # of records that were deleted before they were read
        return None


def _cut(path: Path, rest_name: str, begin: int, end: int) -> None:
    """Keep leaves before ``begin`` in the file, and those from ``end`` on in one of their own."""
    with path.open("rb") as stream:
        stream.seek(end * HASH_BYTES)
        rest = stream.read()
    if rest:  # durable before anything is cut off
        durable_fs.replace_durably(path.with_name(rest_name), rest)
    if begin:
        durable_fs.truncate(path, begin * HASH_BYTES)
    else:
        durable_fs.unlink(path)
        durable_fs.fsync_directory(path.parent)
