"""Scan retention's logs for tombstones and records of erasure.

Invariants (tests of the same name in tests/auditlog/reading/test_tombstone_scan.py):
  every_kind   tombstones of segments and of indices and erasures are found in every form
  no_proof     lines that cannot be read, or are not intact, prove nothing and stop nothing
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from auditlog.errors import LogDamaged
from auditlog.format.erasures import ERASURE, Erasure, parse_erasure
from auditlog.format.record import Header, parse_header
from auditlog.format.tombstones import (
    INDEX_DELETED,
    SEGMENT_DELETED,
    IndexTombstone,
    Tombstone,
    may_delete,
    parse_index_tombstone,
    parse_tombstone,
)
from auditlog.reading.inventory import scan
from auditlog.reading.reader import iter_lines, open_any_form

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile

__all__ = [
    "RETENTION_SERVICE",
    "Proofs",
    "index_tombstones",
    "proofs_in",
    "retention_lines",
    "tombstones_in",
]

RETENTION_SERVICE: Final = "retention"


def retention_lines(
    logs: Mapping[LogId, tuple[SegmentFile, ...]], *event_types: str
) -> Iterator[tuple[Header, bytes]]:
    """Yield the lines of these types in the logs of retention, with headers.  Raises OSError.

    The hash of a line is not checked.  A segment that cannot be read to its end gives the lines
    before the damage; reporting the damage is for the verification of that log.
    """
    markers = [f'"event_type":"{event_type}"'.encode() for event_type in event_types]
    for log, segments in logs.items():
        for segment in segments if log.service == RETENTION_SERVICE else ():
            try:
                stream, path = open_any_form(segment)
                with stream:
                    for _, line in iter_lines(stream, path=path):
                        if not any(marker in line for marker in markers):
                            continue
                        header = parse_header(line)
                        if header is not None and header.event_type in event_types:
                            yield header, line
            except (LogDamaged, FileNotFoundError):
                continue


def tombstones_in(
    logs: Mapping[LogId, tuple[SegmentFile, ...]], hosts: Collection[str] | None = None
) -> Iterator[Tombstone]:
    """Every tombstone of a segment in these logs that is believed.  Raises OSError.

    ``hosts`` are those whose retention may delete here (format.tombstones.may_delete).
    """
    for header, line in retention_lines(logs, SEGMENT_DELETED):
        tombstone = parse_tombstone(header, line)
        if tombstone is not None and may_delete(header.log, tombstone.log, hosts):
            yield tombstone


class Proofs(NamedTuple):
    """Records of retention that explain deleted segments (tombstones) and erased records."""

    tombstones: tuple[Tombstone, ...]
    erasures: tuple[Erasure, ...]


def proofs_in(
    logs: Mapping[LogId, tuple[SegmentFile, ...]], hosts: Collection[str] | None = None
) -> Proofs:
    """Every tombstone of a segment and every erasure that is believed.  Raises OSError.

    ``hosts`` as for tombstones_in.
    """
    tombstones: dict[str, Tombstone] = {}  # by hash: a repeated line takes no more memory
    erasures: dict[str, Erasure] = {}
    for header, line in retention_lines(logs, SEGMENT_DELETED, ERASURE):
        tombstone, erasure = parse_tombstone(header, line), parse_erasure(header, line)
        if tombstone is not None and may_delete(header.log, tombstone.log, hosts):
            tombstones[header.hash] = tombstone
        if erasure is not None and may_delete(header.log, erasure.log, hosts):
            erasures[header.hash] = erasure
    return Proofs(tuple(tombstones.values()), tuple(erasures.values()))


def index_tombstones(directory: Path) -> tuple[IndexTombstone, ...]:
    """Every tombstone of an index in the directory's logs.  Raises OSError."""
    lines = retention_lines(scan(directory).logs, INDEX_DELETED)
    parsed = (parse_index_tombstone(header, line) for header, line in lines)
    return tuple(tombstone for tombstone in parsed if tombstone is not None)
