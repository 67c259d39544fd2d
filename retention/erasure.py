"""Erase records: check what may be erased, record it, replace lines with stubs.

    the record retention.record_erased is durable -> the segment is rewritten (retention.rewrite)

Sinks and quarantines are the caller's: they come after the files, so that nothing can bring a
record back.  Everything here can be run again after it was killed, and then finishes.

Invariants (tests of the same name in tests/retention/test_erasure.py):
  refused      nothing is erased that is held, not shipped, being written, or of the log itself
  recorded     no line is replaced before its erasure is durable
  idempotent   erasing again changes nothing and records nothing
  gone         no file of the directory holds the erased text
"""

from __future__ import annotations

import datetime as dt
import threading
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from auditlog import durable_fs
from auditlog.cursors import CursorStore
from auditlog.format.erasures import ERASURE, Erasure, stub_digest
from auditlog.format.record import decode, parse_header, stub_leaf, stub_of
from auditlog.reading.inventory import scan
from auditlog.reading.reader import iter_lines, open_any_form
from auditlog.reading.tombstone_scan import proofs_in
from retention.compress import remove_stale
from retention.matching import matching
from retention.rewrite import replace_records
from retention.writers import kept_out, writer_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from auditlog.format.record import Header
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from retention.holds import Hold
    from retention.policy import RetentionPolicy
    from retention.tombstone_log import TombstoneLog

__all__ = [
    "Order",
    "Target",
    "carry_out",
    "find_record",
    "find_records",
    "refusals",
    "target_of",
    "unfinished",
]

_OWN_TYPES: Final = ("log.", "retention.", "evidence.", "witness.")
_OWN_SERVICES: Final = ("retention", "evidence", "witness", "auditlog-archive")


@dataclass(frozen=True, slots=True)
class Order:
    """The requester of an erasure and the reason; ``actor`` is the user who runs it."""

    reason: str
    by: str
    legal_basis: str
    actor: str


@dataclass(frozen=True, slots=True)
class Target:
    """A record to erase.

    stub_sha256   digest of its stub; "" where its line is too short for one
    salted        whether its hash cannot be guessed
    erased        its line is a stub already
    """

    segment: SegmentFile
    header: Header
    stub_sha256: str
    salted: bool
    erased: bool = False

    @property
    def name(self) -> str:
        return f"{self.header.log}:{self.header.seq}"


def target_of(segment: SegmentFile, line: bytes) -> Target:
    """The record of an intact line.  Raises LogDamaged."""
    record = decode(line, path=segment.path)
    if stub_leaf(line) is not None:
        return Target(segment, record.header, stub_digest(line), salted=True, erased=True)
    stub = stub_of(line)
    digest = "" if stub is None else stub_digest(stub)
    return Target(segment, record.header, digest, salted="salt" in record.fields)


def find_record(directory: Path, log: LogId, seq: int) -> Target | None:
    """The record in the directory's files; None where they do not have it.

    Raises LogDamaged, OSError.
    """
    for segment in reversed(scan(directory, str(log)).logs.get(log, ())):
        stream, path = open_any_form(segment)
        with stream:
            for offset, line in iter_lines(stream, path=path):
                header = parse_header(line)
                if header is None or header.seq < seq:
                    continue
                if header.seq == seq:
                    return target_of(segment, line)
                if offset:  # the number is missing between two records
                    return None
                break
            else:
                return None
    return None


def find_records(segments: Iterable[SegmentFile], seqs: Container[int]) -> Iterator[Target]:
    """The records of these numbers in segments of one log.  Raises LogDamaged, OSError."""
    for segment in segments:
        stream, path = open_any_form(segment)
        with stream:
            for _, line in iter_lines(stream, path=path):
                header = parse_header(line)
                if header is not None and header.seq in seqs:
                    yield target_of(segment, line)


def unfinished(directory: Path) -> Iterator[tuple[Target, Erasure]]:
    """Every erasure on record in the directory, with its record, where that is in the files.

    Raises LogDamaged, OSError.
    """
    logs = scan(directory).logs
    by_name = {each.name.logical: each for segments in logs.values() for each in segments}
    for erasure in sorted(set(proofs_in(logs).erasures)):
        if (segment := by_name.get(erasure.segment)) is None:
            continue
        found = find_record(directory, segment.name.log, erasure.seq)
        if found is not None and found.stub_sha256 == erasure.stub_sha256:
            yield found, erasure


