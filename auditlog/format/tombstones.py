"""Parse tombstones: retention's records of deleted segments and indices.  Pure.

A tombstone is a record of type retention.segment_deleted in a log of the service ``retention`` in
the same directory; its details name the segment and the two ends of its chain.  One of type
retention.index_deleted names a daily index of a sink instead.

A tombstone of a segment is believed only when its fields fit each other, and when what it deleted
was allowed by the policy that it names: the age of the last record or the size of the directory,
and the cursors of all sinks.  Any other record of that type proves nothing, and is a finding.

Invariants (tests of the same name in tests/auditlog/format/test_tombstones.py):
  proven    only a record whose own hash is right counts as a tombstone
  complete  a record that lacks a field of a tombstone is not one
  allowed   a deletion that the policy in the record does not allow is not believed
"""

from __future__ import annotations

import datetime as dt
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditlog.errors import InvalidName, LogDamaged
from auditlog.format.record import GENESIS_HASH, Header, decode, parse_timestamp
from auditlog.format.segment_names import LogId, SegmentName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

__all__ = [
    "INDEX_DELETED",
    "LOG_FORGOTTEN",
    "SEGMENT_DELETED",
    "ForgottenLog",
    "IndexTombstone",
    "Tombstone",
    "by_log",
    "may_delete",
    "parse_forgotten_log",
    "parse_index_tombstone",
    "parse_tombstone",
    "proven_details",
    "tombstone_problem",
]

SEGMENT_DELETED: Final = "retention.segment_deleted"
INDEX_DELETED: Final = "retention.index_deleted"
LOG_FORGOTTEN: Final = "retention.log_forgotten"

_HASH: Final = re.compile(r"[0-9a-f]{64}")
_DURATION: Final = re.compile(r"([0-9]{1,9})([dhms])", re.ASCII)
_SECONDS: Final = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}
_CLOCK_ALLOWED: Final = dt.timedelta(days=1)
"""How far the clock may have been set back between the plan of a run and its tombstones."""

SCHEDULE: Final = "schedule"
"""The name (``by``) of the agent's own timetable; every other name is a person's."""


@dataclass(frozen=True, slots=True, order=True)
class Tombstone:
    """A deleted segment: records ``first_seq`` to ``last_seq`` and how they joined the chain.

    ``nodes`` are the roots of the largest complete subtrees over its leaves in the log's Merkle
    tree (auditlog.evidence.compact_range); a tombstone of an early version has none.
    """

    log: str
    first_seq: int
    last_seq: int
    segment: str
    first_prev_hash: str
    last_hash: str
    deleted_at: str
    nodes: tuple[bytes, ...] = ()

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
    """The tombstone in a line; None when it is another record, or one that is not believed."""
    details = proven_details(header, line, SEGMENT_DELETED)
    if details is None:
        return None
    try:
        return _believed(header, details)
    except _Unbelievable:
        return None


def tombstone_problem(header: Header, line: bytes, hosts: Collection[str] | None = None) -> str:
    """Why a record of a segment's deletion is not believed; "" when it is, and for other records.

    A record that was altered gives "" as well: its own hash does not fit, which says enough.
    """
    details = proven_details(header, line, SEGMENT_DELETED)
    if details is None:
        return ""
    try:
        tombstone = _believed(header, details)
    except _Unbelievable as problem:
        return str(problem)
    if may_delete(header.log, tombstone.log, hosts):
        return ""
    return (
        f"it is in {header.log}, and neither {tombstone.log} is of that host nor does the"
        " configuration name it in retention_hosts"
    )


def may_delete(retention_log: str, log: str, hosts: Collection[str] | None) -> bool:
    """Whether a deletion from ``log`` that is on record in ``retention_log`` is believed.

    It is when retention ran on the host that the log names, or on one of ``hosts``.  None says that
    no configuration names the hosts: then every one in the directory is believed.
    """
    try:
        writer, owner = LogId.parse(retention_log).host, LogId.parse(log).host
    except InvalidName:
        return False
    return hosts is None or writer == owner or writer in hosts


class _Unbelievable(Exception):
    """A tombstone whose fields are incomplete, or do not fit each other; says which."""


def _require(holds: bool, reason: str) -> None:
    if not holds:
        raise _Unbelievable(reason)


