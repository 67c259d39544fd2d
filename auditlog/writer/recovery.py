"""Recover a log when it is opened: read its end, cut a torn tail, refuse damage.

    <dir>/.auditlog/<segment>.<offset>.<digest>.torn    bytes that were cut, kept for whoever asks

Only the last commit's worth of bytes is read, so opening takes as long for 1 GiB as for 1 KiB.

Invariants (tests of the same name in tests/auditlog/writer/test_recovery.py):
  goes_on        after a cut at any byte the log goes on behind its last whole record
  keeps_bytes    bytes that are cut are kept aside first, durably
  refuses        on damage nothing is changed, and the error names the place
  not_forgotten  a newest segment that is gone is noticed
  durable_base   the records before the end are durable before anything is written behind them
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from auditlog import durable_fs
from auditlog.errors import LogDamaged, LogFailed
from auditlog.format.record import (
    GENESIS_HASH,
    MAX_RECORD_BYTES,
    format_timestamp,
    parse_header,
)
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.reading.head_note import head_path, known_head
from auditlog.reading.inventory import STATE_DIRECTORY, SegmentFile, scan
from auditlog.reading.reader import bounds, open_segment
from auditlog.writer.clock import to_ns
from auditlog.writer.torn_tail import WINDOW_BYTES, Tail, scan_tail

__all__ = ["Recovered", "Torn", "began_ns", "recover"]


@dataclass(frozen=True, slots=True)
class Torn:
    """Bytes that were cut off a segment: how many, their SHA-256, and the file that keeps them."""

    segment: str
    offset: int
    size_bytes: int
    sha256: str
    kept: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """Where the log goes on.

    ``segment`` is the last one with a record in it (None: the log is new), ``size`` its bytes,
    ``seq``, ``hash`` and ``timestamp`` its last record's.  ``appendable`` is false for a compressed
    one.  ``closed`` says whether the last record is log.closed (None: unknown).  ``empty`` is the
    newest segment where that has no whole record, as a crash leaves it.  ``predecessor`` is the log
    that this one succeeds (see opening), with the number and hash of its last record.
    """

    segment: SegmentName | None = None
    size: int = 0
    seq: int = 0
    hash: str = GENESIS_HASH
    timestamp: str = ""
    appendable: bool = True
    closed: bool | None = None
    empty: SegmentName | None = None
    predecessor: tuple[str, int, str] | None = None
    torn: Torn | None = None


def recover(directory: Path, log: LogId) -> Recovered:
    """Read the end of the log, cutting a torn tail.  The caller holds the log's lock.

    Raises LogDamaged for anything a crash cannot explain, OSError as it comes.
    """
    segments = scan(directory).logs.get(log, ())
    head = known_head(directory, log)
    _check_head(directory, head, segments)
    found = Recovered()
    cut: tuple[SegmentFile, int] | None = None
    for index, segment in enumerate(reversed(segments)):
        if segment.name.compression:
            found = replace(_behind_compressed(segment), empty=found.empty)
            break
        tail = _tail_of(segment, log)
        if tail.end < segment.size_bytes:
            if index > 0:
                raise _damaged(segment, "a segment that was complete has a torn end", tail.end)
            cut = segment, tail.end
        if (last := tail.last) is not None:
            found = Recovered(
                segment.name,
                tail.end,
                last.seq,
                last.hash,
                last.timestamp,
                closed=last.event_type == "log.closed",
                empty=found.empty,
            )
            break
        if head is not None and segment.name <= head:
            raise _damaged(segment, "the records it had are gone", 0)
        # Every crash right after a rotation leaves one such, and a later day's open goes past it.
        found = replace(found, empty=found.empty or segment.name)
    if cut is not None:  # only now: where there is damage nothing is changed
        found = replace(found, torn=_cut(directory, *cut))
    _make_durable(directory, found.segment if found.appendable else None)
    return found


def began_ns(directory: Path, recovered: Recovered) -> int | None:
    """Return the time of the first record of the segment that was recovered; None: unknown."""
    if recovered.segment is None or not recovered.appendable or recovered.empty is not None:
        return None
    with open_segment(directory / recovered.segment.logical) as stream:
        header = parse_header(stream.readline(MAX_RECORD_BYTES + 1))
    return None if header is None else to_ns(header.timestamp)


def _make_durable(directory: Path, segment: SegmentName | None) -> None:
    """Sync the segment that was read: a writer that was killed may have written it without syncing.

    Records that are acknowledged later come behind it, and a power loss would take both.  Raises
    LogFailed.
    """
    place = directory if segment is None else directory / segment.logical
    try:
        if segment is not None:
            durable_fs.sync_content(place)
        durable_fs.fsync_directory(directory)
        if segment is None:
            with suppress(
                PermissionError
            ):  # not ours to read; its owner created the directory before
                durable_fs.fsync_directory(directory.parent)
    except OSError as error:
        raise LogFailed(
            "the end of the log cannot be made durable",
            path=place,
            errno=error.errno,
            hint="Repair the disk, then open the log again.",
        ) from error


def _behind_compressed(segment: SegmentFile) -> Recovered:
    """Retention leaves the newest segment plain; somebody else did this, and it is harmless."""
    ends = bounds(segment)
    if ends is None:
        raise _damaged(segment, "a compressed segment holds no record", 0)
    name = SegmentName(segment.name.log, segment.name.day, segment.name.part)
    timestamp = format_timestamp(ends.last_at)
    with open_segment(segment.path) as stream:
        size = _length(stream)
    return Recovered(name, size, ends.last_seq, ends.last_hash, timestamp, appendable=False)


def _length(stream: BinaryIO) -> int:
    size = 0
    while chunk := stream.read(1 << 18):
        size += len(chunk)
    return size


def _tail_of(segment: SegmentFile, log: LogId) -> Tail:
    with open_segment(segment.path) as stream:
        start = max(0, segment.size_bytes - WINDOW_BYTES)
        stream.seek(start)
        window = stream.read(segment.size_bytes - start)
    tail = scan_tail(window, start, str(log))
    if tail.damage:
        raise _damaged(segment, tail.damage, tail.end)
    return tail


def _damaged(segment: SegmentFile, reason: str, offset: int) -> LogDamaged:
    return LogDamaged(
        reason,
        path=segment.path,
        offset=offset,
        hint="Nothing was changed. Run auditctl verify on the directory, keep a copy of it, and"
        " move the damaged segment away or start a new log with instance=.",
    )


def _cut(directory: Path, segment: SegmentFile, end: int) -> Torn:
    with open_segment(segment.path) as stream:
        stream.seek(end)
        torn = stream.read(segment.size_bytes - end)
    digest = sha256(torn).hexdigest()
    # The digest in the name keeps the tails of two crashes at the same offset apart.
    kept = directory / STATE_DIRECTORY / f"{segment.name.logical}.{end}.{digest[:12]}.torn"
    durable_fs.replace_durably(kept, torn)
    durable_fs.truncate(segment.path, end)
    return Torn(segment.name.logical, end, len(torn), digest, kept.name)


def _check_head(
    directory: Path, head: SegmentName | None, segments: tuple[SegmentFile, ...]
) -> None:
    if head is not None and (not segments or segments[-1].name < head):
        newest = segments[-1].name.logical if segments else "none"
        raise LogDamaged(
            f"the newest segment is missing: it was {head.logical}, the newest there is {newest}",
            path=directory / head.logical,
            hint=f"Put it back, or remove {head_path(directory, head.log)}"
            " to let the log go on from an older record (its numbers repeat).",
        )
