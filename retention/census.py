"""Gather the facts a plan is made from: the directory's segments and the sinks' cursors.

Reads only; what it cannot read becomes a fact that keeps, never a guess.  Cursors are read before
segments, so that a cursor beyond a log's head cannot come from what was written in between.

Segments whose names leave the decision open are read, and each one's successor, which they have to
fit; and the newest of each log.  Of the others as many as fit into a small budget, so that a plan
for people has all its columns; a directory of 100,000 segments is planned from names.  What would
be touched and lies in the range of a hold by actor or correlation id is searched for its records.

Invariants (tests of the same name in tests/retention/test_census.py):
  doubt      what cannot be read is reported as damage or as a problem of its cursor
  not_here   a cursor at a record that the log does not hold is a problem
  frugal     segments whose names decide are not read once the budget is spent
  searched   no hold by actor or correlation id is overlooked in what would be touched
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.cursors import CursorStore
from auditlog.errors import AuditLogError
from auditlog.format.record import MAX_RECORD_BYTES, line_hash, parse_header
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from retention.content import decoded
from retention.errors import SegmentDamaged
from retention.facts import Facts, SegmentFacts, ShipGate, SinkCursor
from retention.foreign_census import adopt, source_places
from retention.matching import matching
from retention.room import age_order
from retention.rules import needs_reading, to_be_searched

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from auditlog.cursors import Cursor
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import Inventory, SegmentFile
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
    asked: str | None = None,
    stop: threading.Event | None = None,
) -> tuple[Facts, ShipGate]:
    """``asked`` is a segment, or a foreign file, that is read in any case.

    Raises OSError when the directory itself cannot be listed, Stopped.
    """
    store = CursorStore(state_dir)
    shipped = source_places(policy, sinks, store)
    inventory = scan(directory)
    look = _Look(policy, _cursors(inventory, sinks, store), tuple(holds), now, asked)
    segments = {log: look.over(log, files) for log, files in inventory.logs.items()}
    cursors = ShipGate(
        look.gate.sinks,
        {**look.gate.cursors, **look.doubtful},
        tuple(sorted(set(store.sinks()) - set(sinks))),
    )
    stop = stop or threading.Event()
    foreign, adopted = adopt(
        inventory.foreign,
        policy,
        shipped,
        look.holds,
        now,
        stop=stop,
        asked=asked,
        room_bytes=_left_over(policy, inventory),
    )
    if policy.max_total_bytes is not None:
        taken = sum(file.size_bytes for file in adopted)
        look.find_room(segments, policy.max_total_bytes - taken)
    look.search(segments, cursors, stop)
    logs = {log: tuple(facts) for log, facts in segments.items()}
    return Facts(directory, logs, foreign, adopted), cursors


def _left_over(policy: Policy, inventory: Inventory) -> int | None:
    """What segments leave to adopted files of max_total_bytes."""
    if policy.max_total_bytes is None:
        return None
    taken = sum(file.size_bytes for files in inventory.logs.values() for file in files)
    return policy.max_total_bytes - taken


@dataclass(slots=True)
class _Look:
    """What is the same for every log, and what is left of the budget."""

    policy: Policy
    gate: ShipGate
    holds: tuple[Hold, ...]
    now: dt.datetime
    asked: str | None
    budget_bytes: int = field(default_factory=lambda: _BUDGET_BYTES)
    doubtful: dict[tuple[str, LogId], SinkCursor] = field(default_factory=dict)

    def over(self, log: LogId, files: Sequence[SegmentFile]) -> list[SegmentFacts]:
        """The facts about one log."""
        opened = self._needs_reading(log, files)
        if any(opened):
            self.doubtful |= _doubtful(log, files, self.gate)
        facts = []
        for index, file in enumerate(files):
            needed = opened[index] or (index > 0 and opened[index - 1]) or index == len(files) - 1
            if not needed and _PLAIN_COST_BYTES <= self.budget_bytes >= (cost := _cost_bytes(file)):
                self.budget_bytes -= cost
                needed = True
            if needed or (self.asked is not None and file.name.logical == self.asked):
                facts.append(_read(file))
            else:
                facts.append(SegmentFacts(file))
        return facts

    def _needs_reading(
        self, log: LogId, files: Sequence[SegmentFile], *, ageless: bool = False
    ) -> list[bool]:
        return needs_reading(
            log,
            files,
            policy=self.policy,
            cursors=self.gate,
            holds=self.holds,
            now=self.now,
            ageless=ageless,
        )

    def find_room(self, segments: dict[LogId, list[SegmentFacts]], limit_bytes: int) -> None:
        """Read what may have to go for its size, the oldest first, until that would do."""
        every = [facts.file for found in segments.values() for facts in found]
        over = sum(file.size_bytes for file in every) - limit_bytes
        if over <= 0:
            return
        candidates = []
        for log, found in segments.items():
            files = [facts.file for facts in found]
            opened = self._needs_reading(log, files, ageless=True)
            self.doubtful |= _doubtful(log, files, self.gate)
            candidates += [(files[index], index) for index, open_ in enumerate(opened) if open_]
        for file, index in sorted(candidates, key=lambda found: age_order(found[0])):
            if over <= 0:
                break
            found = segments[file.name.log]
            for place in (index, index + 1):  # and its successor, which it has to fit
                if found[place].bounds is None and not found[place].damage:
                    found[place] = _read(found[place].file)
            if found[index].bounds is not None:
                over -= file.size_bytes

    def search(
        self, segments: dict[LogId, list[SegmentFacts]], cursors: ShipGate, stop: threading.Event
    ) -> None:
        """Look for the records of holds in what would be touched without them."""
        if not any(hold.reads_records for hold in self.holds):
            return
        for log, found in segments.items():
            for ageless in (False, *([True] * (self.policy.max_total_bytes is not None))):
                wanted = to_be_searched(
                    log,
                    found,
                    policy=self.policy,
                    cursors=cursors,
                    holds=self.holds,
                    now=self.now,
                    ageless=ageless,
                )
                for index, holds in wanted.items():
                    if found[index].matches is None:
                        found[index] = _searched(found[index], holds, stop)


def _searched(facts: SegmentFacts, holds: Sequence[Hold], stop: threading.Event) -> SegmentFacts:
    file = facts.file
    try:
        return replace(facts, matches=matching(file.path, file.name.compression, holds, stop))
    except SegmentDamaged as error:
        return replace(facts, damage=error.reason)
    except OSError as error:
        return replace(facts, damage=f"it cannot be read: {error.strerror}")


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
        fd = durable_fs.open_read(file.path)
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