def _believed(header: Header, details: Mapping[str, Any]) -> Tombstone:
    try:
        tombstone = Tombstone(
            log=details["log"],
            first_seq=details["first_seq"],
            last_seq=details["last_seq"],
            segment=details["segment"],
            first_prev_hash=details["first_prev_hash"],
            last_hash=details["last_hash"],
            deleted_at=header.timestamp,
            nodes=_nodes(details),
        )
        last_record_at = parse_timestamp(details["last_record_at"])
        deleted_at = parse_timestamp(header.timestamp)
        _check_content(tombstone, details)
        _check_cursor(tombstone, details["cursor"])
        _check_policy(details, last_record_at, deleted_at)
    except KeyError as lacking:
        raise _Unbelievable(f"it does not say {lacking.args[0]}") from None
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise _Unbelievable(f"a field has no meaning ({error})") from None
    return tombstone


def _check_content(tombstone: Tombstone, details: Mapping[str, Any]) -> None:
    try:
        name = SegmentName.parse(tombstone.segment)
    except InvalidName:
        raise _Unbelievable("its segment is not the name of one") from None
    _require(str(name.log) == tombstone.log, "its segment is of another log")
    hashes = (tombstone.first_prev_hash, tombstone.last_hash, details["sha256"])
    _require(all(_HASH.fullmatch(each) for each in hashes), "a hash is malformed")
    begins = tombstone.first_prev_hash == GENESIS_HASH
    _require(begins == (tombstone.first_seq == 1), "its first record does not begin the log")
    _require(details["records"] == tombstone.records, "its number of records is not of its range")
    size = details["bytes"]
    _require(type(size) is int and size >= tombstone.records, "its size is impossible")
    by = details["by"]
    _require(isinstance(by, str) and by != "", "it names nobody")


def _check_cursor(tombstone: Tombstone, cursor: Mapping[str, Any]) -> None:
    for sink, seq in cursor.items():
        fits = type(seq) is int and seq >= tombstone.last_seq
        _require(fits, f"sink {sink} had not acknowledged record {tombstone.last_seq}")


def _check_policy(
    details: Mapping[str, Any], last_record_at: dt.datetime, deleted_at: dt.datetime
) -> None:
    """Whether the policy it names allowed the deletion, at the instant that the run was of."""
    policy, by = details["policy"], details["by"]
    compress_after, delete_after = (
        _duration(policy[name]) for name in ("compress_after", "delete_after")
    )
    _require(dt.timedelta(0) < compress_after < delete_after, "its policy is none")
    said = {"rule", "at", "confirmed", "simulated"} & details.keys()
    if not said:  # of an early version, which did not say whether a person gave the instant
        room, at = policy.get("max_total_bytes"), deleted_at
        if by != SCHEDULE and room is None:
            return
    else:
        room, at = details.get("max_total_bytes"), parse_timestamp(details["at"])
        confirmed, simulated = details["confirmed"], details["simulated"]
        _require(type(confirmed) is type(simulated) is bool, "what a person confirmed is unclear")
        _require(
            by != SCHEDULE or not (confirmed or simulated), "it does not name who confirmed it"
        )
        in_time = simulated or confirmed or at <= deleted_at + _CLOCK_ALLOWED
        _require(in_time, "its run was later than itself")
        _require(details["rule"] in ("age", "size"), "no rule allowed it")
        _require((details["rule"] == "size") == (room is not None), "its rule is not of its policy")
    if room is not None:
        _require(type(room) is int and room > 0, "its limit of bytes is none")
        _require(last_record_at <= at + _CLOCK_ALLOWED, "its last record was of a later time")
        return
    age = at - last_record_at
    _require(age >= delete_after, f"its last record was {age.days} d old, which its policy keeps")


def _duration(text: str) -> dt.timedelta:
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f"{text!r} is not a duration")
    return dt.timedelta(seconds=int(found[1]) * _SECONDS[found[2]])


def _nodes(details: Mapping[str, Any]) -> tuple[bytes, ...]:
    """The tree's part: a range that is exactly that of the records, and its subtrees."""
    tree = details.get("tree")
    if tree is None:
        return ()
    fits = (tree["first_index"], tree["size"]) == (details["first_seq"] - 1, details["last_seq"])
    _require(fits, "its range of the tree is not that of its records")
    _require(_HASH.fullmatch(tree["leaves_sha256"]) is not None, "a hash is malformed")
    nodes = tuple(bytes.fromhex(node) for node in tree["nodes"])
    _require(all(len(node) == 32 for node in nodes), "a hash is malformed")
    return nodes


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
