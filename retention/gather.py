"""Gather a plan's facts: segments, foreign files, sinks' cursors, unshipped records.

It only reads.  What it cannot read becomes a fact that keeps, never a guess.  Cursors are read
before segments, so that a cursor beyond a log's last record cannot be explained by what was written
in between.

Most segments are decided by their names; the others are read, with their successors, which they
must fit.  The newest of each log is always read, and more within a small budget, so that a plan for
people has all its columns; a directory of 100,000 segments is planned from names.

Invariants (tests of the same name in tests/retention/test_gather.py):
  doubt      what cannot be read is reported as damage or as a problem of its cursor
  not_here   a cursor at a record that the log does not have is a problem
  frugal     segments whose names decide are not read once the budget is spent
  searched   no hold by actor or correlation id is overlooked in what would be touched

Invariants (tests of the same name in tests/retention/test_act_on_indices.py):
  pending    a day that a sink was not given whole is pending, also where its cursor is beyond it
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from auditlog import durable_fs
from auditlog.cursors import CursorStore
from auditlog.errors import AuditLogError
from auditlog.format.record import MAX_RECORD_BYTES, is_intact, parse_header
from auditlog.format.segment_names import SegmentName, is_segment_name
from auditlog.reading.inventory import scan
from auditlog.reading.reader import bounds
from retention.content import decoded
from retention.errors import SegmentDamaged, StateDamaged
from retention.foreign_gather import adopt, source_places
from retention.groups import log_group
from retention.matching import matching
from retention.rules import holds_to_search
from retention.subjects import DirectoryFacts, Segment, SinkCursor, SinkCursors
from retention.verdict import first_keeping
from retention.writers import writer_of

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from auditlog.archived import ArchivedSpan
    from auditlog.cursors import Cursor
    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import Inventory, SegmentFile
    from retention.groups import SubjectGroup
    from retention.holds import Hold
    from retention.policy import RetentionPolicy

__all__ = ["Archived", "gather", "pending_from", "searched", "unarchived_from"]

if TYPE_CHECKING:
    Archived = Mapping[str, Mapping[str, ArchivedSpan]] | None
    """The segments of each log that the archive has; None: no archive is waited for."""

_BUDGET_BYTES: Final = 64 << 20
_PLAIN_COST_BYTES: Final = 64 << 10  # only its two ends are read
_COMPRESSED_COST: Final = 8  # times its size: it is decompressed to its end


def gather(
    directory: Path,
    policy: RetentionPolicy,
    *,
    sinks: Sequence[str],
    state_dir: Path,
    holds: Iterable[Hold],
    now: dt.datetime,
    asked: str | None = None,
    stop: threading.Event | None = None,
    witnessed: Mapping[str, int] | None = None,
    archived: Archived = None,
) -> tuple[DirectoryFacts, SinkCursors]:
    """Read what a plan of the directory needs.

    ``asked`` is the plain name of a segment or foreign file that is read in any case.  Raises
    OSError when the directory itself cannot be listed, Stopped.
    """
    stop = stop or threading.Event()
    store = CursorStore(state_dir)
    shipped = source_places(policy, sinks, store)
    inventory = scan(directory)
    total = sum(file.size_bytes for files in inventory.logs.values() for file in files)
    limit = policy.max_total_bytes
    reader = _SegmentReader(
        policy, _cursors(inventory, sinks, store), tuple(holds), now, asked, stop
    )
    logs = {log: reader.read_log(log, files) for log, files in inventory.logs.items()}
    if archived is not None:
        for segments in logs.values():
            segments[-1] = replace(segments[-1], at_rest=_is_at_rest(segments[-1].file))
    foreign, adopted = adopt(
        inventory.foreign,
        policy,
        shipped,
        reader.holds,
        now,
        stop=stop,
        asked=asked,
        room_bytes=None if limit is None else limit - total,
    )
    if limit is not None:
        reader.read_for_room(logs, total + sum(file.size_bytes for file in adopted) - limit)
    cursors = SinkCursors(
        tuple(sinks),
        {**reader.cursors.cursors, **reader.doubtful},
        tuple(sorted(set(store.sinks()) - set(sinks))),
        witnessed,
        archived,
    )
    if any(hold.reads_records for hold in reader.holds):
        for log, segments in logs.items():
            reader.search(log, segments, cursors)
    found = {log: tuple(segments) for log, segments in logs.items()}
    return DirectoryFacts(directory, found, foreign, adopted), cursors


@dataclass(slots=True)
class _SegmentReader:
    """Reads the segments of a directory that their names do not decide."""

    policy: RetentionPolicy
    cursors: SinkCursors
    holds: tuple[Hold, ...]
    now: dt.datetime
    asked: str | None
    stop: threading.Event
    budget_bytes: int = field(default_factory=lambda: _BUDGET_BYTES)
    doubtful: dict[tuple[str, LogId], SinkCursor] = field(default_factory=dict)

    def read_log(self, log: LogId, files: Sequence[SegmentFile]) -> list[Segment]:
        """Return the segments of one log, in write order."""
        segments = [Segment(file) for file in files]
        undecided = self._undecided(log, segments)
        last = len(files) - 1
        needed = {last, *undecided, *(index + 1 for index in undecided if index < last)}
        for index, file in enumerate(files):
            if index in needed or segments[index].name == self.asked:
                segments[index] = _read(file)
            elif self.budget_bytes >= _PLAIN_COST_BYTES and (
                (cost := _cost_bytes(file)) <= self.budget_bytes
            ):
                self.budget_bytes -= cost
                segments[index] = _read(file)
        return segments

    def _group(self, log: LogId, segments: Sequence[Segment], cursors: SinkCursors) -> SubjectGroup:
        return log_group(
            log,
            segments,
            policy=self.policy,
            cursors=cursors,
            holds=self.holds,
            now=self.now,
        )

    def _undecided(
        self, log: LogId, segments: Sequence[Segment], *, ageless: bool = False
    ) -> list[int]:
        """Find the segments that must be read; with any, check the log's cursors as well."""
        group = self._group(log, segments, self.cursors)
        newest = len(segments) - 1
        undecided = []
        for index, segment in enumerate(segments):
            found = first_keeping(segment, newest - index, group, ageless=ageless)
            if found is not None and found.needs == "reading":
                undecided.append(index)
        if undecided:
            self.doubtful |= _doubtful(log, [segment.file for segment in segments], self.cursors)
        return undecided

    def read_for_room(self, logs: dict[LogId, list[Segment]], over_bytes: int) -> None:
        """Read segments for max_total_bytes, oldest first, until enough could be deleted."""
        if over_bytes <= 0:
            return
        candidates = []
        for log, segments in logs.items():
            unread = [Segment(segment.file) for segment in segments]
            candidates += [
                (segments, index) for index in self._undecided(log, unread, ageless=True)
            ]
        for segments, index in sorted(candidates, key=lambda found: found[0][found[1]].age_order):
            if over_bytes <= 0:
                break
            for place in (index, index + 1):  # and its successor, which it must fit
                if segments[place].bounds is None and not segments[place].damage:
                    segments[place] = _read(segments[place].file)
            if segments[index].bounds is not None:
                over_bytes -= segments[index].size_bytes

    def search(self, log: LogId, segments: list[Segment], cursors: SinkCursors) -> None:
        """Search segments that would otherwise be touched for the records of holds."""
        group = self._group(log, segments, cursors)
        newest = len(segments) - 1
        for index, segment in enumerate(segments):
            for ageless in (False, True) if self.policy.max_total_bytes is not None else (False,):
                found = first_keeping(segment, newest - index, group, ageless=ageless)
                if found is not None and found.needs == "search":
                    holds = holds_to_search(segment, group)
                    segments[index] = searched(segment, holds, self.stop)
                    break


