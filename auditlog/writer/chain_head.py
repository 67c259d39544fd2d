"""Turn bodies into chained records and queue them.  Pure: the clock's reading is an argument.

A record gets its number, the hash of the record before, its timestamp and its segment in one step,
while the caller holds the log's lock.  Queued lines are kept in Commits in the order of their
numbers; a Commit never spans two segments and never exceeds MAX_COMMIT_BYTES.

Invariants (tests of the same name in tests/auditlog/writer/test_chain_head.py):
  no_gap        numbers follow each other and every record names the hash of the one before
  opened_first  the first record of every segment is log.segment_opened
  own_day       a record's timestamp is in its segment's day, also when the clock goes back
  never_back    the day of a log's segments never goes backwards, and no name is used twice
  bounded_size  a segment of more than one record is at most max_segment_bytes long
  bounded_age   a segment with records of others goes on for max_segment_age at most, also when
                nothing more is written
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from auditlog.format.record import (
    GENESIS_HASH,
    MAX_RECORD_BYTES,
    format_ns,
    log_prefix,
    seal,
    too_large,
)
from auditlog.format.segment_names import LogId, SegmentName
from auditlog.writer import log_events
from auditlog.writer.clock import SECOND_NS, day_of, to_ns
from auditlog.writer.flush_policy import MAX_COMMIT_BYTES
from auditlog.writer.ticket import Commit

if TYPE_CHECKING:
    from auditlog.writer.recovery import Recovered

__all__ = ["ChainHead", "next_segment"]

_NEVER_NS: Final = -(10**21)
"""Before every reading of a clock; those before 1970 are negative."""


class ChainHead:
    """The head of one log: the next number, the last hash, the segment, the queued commits.

    ``salt`` returns the member of that name for each record, with the comma before it.
    """

    __slots__ = (
        "_before_segment",
        "_clamped_at",
        "_day_end",
        "_filled_ns",
        "_finished_seq",
        "_open",
        "_prefix",
        "_prefix_text",
        "_salt",
        "_second_start",
        "_second_text",
        "_service_host",
        "commits",
        "hash",
        "last_ns",
        "log",
        "max_segment_age_ns",
        "max_segment_bytes",
        "queued_bytes",
        "segment",
        "seq",
        "size",
    )

    def __init__(
        self,
        log: LogId,
        service_host: str,
        max_segment_bytes: int,
        salt: Callable[[], bytes] = bytes,
        max_segment_age_ns: int | None = None,
    ) -> None:
        self.log = log
        self.max_segment_age_ns = max_segment_age_ns
        self.max_segment_bytes = max_segment_bytes
        self.seq = 0
        self.hash = GENESIS_HASH
        self.segment: SegmentName | None = None
        self.size = 0
        self.last_ns = _NEVER_NS
        self.commits: deque[Commit] = deque()
        self.queued_bytes = 0
        self._finished_seq = 0
        self._before_segment = 0  # the number of the last record of the segment before
        self._prefix = log_prefix(str(log))
        self._prefix_text = self._prefix.decode("ascii")
        self._service_host = service_host
        self._salt = salt
        self._second_start = _NEVER_NS
        self._second_text = ""
        self._day_end = _NEVER_NS
        self._filled_ns = 0  # since when the segment has more than the record that opened it
        self._open: Commit | None = None  # the last of commits, while it may still grow
        self._clamped_at = ""

    @property
    def records(self) -> int:
        """Number of records in the segment."""
        return self.seq - self._before_segment

    @property
    def queued_events(self) -> int:
        return self.seq - self._finished_seq

    def resume(self, recovered: Recovered, now_ns: int) -> None:
        """Go on behind the last record of a log that was recovered, if it has one.

        A segment that a crash left without a record is used again, unless its day is over.
        """
        if recovered.segment is not None:
            self._set_segment(recovered.segment)
            self.size = recovered.size
            self.seq = self._finished_seq = recovered.seq
            self._before_segment = self.seq - 2  # two records are enough for a segment to rotate
            self.hash = recovered.hash
            self.last_ns = to_ns(recovered.timestamp)
            self._filled_ns = now_ns  # until grow_older is told better
        if recovered.empty is not None and recovered.empty.day >= day_of(now_ns):
            self.open_segment(recovered.empty, now_ns)
        elif not recovered.appendable:
            self.rotate(now_ns)

    def append(self, body: bytes, now_ns: int) -> Commit:
        """Make the body the log's next record and queue it; ``seq`` and ``hash`` are then its own.

        ``now_ns`` since the epoch.  Returns the commit it belongs to.  Raises RecordTooLarge, and
        then nothing has changed.
        """
        salt = self._salt()
        seq = self.seq + 1
        since = now_ns - self._second_start
        if 0 <= since < SECOND_NS:  # nearly always; a second never spans two days
            # As below with seal, whose call and whose text in between cost a tenth of an append.
            # Adding a million and cutting it off again pads with zeros, faster than a format does.
            content = (
                f'{self._prefix_text}{seq},"prev_hash":"{self.hash}","@timestamp":"'
                f'{self._second_text}{str(1_000_000 + since // 1000)[1:]}Z",'
            ).encode() + body
            content += salt
            self.last_ns = now_ns
            digest = sha256(content).hexdigest()
            line = content + f',"hash":"{digest}"}}\n'.encode()
            timestamp = ""
        else:
            if now_ns >= self._day_end:
                self._check_fits(body + salt)
                self._advance(now_ns, line_bytes=0)
                seq = self.seq + 1
            timestamp = self._timestamp(now_ns)
            if self._clamped_at:
                body = _with_clock_at(body, self._clamped_at)
            line, digest = seal(self._prefix, seq, self.hash, timestamp, body + salt)
        size = len(line)
        if size > MAX_RECORD_BYTES + 1:
            raise too_large(size)
        if self.size + size > self.max_segment_bytes:
            self._check_fits(body + salt)
            if self._advance(now_ns, line_bytes=size):
                seq = self.seq + 1
                timestamp = timestamp or self._timestamp(now_ns)
                line, digest = seal(self._prefix, seq, self.hash, timestamp, body + salt)
                size = len(line)
        end = self.size + size
        commit = self._open
        if commit is None or end - commit.offset > MAX_COMMIT_BYTES:
            commit = self._new_commit(seq)
        # A signal handler may raise after any call, so the only call comes after the last change.
        self.seq = seq
        self.hash = digest
        self.size = commit.end = end
        self.queued_bytes += size
        commit.lines.append(line)
        return commit

    def open_segment(self, segment: SegmentName, now_ns: int) -> None:
        """Go on in this segment; its first record says which one came before."""
        body = log_events.segment_opened(self._service_host, self.segment, self.size, self.hash)
        self._set_segment(segment)
        self._open = None
        self.size = 0
        self._before_segment = self.seq
        self._filled_ns = now_ns
        self.append(body, now_ns)

    def rotate(self, now_ns: int) -> None:
        """Go on in a new segment although this one is neither full nor of an earlier day."""
        if self.segment is not None and self.records > 1:
            self.open_segment(self.segment.next_part(), now_ns)

    def grow_older(self, now_ns: int, began_ns: int | None = None) -> None:
        """Go on in a new segment when this one is too old; to be called about once a second.

        ``began_ns`` is when a segment began that was recovered.
        """
        if self.max_segment_age_ns is None or self.segment is None:
            return
        if began_ns is not None:
            self._filled_ns = began_ns
        elif self.records <= 1:
            self._filled_ns = now_ns
        self._filled_ns = min(self._filled_ns, now_ns)  # the clock may be set back
        self._advance(now_ns, line_bytes=0)

    def oldest(self) -> Commit:
        """The commit to write next.  It stays queued, but new records go to another one."""
        commit = self.commits[0]
        if commit is self._open:
            self._open = None
        return commit

    def finished(self, commit: Commit) -> None:
        """Remove the oldest commit, which is durable or has failed, from the queue."""
        self.queued_bytes -= commit.size
        self._finished_seq = commit.last_seq
        self.commits.popleft()

    def _check_fits(self, body: bytes) -> None:
        """Refuse a record that is too large before a segment is opened for it."""
        line, _ = seal(self._prefix, self.seq + 2, self.hash, format_ns(0), body)
        if len(line) > MAX_RECORD_BYTES + 1:
            raise too_large(len(line))

    def _new_commit(self, first_seq: int) -> Commit:
        assert self.segment is not None  # noqa: S101  (_advance set it; for the type checker)
        self._open = commit = Commit(self.segment, self.size, first_seq)
        self.commits.append(commit)
        return commit

    def _advance(self, now_ns: int, *, line_bytes: int) -> bool:
        day = day_of(now_ns)
        if self.segment is None:
            following: SegmentName | None = SegmentName(self.log, day, 1)
        else:
            following = next_segment(
                self.segment,
                size=self.size,
                records=self.records,
                line_bytes=line_bytes,
                day=day,
                max_segment_bytes=self.max_segment_bytes,
                age_ns=now_ns - self._filled_ns,
                max_segment_age_ns=self.max_segment_age_ns,
            )
        if following is None:
            return False
        self.open_segment(following, now_ns)
        return True

    def _set_segment(self, segment: SegmentName) -> None:
        self.segment = segment
        midnight = dt.datetime.combine(segment.day, dt.time(), dt.UTC)
        self._day_end = (int(midnight.timestamp()) + 86_400) * SECOND_NS

    def _timestamp(self, now_ns: int) -> str:
        """RFC 3339 with microseconds; a clock from before the segment's day stays in that day.

        The text up to the second is kept for the records of the same second that follow.
        """
        day_start = self._day_end - 86_400 * SECOND_NS
        if now_ns < day_start:
            self._clamped_at = format_ns(now_ns)
            self._second_start = _NEVER_NS
            return format_ns(max(self.last_ns, day_start))
        self._clamped_at = ""
        self.last_ns = now_ns
        self._second_start = now_ns - now_ns % SECOND_NS
        timestamp = format_ns(now_ns)
        self._second_text = timestamp[:20]
        return timestamp


def next_segment(
    current: SegmentName,
    *,
    size: int,
    records: int,
    line_bytes: int,
    day: dt.date,
    max_segment_bytes: int,
    age_ns: int = 0,
    max_segment_age_ns: int | None = None,
) -> SegmentName | None:
    """The segment the next line has to go to, or None for the current one.

    ``size`` and ``records`` are the current segment's, ``day`` the UTC day of the new record,
    ``age_ns`` the time since the segment has more than the record that opened it.  With only that
    one a segment takes any line, however long, and grows no older.
    """
    if day > current.day:
        return SegmentName(current.log, day, 1)
    if records > 1 and max_segment_age_ns is not None and age_ns >= max_segment_age_ns:
        return current.next_part()
    if records > 1 and size + line_bytes > max_segment_bytes:
        return current.next_part()
    return None


def _with_clock_at(body: bytes, clock_at: str) -> bytes:
    """Add the actual clock reading to the details, which are the last member of a body.

    A body that already has the member keeps its own (log.clock_stepped has the same reading): an
    index refuses a document with a duplicate member.
    """
    if b'"clock_at":' in body:
        return body
    member = b'"clock_at":"%b"}' % clock_at.encode("ascii")
    if body.endswith(b"}"):
        return body[:-1] + (b"" if body.endswith(b"{}") else b",") + member
    return body + b',"details":{' + member