def refusals(
    targets: Sequence[Target],
    *,
    sinks: Sequence[str],
    state_dir: Path,
    holds: Sequence[Hold],
    now: dt.datetime,
    stop: threading.Event | None = None,
) -> Mapping[str, str]:
    """Why records must not be erased, by their names.  Raises AuditLogError, OSError."""
    stop = stop or threading.Event()
    in_force = [hold for hold in holds if hold.in_force(now)]
    store = CursorStore(state_dir)
    of_segment: dict[str, str] = {}
    found: dict[str, str] = {}
    for target in targets:
        if target.erased:  # what is left to do is in the sinks
            continue
        name = target.segment.name
        if name.logical not in of_segment:
            of_segment[name.logical] = _held(target.segment, in_force, stop) or _written(
                target.segment
            )
        reason = _own(target) or of_segment[name.logical] or _not_shipped(target, sinks, store)
        if not reason and not target.stub_sha256:
            reason = "too_short: its line has nothing but type, service, host and outcome"
        if reason:
            found[target.name] = reason
    return found


def _own(target: Target) -> str:
    header = target.header
    if header.event_type.startswith(_OWN_TYPES) or header.log.startswith(
        tuple(f"{service}@" for service in _OWN_SERVICES)
    ):
        return "own: records of the log itself, of retention and of evidence are never erased"
    return ""


def _held(segment: SegmentFile, holds: Iterable[Hold], stop: threading.Event) -> str:
    """A hold keeps every whole segment in which it matches."""
    begin = dt.datetime.combine(segment.name.day, dt.time(), dt.UTC)
    span = begin, begin + dt.timedelta(days=1) - dt.timedelta(microseconds=1)
    covering = [hold for hold in holds if hold.covers(str(segment.name.log), *span)]
    matches = matching(
        segment.path,
        segment.name.compression,
        [hold for hold in covering if hold.reads_records],
        stop,
    )
    for hold in covering:
        if not hold.reads_records or hold.id in matches:
            return f"held: hold {hold.id} of {hold.owner} keeps its segment"
    return ""


def _written(segment: SegmentFile) -> str:
    """A segment that its writer has open cannot be replaced under it."""
    if not _is_newest(segment) or not (writer := writer_of(segment.directory, segment.name.log)):
        return ""
    return (
        f"active: {writer} writes its segment; wait until that is rotated (at midnight UTC), or"
        " stop the service for the moment"
    )


def _is_newest(segment: SegmentFile) -> bool:
    log = segment.name.log
    return scan(segment.directory, str(log)).logs[log][-1].name == segment.name


def _not_shipped(target: Target, sinks: Sequence[str], store: CursorStore) -> str:
    """An open file of a shipper that has not passed the record would bring it back."""
    header = target.header
    for sink in sinks:
        cursor = store.load(sink, header.log)
        if cursor is None:
            return f"not_shipped: sink {sink} has acknowledged nothing of the log"
        in_gap = any(first <= header.seq <= last for first, last in cursor.gaps)
        if cursor.seq < header.seq or in_gap:
            return f"not_shipped: sink {sink} has acknowledged up to seq {cursor.seq}"
    return ""


def carry_out(
    directory: Path,
    targets: Sequence[Target],
    order: Order | None,
    *,
    tombstones: TombstoneLog,
    policy: RetentionPolicy,
    stop: threading.Event | None = None,
) -> None:
    """Erase records that are not refused.  The caller holds the locks of retention.

    ``order``: None when every erasure is on record already.  Raises AuditLogError, OSError; what
    was done before stays done, and running it again finishes it.
    """
    stop = stop or threading.Event()
    remove_stale(directory)
    by_segment: dict[str, list[Target]] = {}
    for target in targets:
        if not target.erased:
            by_segment.setdefault(target.segment.name.logical, []).append(target)
    for found in by_segment.values():
        segment = found[0].segment
        with ExitStack() as held:
            if _is_newest(segment):
                held.enter_context(kept_out(segment.directory, segment.name.log))
            if order is not None:
                for target in found:
                    tombstones.write_tombstone(ERASURE, _details(target, order), actor=order.actor)
            stubs = {target.header.seq: target.stub_sha256 for target in found}
            replace_records(segment, stubs, policy, stop)
    durable_fs.fsync_directory(directory)  # a run that was killed may not have come so far


def _details(target: Target, order: Order) -> dict[str, Any]:
    header = target.header
    return {
        "record": target.name,
        "log": header.log,
        "seq": header.seq,
        "segment": target.segment.name.logical,
        "hash": header.hash,
        "stub_sha256": target.stub_sha256,
        "reason": order.reason,
        "by": order.by,
        **({"legal_basis": order.legal_basis} if order.legal_basis else {}),
    }
