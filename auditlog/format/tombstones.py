"""Parse tombstones: the records of retention about segments and indices it deleted.  Pure.

A tombstone is a record of type retention.segment_deleted in a log of the service ``retention`` in
the same directory; its details name the segment and the two ends of its chain.  One of type
retention.index_deleted names a daily index of a sink instead.

Invariants (tests of the same name in tests/auditlog/format/test_tombstones.py):
  proven    only a record whose own hash is right counts as a tombstone
  complete  a record that lacks a field of a tombstone is not one
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditlog.errors import LogDamaged
from auditlog.format.record import Header, decode

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "INDEX_DELETED",
    "LOG_FORGOTTEN",
    "SEGMENT_DELETED",
    "ForgottenLog",
    "IndexTombstone",
    "Tombstone",
    "by_log",
    "parse_forgotten_log",
    "parse_index_tombstone",
    "parse_tombstone",
    "proven_details",
]

SEGMENT_DELETED: Final = "retention.segment_deleted"
INDEX_DELETED: Final = "retention.index_deleted"
LOG_FORGOTTEN: Final = "retention.log_forgotten"


@dataclass(frozen=True, slots=True, order=True)
class Tombstone:
    """A deleted segment: records ``first_seq`` to ``last_seq`` and how they joined the chain."""

    log: str
    first_seq: int
    last_seq: int
    segment: str
    first_prev_hash: str
    last_hash: str
    deleted_at: str

    def __post_init__(self) -> None:
        numbers = (self.first_seq, self.last_seq)
        texts = (self.log, self.segment, self.first_prev_hash, self.last_hash, self.deleted_at)
        if not all(type(number) is int for number in numbers) or not 1 <= numbers[0] <= numbers[1]:
            raise ValueError(f"records {self.first_seq!r} to {self.last_seq!r} are not a range")
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a name or a hash is not text")

    @property
    def records(self) -> int:
        return self.last_seq - self.first_seq + 1


def parse_tombstone(header: Header, line: bytes) -> Tombstone | None:
    """The tombstone in a line; None when it is another record, not intact or incomplete."""
    details = proven_details(header, line, SEGMENT_DELETED)
    if details is None:
        return None
    try:
        return Tombstone(
            log=details["log"],
            first_seq=details["first_seq"],
            last_seq=details["last_seq"],
            segment=details["segment"],
            first_prev_hash=details["first_prev_hash"],
            last_hash=details["last_hash"],
            deleted_at=header.timestamp,
        )
    except (KeyError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class IndexTombstone:
    """A deleted index.  ``sink`` and ``urls`` say where it was; ``uuid`` which of its name."""

    sink: str
    urls: tuple[str, ...]
    index: str
    uuid: str

    def __post_init__(self) -> None:
        texts = (self.sink, self.index, self.uuid, *self.urls)
        if not all(isinstance(text, str) for text in texts):
            raise ValueError("a name or an address is not text")


def parse_index_tombstone(header: Header, line: bytes) -> IndexTombstone | None:
    """The index tombstone in a line; None as of parse_tombstone."""
    details = proven_details(header, line, INDEX_DELETED)
    if details is None:
        return None
    try:
        return IndexTombstone(
            details["sink"], tuple(details["urls"]), details["index"], details["uuid"]
        )
    except (KeyError, TypeError, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class ForgottenLog:
    """A log that was retired on purpose: nobody expects its records up to ``through_seq``."""

    log: str
    through_seq: int

    def __post_init__(self) -> None:
        if not isinstance(self.log, str) or type(self.through_seq) is not int:
            raise ValueError("the log is not text or through_seq is not a number")


def parse_forgotten_log(header: Header, line: bytes) -> ForgottenLog | None:
    """The retirement of a log in a line; None as of parse_tombstone."""
    details = proven_details(header, line, LOG_FORGOTTEN)
    if details is None:
        return None
    try:
        return ForgottenLog(details["log"], details["through_seq"])
    except (KeyError, ValueError):
        return None


def proven_details(header: Header, line: bytes, event_type: str) -> dict[str, Any] | None:
    """The details of an intact record of retention; None when it is of another type, or altered."""
    if header.event_type != event_type or not header.log.startswith("retention@"):
        return None
    try:
        details = decode(line).fields.get("details")
    except LogDamaged:  # altered, or not JSON: it proves nothing
        return None
    return details if isinstance(details, dict) else None


def by_log(tombstones: Iterable[Tombstone]) -> dict[str, tuple[Tombstone, ...]]:
    """Group them by the log they are about, in the order of its records, each range once."""
    grouped: dict[str, dict[tuple[int, int, str], Tombstone]] = defaultdict(dict)
    for tombstone in tombstones:
        key = (tombstone.first_seq, tombstone.last_seq, tombstone.last_hash)
        grouped[tombstone.log].setdefault(key, tombstone)
    return {log: tuple(sorted(found.values())) for log, found in grouped.items()}
