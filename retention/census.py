"""Gather the facts a plan is made from: the directory's segments and the sinks' cursors.

Reads only; what it cannot read becomes a fact that keeps, never a guess.  Cursors are read before
segments, so that a cursor beyond a log's head cannot come from what was written in between.

Segments whose names leave the decision open are read, and each one's successor, which they have to
fit; and the newest of each log.  Of the others as many as fit into a small budget, so that a plan
for people has all its columns; a directory of 100,000 segments is planned from names.

Invariants (tests of the same name in tests/retention/test_census.py):
  doubt      what cannot be read is reported as damage or as a problem of its cursor
  not_here   a cursor at a record that the log does not hold is a problem
  frugal     segments whose names decide are not read once the budget is spent
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Final

from auditlog import _fs
from auditlog.cursors import CursorStore
from auditlog.errors import AuditLogError
from auditlog.inventory import scan
from auditlog.reader import bounds
from auditlog.record import MAX_RECORD_BYTES, line_hash, parse_header
from retention.content import decoded
from retention.facts import Facts, ForeignFile, SegmentFacts, ShipGate, SinkCursor
from retention.rules import needs_reading

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from auditlog.cursors import Cursor
    from auditlog.inventory import Inventory, SegmentFile
    from auditlog.segment_names import LogId
    from retention.holds import Hold
    from retention.policy import Policy

__all__ = ["gather"]

_BUDGET_BYTES: Final = 64 << 20
_PLAIN_COST_BYTES: Final = 64 << 10  # only its ends are read
_COMPRESSED_COST: Final = 8  # times its size: it is decompressed to its end


def gather(
    directory: Path,
    policy: Policy,
    *,
    sinks: Sequence[str],
    state_dir: Path,
    holds: Iterable[Hold],
    now: dt.datetime,
) -> tuple[Facts, ShipGate]:
    """Raises OSError when the directory itself cannot be listed."""
    inventory = scan(directory)
    held = tuple(holds)
    gate = _cursors(inventory, sinks, CursorStore(state_dir))
    budget = _BUDGET_BYTES
    segments: dict[LogId, tuple[SegmentFacts, ...]] = {}
    doubtful: dict[tuple[str, LogId], SinkCursor] = {}
    for log, files in inventory.logs.items():
        opened = needs_reading(log, files, policy=policy, cursors=gate, holds=held, now=now)
        if any(opened):
            doubtful |= _doubtful(log, files, gate)
        facts = []
        for index, file in enumerate(files):
            needed = opened[index] or (index > 0 and opened[index - 1]) or index == len(files) - 1
            cost = _cost_bytes(file)
            if needed or cost <= budget:
                budget -= 0 if needed else cost
                facts.append(_read(file))
            else:
                facts.append(SegmentFacts(file))
        segments[log] = tuple(facts)
    foreign = tuple(_foreign(inventory.foreign))
    cursors = ShipGate(gate.sinks, {**gate.cursors, **doubtful})
    return Facts(directory, segments, foreign), cursors


def _cost_bytes(file: SegmentFile) -> int:
    if "" in file.forms:
        return _PLAIN_COST_BYTES
    return _PLAIN_COST_BYTES + _COMPRESSED_COST * file.size_bytes


def _read(file: SegmentFile) -> SegmentFacts:
    try:
        ends = bounds(file)
    except AuditLogError as error:
        return SegmentFacts(file, damage=error.reason)
    except OSError as error:
        return SegmentFacts(file, damage=f"it cannot be read: {error.strerror}")
    if ends is None:
        return SegmentFacts(file, damage="it holds no whole record")
    return SegmentFacts(file, ends)


def _foreign(paths: Iterable[Path]) -> Iterable[ForeignFile]:
    for path in paths:
        try:
            yield ForeignFile(path, path.lstat().st_size)
        except FileNotFoundError:
            continue  # it vanished since the listing, so there is nothing to keep


def _cursors(inventory: Inventory, sinks: Sequence[str], store: CursorStore) -> ShipGate:
    cursors: dict[tuple[str, LogId], SinkCursor] = {}
    for sink in sinks:
        for log in inventory.logs:
            try:
                cursors[sink, log] = SinkCursor(store.load(sink, log))
            except AuditLogError as error:
                cursors[sink, log] = SinkCursor(problem=f"has a damaged cursor ({error.reason})")
            except OSError as error:
                cursors[sink, log] = SinkCursor(
                    problem=f"has a cursor that cannot be read: {error.strerror}"
                )
    return ShipGate(tuple(sinks), cursors)


def _doubtful(
    log: LogId, files: Sequence[SegmentFile], gate: ShipGate
) -> dict[tuple[str, LogId], SinkCursor]:
    """The cursors that point at a record which is not in the log."""
    by_name = {file.name.logical: file for file in files}
    doubtful = {}
    for sink in gate.sinks:
        cursor = gate.cursor(sink, log).cursor
        if cursor is None:
            continue
        file = by_name.get(cursor.segment)
        if file is None:
            problem = f"has a cursor in {cursor.segment}, which is not here"
        elif not _holds(file, cursor):
            problem = f"has a cursor at a record that {cursor.segment} does not hold"
        else:
            continue
        doubtful[sink, log] = SinkCursor(cursor, problem)
    return doubtful


def _holds(file: SegmentFile, cursor: Cursor) -> bool:
    """Whether the record that ends at the cursor's offset is the one it names."""
    begin = max(0, cursor.offset - MAX_RECORD_BYTES - 1)
    try:
        before = _part(file, begin, cursor.offset)
    except (AuditLogError, OSError):
        return False
    line = before[before.rfind(b"\n", 0, len(before) - 1) + 1 :]
    header = parse_header(line)
    return (
        len(before) == cursor.offset - begin
        and header is not None
        and (header.seq, header.hash) == (cursor.seq, cursor.hash)
        and line_hash(line) == cursor.hash
    )


def _part(file: SegmentFile, begin: int, end: int) -> bytes:
    """The segment's uncompressed bytes between two offsets."""
    if file.name.compression == "":
        fd = _fs.open_read(file.path)
        try:
            return os.pread(fd, end - begin, begin)
        finally:
            os.close(fd)
    offset, part = 0, b""
    for piece in decoded(file.path, file.name.compression, threading.Event()):
        part += piece[max(0, begin - offset) : max(0, end - offset)]
        offset += len(piece)
        if offset >= end:
            break
    return part