def searched(segment: Segment, holds: Iterable[Hold], stop: threading.Event) -> Segment:
    """Search a segment for the records of holds.  Raises Stopped."""
    file = segment.file
    try:
        return replace(segment, matches=matching(file.path, file.name.compression, holds, stop))
    except SegmentDamaged as error:
        return replace(segment, damage=error.reason)
    except OSError as error:
        return replace(segment, damage=f"it cannot be read: {error.strerror}")


def _is_at_rest(newest: SegmentFile) -> bool:
    try:
        return not writer_of(newest.directory, newest.name.log)
    except OSError:  # as where the lock belongs to another user
        return False


def _cost_bytes(file: SegmentFile) -> int:
    if "" in file.forms:
        return _PLAIN_COST_BYTES
    return _PLAIN_COST_BYTES + _COMPRESSED_COST * file.size_bytes


def _read(file: SegmentFile) -> Segment:
    try:
        ends = bounds(file)
    except AuditLogError as error:
        return Segment(file, damage=error.reason)
    except OSError as error:
        return Segment(file, damage=f"it cannot be read: {error.strerror}")
    if ends is None:
        return Segment(file, damage="it contains no whole record")
    return Segment(file, ends)


def _cursors(inventory: Inventory, sinks: Sequence[str], store: CursorStore) -> SinkCursors:
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
    return SinkCursors(tuple(sinks), cursors)


