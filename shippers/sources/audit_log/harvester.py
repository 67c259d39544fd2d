"""Follow one audit log through rotation and compression, checking the chain on the way.

The position is (segment, offset, seq, hash), of the logical segment, in whatever form its file is.
The inventory is taken before a segment is read to its end, and only then may reading go on in the
next segment, so nothing that was appended before the rotation is missed.

Records that the files lack when it is their turn are passed, and their numbers become gaps of the
position.  If a segment of them is put back later, it is read, and again everything behind it.

A break of the chain is an Alarm that travels with the batch; reading goes on.  A line that is not
built like a record of this log comes without a header, for the quarantine.

Invariants (tests of the same name in tests/shippers/sources/audit_log/test_harvester.py):
  whole_lines    a line without its LF is never given out while it can still grow
  any_form       plain, .zst, .gz, and a change between two reads, give the same lines
  resumes        from any position given out, exactly the lines after it follow
  losing_cursor  a cursor that does not fit the log costs a second reading, and never a line
  put_back       a segment that was missing when it was its turn is read once it is there
  deleted        records that a tombstone accounts for are missing without an alarm
  every_break    a line that verify objects to is an alarm, and is given out all the same
  durable        a line of the newest segment is synced before it is given out: after a power loss
                 its number would be another record's
  fast_path      the quick check accepts exactly what record.parse_header and check_link accept
"""

from __future__ import annotations

import bisect
from functools import partial
from itertools import count, pairwise, repeat
from typing import TYPE_CHECKING, Final

from auditlog.errors import LogDamaged
from auditlog.format.record import (
    GENESIS_HASH,
    MAX_RECORD_BYTES,
    Header,
    check_link,
    is_intact,
    line_hash,
    log_prefix,
    parse_header,
    stub_leaf,
)
from auditlog.format.segment_names import SegmentName
from auditlog.reading.reader import iter_lines, open_any_form
from auditlog.verification.fast_path import check_following, follow, following_start, line_ends
from shippers.batch import HarvestAlarm, Position, RecordBatch
from shippers.item import Shipment
from shippers.sources.audit_log.segment_bytes import SegmentBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from auditlog.format.tombstones import Tombstone
    from auditlog.reading.inventory import SegmentFile
    from shippers.sources.audit_log.origin import LogOrigin

__all__ = ["LogHarvester"]

_MAX_LINE_BYTES: Final = MAX_RECORD_BYTES + 1

_NOWHERE: Final[Position] = Position()

# As Header(…) and Shipment(…), without the function of a NamedTuple in between, for every record.
_NEW_HEADER: Final = partial(tuple.__new__, Header)
_NEW_SHIPMENT: Final = partial(tuple.__new__, Shipment)

_MAX_GAPS: Final = 100
"""Maximum number of gaps in a cursor; beyond it the oldest are merged into one."""

_DETAILS: Final = {
    "hash_mismatch": "the record's content does not match its hash",
    "chain_break": "the record does not name the hash of the one before it",
    "seq_gap": "records are missing before this one",
    "seq_repeat": "the record's number was used before",
    "not_a_record": "the line is not a record of this log",
    "truncated": "the segment is shorter than what was read of it; it is read again",
    "replaced": "another file has taken the segment's place; the log is read again",
    "cursor_mismatch": "the record at the cursor is not the one that was shipped; "
    "the log is read again from its beginning",
    "erasure_unproven": "the record was replaced by a stub, and no record of an erasure proves it",
    "unfinished": "the sealed segment ends in a line without its end",
}