def _doubtful(
    log: LogId, files: Sequence[SegmentFile], known: SinkCursors
) -> dict[tuple[str, LogId], SinkCursor]:
    """Find the cursors at a record that is not in the log."""
    by_name = {file.name.logical: file for file in files}
    doubtful = {}
    for sink in known.sinks:
        cursor = known.cursor(sink, log).cursor
        if cursor is None:
            continue
        file = by_name.get(cursor.segment)
        if file is None:
            problem = f"has a cursor in {cursor.segment}, which is not here"
        elif not _has_record(file, cursor):
            problem = f"has a cursor at a record that is not in {cursor.segment}"
        else:
            continue
        doubtful[sink, log] = SinkCursor(cursor, problem)
    return doubtful


def _has_record(file: SegmentFile, cursor: Cursor) -> bool:
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
        and is_intact(header, line)
    )


def _part(file: SegmentFile, begin: int, end: int) -> bytes:
    """Return the segment's uncompressed bytes between two offsets."""
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


# For indices --------------------------------------------------------------------------------------


def pending_from(directories: Sequence[Path], sink: str, state_dir: Path) -> dt.date | None:
    """Return the first day of which a log may have records that the sink was not given.

    Raises StateDamaged when a directory is missing, AuditLogError, OSError.
    """
    store = CursorStore(state_dir)
    pending: list[dt.date] = []
    for directory in directories:
        if not directory.is_dir():
            raise StateDamaged(
                "there is no such directory, so it is not known what is still to be shipped",
                path=directory,
                hint="Mount it, or remove it from the configuration.",
            )
        for log, segments in scan(directory).logs.items():
            pending += _pending_days(segments, store.load(sink, log))
    return min(pending, default=None)


def unarchived_from(directories: Sequence[Path], archived: Archived) -> dt.date | None:
    """Return the first day of a segment that a configured archive does not have."""
    if archived is None:
        return None
    days = [
        file.name.day
        for directory in directories
        for log, segments in scan(directory).logs.items()
        for file in segments
        if file.name.logical not in archived.get(str(log), {})
    ]
    return min(days, default=None)


def _pending_days(segments: Sequence[SegmentFile], cursor: Cursor | None) -> Iterator[dt.date]:
    """Yield the first pending day of a log, and of each gap before its cursor."""
    if cursor is None:
        yield segments[0].name.day
        return
    if not _ends_at(segments[-1], cursor.seq):
        behind = [file.name.day for file in segments if not _is_before(file.name, cursor.segment)]
        yield min(behind, default=segments[0].name.day)
    for first, last in cursor.gaps:
        yield from _days_of(segments, first, last)


def _days_of(segments: Sequence[SegmentFile], first_seq: int, last_seq: int) -> Iterator[dt.date]:
    """Yield the day of the first segment that may have one of these records."""
    for file in segments:
        try:
            ends = bounds(file)
        except (AuditLogError, FileNotFoundError):
            ends = None  # damaged, or being removed: it may have them
        if ends is None or (ends.first_seq <= last_seq and ends.last_seq >= first_seq):
            yield file.name.day
            return


def _ends_at(newest: SegmentFile, seq: int) -> bool:
    """Whether the log has no records behind this number."""
    try:
        ends = bounds(newest)
    except (AuditLogError, FileNotFoundError):
        return False
    return ends is not None and ends.last_seq <= seq


def _is_before(name: SegmentName, segment: str) -> bool:
    """Whether a segment was written before the one that a cursor names."""
    if not is_segment_name(segment):
        return False
    other = SegmentName.parse(segment)
    return (name.day, name.part) < (other.day, other.part)