class LogHarvester:
    """Reads one log, from a position on.  Not thread-safe: it belongs to one loop.

    ``proven`` says whether an erasure proves a stub.
    """

    exhausted = True  # every read returns all there is in the files

    def __init__(
        self,
        log: str,
        start: Position = _NOWHERE,
        proven: Callable[[bytes], bool] = lambda _stub: True,
        tombstones: Callable[[], Sequence[Tombstone]] = tuple,
        origin: LogOrigin | None = None,
    ) -> None:
        """``tombstones`` gives this log's; it is called when records are missing."""
        self.log = log
        self._proven = proven
        self._tombstones = tombstones
        self._origin = origin
        self._prefix = log_prefix(log)
        self._segments: tuple[SegmentFile, ...] = ()
        self._names: list[SegmentName] = []
        self._open: SegmentBytes | None = None
        self._alarms: list[HarvestAlarm] = []
        self._put_back: set[SegmentName] = set()  # each once, whatever its numbers
        self._line_bytes = 600  # average length of lines, to read about as many as requested
        self._position: Position = start
        self._set_position(start)

    @property
    def position(self) -> Position:
        """The position behind the last line returned."""
        return self._position

    @property
    def segments(self) -> tuple[SegmentFile, ...]:
        """The segments of the last refresh."""
        return self._segments

    def rewind(self, position: Position) -> None:
        """Read on from a position that was given out before."""
        self.close()
        self._alarms.clear()  # they are found again
        self._put_back.clear()
        self._set_position(position)
        if position.gaps:
            self._go_back()

    def refresh(self, segments: Sequence[SegmentFile]) -> None:
        """Update the list of segments, in write order."""
        before, self._names = self._names, [segment.name for segment in segments]
        self._segments = tuple(segments)
        if self._position.gaps and before != self._names:
            self._go_back()

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def lag_bytes(self) -> int:
        """Bytes of this log behind the position, compressed segments by their file size."""
        lag = 0
        for segment in self._segments[self._behind(self._position.segment) :]:
            lag += segment.size_bytes
        if self._open is not None and (size := self._open.size()) is not None:
            lag += max(0, size - self._position.offset)
        return lag

    def read(self, max_bytes: int, max_records: int) -> RecordBatch | None:
        """The next lines, from one segment; None when there are none for now.

        A batch may hold alarms alone.  Raises LogDamaged, OSError; the position stays.
        """
        while True:
            if self._open is None and not self._open_segment():
                break
            assert self._open is not None  # noqa: S101  (_open_segment opened it)
            following = self._following(self._open.name)
            if (batch := self._read_lines(self._open, max_bytes, max_records)) is not None:
                return batch
            if self._reopen_if_changed(self._open):
                continue
            if following is None:
                break
            if (batch := self._take_unfinished(self._open)) is not None:
                return batch
            self.close()
            self._position = self._position._replace(segment=following.name.logical, offset=0)
        return self._alarms_alone()

    # -- where to read ---------------------------------------------------------------------

    def _set_position(self, position: Position) -> None:
        self._position = position
        self._gaps = position.gaps
        # The expected next link.  After a changed record either of two hashes may follow;
        # after a strange line (unsure) nothing can be compared.
        self._seq, self._hash = position.seq, position.hash
        self._other_hash: str | None = None
        self._unsure = False
        self._anchored = position.segment != ""

    def _behind(self, name: str) -> int:
        """The index of the first segment behind the named one."""
        return bisect.bisect_right(self._names, SegmentName.parse(name)) if name else 0

    def _following(self, name: str) -> SegmentFile | None:
        index = self._behind(name)
        return self._segments[index] if index < len(self._segments) else None

    def _go_back(self) -> None:
        """Read on from a segment that begins in a gap, if one is there by now."""
        behind = bisect.bisect_left(self._names, SegmentName.parse(self._position.segment))
        older = self._segments[:behind]
        for gap in self._position.gaps:
            index = bisect.bisect_left(older, gap[0], key=_first_seq)
            first = _first_record(older[index]) if index < len(older) else None
            if first is None or first.seq > gap[1] or older[index].name in self._put_back:
                continue
            name = older[index].name
            self._put_back.add(name)
            gaps = [(begin, min(end, first.seq - 1)) for begin, end in self._position.gaps]
            left = tuple((begin, end) for begin, end in gaps if begin <= end)
            self.close()
            self._set_position(Position(name.logical, 0, first.seq - 1, first.prev_hash, left))
            return

    def _open_segment(self) -> bool:
        """Open the segment at the position, or the next that is left; false when there is none."""
        wanted = self._position.segment
        first = bisect.bisect_left(self._names, SegmentName.parse(wanted)) if wanted else 0
        if wanted and 0 < len(self._segments) == first:
            # The newest segment is never deleted by policy: this is another log of the same name.
            self._restart("cursor_mismatch")
            return self._open_segment()
        for segment in self._segments[first:]:
            name = segment.name.logical
            try:
                self._open = SegmentBytes(segment)
            except FileNotFoundError:
                continue  # deleted since the inventory; the chain check notices if it was missed
            if name != wanted:
                if self._position.seq and not self._goes_on(self._open):
                    self._restart("cursor_mismatch")
                    return self._open_segment()
                self._position = self._position._replace(segment=name, offset=0)
            elif self._position.offset and not self._fits(self._open):
                self._restart("cursor_mismatch")
                return self._open_segment()
            return True
        return False

    def _goes_on(self, segment: SegmentBytes) -> bool:
        """Whether a segment that is not the position's begins behind what was shipped."""
        line, lf, _ = segment.read_at(0, _MAX_LINE_BYTES).partition(b"\n")
        header = parse_header(line + lf)
        return header is None or header.seq > self._position.seq

    def _fits(self, segment: SegmentBytes) -> bool:
        """Whether the last record before the position is the one the position names."""
        position = self._position
        start = max(0, position.offset - 2 * _MAX_LINE_BYTES)
        before = segment.read_at(start, position.offset - start)
        if len(before) < position.offset - start or not before.endswith(b"\n"):
            return False
        for line in reversed(before.removesuffix(b"\n").split(b"\n")):
            header = parse_header(line + b"\n")
            if header is None or header.log != self.log:
                continue
            intact = is_intact(header, line + b"\n")
            self._other_hash = None if intact else line_hash(line + b"\n")
            return (header.seq, header.hash) == (position.seq, position.hash)
        return start == 0  # strange lines from the segment's beginning on: nothing to compare

    def _restart(self, kind: str) -> None:
        """Restart at the log's oldest segment, which costs time and loses no record."""
        self._raise_alarm(kind, self._position.offset, self._position.seq or None)
        self.close()
        self._set_position(Position())

    def _reopen_if_changed(self, segment: SegmentBytes) -> bool:
        """Handle a file that was truncated or replaced; return whether it was."""
        size = segment.size()
        if size is not None and size < self._position.offset:
            self._restart("truncated")
            return True
        if segment.replaced_by() is not None:
            self._raise_alarm("replaced", self._position.offset, None)
            self.close()
            return True
        return False

    # -- what is read ----------------------------------------------------------------------

    def _read_lines(
        self, segment: SegmentBytes, max_bytes: int, max_records: int
    ) -> RecordBatch | None:
        size = max(min(max_bytes, self._line_bytes * max_records), 2 * _MAX_LINE_BYTES)
        offset = self._position.offset
        block = segment.read_at(offset, size)
        sizes = line_ends(block, max_records)
        if not sizes:
            return self._take_overlong(segment, block) if len(block) == size else None
        if self._following(segment.name) is None and not segment.is_durable(offset + sizes[-1]):
            return None
        start = self._position
        lines = [block[begin:end] for begin, end in pairwise((0, *sizes))]
        headers = self._check_block(block, sizes) or self._check_lines(lines, offset)
        shipments = list(map(_NEW_SHIPMENT, zip(lines, headers, strict=True)))
        ends = [offset + size for size in sizes]
        self._line_bytes = max(200, (ends[-1] - offset) // len(lines) + 1)
        return self._batch(start, segment.name, shipments, ends)

    def _batch(
        self, start: Position, name: str, shipments: list[Shipment], ends: list[int]
    ) -> RecordBatch:
        alarms, self._alarms = self._alarms, []
        size_bytes = ends[-1] - start.offset if ends and name == start.segment else 0
        size_bytes = size_bytes or sum(len(line) for line, _ in shipments)
        batch = RecordBatch(
            log=self.log,
            start=start,
            segment=name,
            items=shipments,
            ends=ends,
            size_bytes=size_bytes,
            alarms=alarms,
            gaps=self._gaps,
            origin=self._origin,
        )
        self._position = batch.position_after(len(batch))
        return batch

    def _alarms_alone(self) -> RecordBatch | None:
        return self._batch(self._position, self._position.segment, [], []) if self._alarms else None

    def _check_block(self, block: bytes, ends: list[int]) -> list[Header] | None:
        """Fast path: return the headers of the lines if all are the log's intact next records."""
        if not self._anchored:
            return None
        first, before = self._seq + 1, self._hash
        following = follow(block, ends, self._prefix, first, before)
        if following is None:
            return None
        hashes = following.hashes
        times = [match[1].decode() for match in following.found]
        types = [match[2].decode() for match in following.found]
        members = (repeat(self.log), count(first), (before, *hashes), times, types, hashes)
        headers = list(map(_NEW_HEADER, zip(*members, strict=False)))
        self._seq, self._hash = first + len(hashes) - 1, hashes[-1]
        self._other_hash, self._unsure = None, False
        return headers

    def _check_lines(self, lines: list[bytes], offset: int) -> list[Header | None]:
        headers = []
        for line in lines:
            header = self._check_quickly(line) if self._anchored else None
            if header is None:
                header = self._check_closely(line, offset)
            headers.append(header)
            offset += len(line)
        return headers

    def _check_quickly(self, line: bytes) -> Header | None:
        """Return a line's header if it is the intact next record, else None."""
        seq = self._seq + 1
        checked = check_following(line, following_start(self._prefix, seq, self._hash))
        if checked is None:
            return None
        digest, found = checked
        at, event_type = found.groups()
        header = Header(self.log, seq, self._hash, at.decode(), event_type.decode(), digest)
        self._seq, self._hash = seq, digest
        self._other_hash, self._unsure = None, False
        return header

    def _check_closely(self, line: bytes, offset: int) -> Header | None:
        """Check a line in full, when the fast path has not accepted it."""
        header = parse_header(line)
        if header is None or header.log != self.log:
            self._raise_alarm("not_a_record", offset, None)
            self._unsure = True
            return None
        expected = self._seq + 1
        prev_hash = self._hash
        if not self._anchored:
            expected = header.seq
            prev_hash = GENESIS_HASH if header.seq == 1 else header.prev_hash
        elif self._unsure:
            prev_hash = header.prev_hash
            if header.seq == expected + 1:
                expected = header.seq  # the strange line stood for a record
        elif header.prev_hash == self._other_hash:
            prev_hash = header.prev_hash
        kind = check_link(header, line, seq=expected, prev_hash=prev_hash)
        if kind == "seq_gap" or (kind is None and not self._anchored and header.seq > 1):
            self._note_gap(self._seq + 1, header.seq - 1)
        before = self._seq, self._hash
        self._hash, self._other_hash = header.hash, None
        self._seq = header.seq
        if kind is not None and not (kind == "seq_gap" and self._is_deleted(before, header)):
            self._raise_alarm(kind, offset, header.seq)
        elif stub_leaf(line) is not None and not self._proven(line):
            self._raise_alarm("erasure_unproven", offset, header.seq)
        if kind == "hash_mismatch":
            # The number may be what was changed, and the next record may name either hash.
            self._seq, self._other_hash = expected, line_hash(line)
        self._anchored, self._unsure = True, False
        return header

    def _is_deleted(self, before: tuple[int, str], header: Header) -> bool:
        """Whether tombstones lead from the record before to this one."""
        seq, digest = before
        for tombstone in sorted(self._tombstones()):
            if (tombstone.first_seq, tombstone.first_prev_hash) == (seq + 1, digest):
                seq, digest = tombstone.last_seq, tombstone.last_hash
        return (seq + 1, digest) == (header.seq, header.prev_hash)

    def _note_gap(self, first: int, last: int) -> None:
        gaps = sorted({*self._gaps, (first, last)})
        while len(gaps) > _MAX_GAPS:
            (begin, _), (_, end), *rest = gaps
            gaps = [(begin, end), *rest]  # too much is said of the oldest, and never too little
        self._gaps = tuple(gaps)

    def _take_overlong(self, segment: SegmentBytes, block: bytes) -> RecordBatch | None:
        """A line longer than any record: its beginning goes to quarantine, the rest is passed."""
        end = self._position.offset + len(block)
        while chunk := segment.read_at(end, _MAX_LINE_BYTES):
            if (at := chunk.find(b"\n")) >= 0:
                return self._strange(
                    segment, block[:MAX_RECORD_BYTES], end + at + 1, "not_a_record"
                )
            end += len(chunk)
        return None

    def _take_unfinished(self, segment: SegmentBytes) -> RecordBatch | None:
        """Return the bytes behind the last LF of a sealed segment, which no writer will finish."""
        offset = self._position.offset
        rest = segment.read_at(offset, _MAX_LINE_BYTES)
        if not rest:
            return None
        end = offset + len(rest)
        while chunk := segment.read_at(end, _MAX_LINE_BYTES):
            end += len(chunk)
        return self._strange(segment, rest, end, "unfinished")

    def _strange(self, segment: SegmentBytes, line: bytes, end: int, kind: str) -> RecordBatch:
        self._raise_alarm(kind, self._position.offset, None)
        self._unsure = True
        return self._batch(self._position, segment.name, [Shipment(line, None)], [end])

    def _raise_alarm(self, kind: str, offset: int, seq: int | None) -> None:
        segment = self._position.segment
        self._alarms.append(HarvestAlarm(kind, segment, offset, seq, _DETAILS[kind]))


def _first_record(segment: SegmentFile) -> Header | None:
    """None where it cannot be told."""
    try:
        stream, path = open_any_form(segment)
        with stream:
            _, line = next(iter_lines(stream, path=path), (0, b""))
    except (LogDamaged, OSError):
        return None
    return parse_header(line)


def _first_seq(segment: SegmentFile) -> int:
    first = _first_record(segment)
    return 0 if first is None else first.seq
