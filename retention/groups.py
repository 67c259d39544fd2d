"""Gather the subjects that one policy judges together, with the facts that the rules ask.  Pure.

A group is one log, one pattern of foreign files or the indices of one sink.  Each subject in it is
known by the number of newer ones.

Invariants (tests of the same name in tests/retention/test_groups.py):
  per_log      each log is judged by the policy that its id selects
  fits         a cursor that contradicts the log counts for none of its segments
  neighbours   segments that overlap, or whose hashes do not meet, are both misfits
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from auditlog.reading.tombstone_scan import RETENTION_SERVICE

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Iterable, Mapping, Sequence

    from auditlog.archived import ArchivedSpan
    from auditlog.cursors import Cursor
    from auditlog.format.segment_names import LogId
    from auditlog.reading.reader import Bounds
    from retention.holds import Hold
    from retention.policy import ForeignPolicy, IndexPolicy, RetentionPolicy
    from retention.subjects import Segment, SinkCursor, SinkCursors

__all__ = [
    "SubjectGroup",
    "foreign_group",
    "index_group",
    "log_group",
    "pattern_group",
]


@dataclass(frozen=True, slots=True)
class SubjectGroup:
    """The subjects that one policy judges together: one log, one pattern or one sink's indices.

    cursors        the sinks' cursors in the log; a cursor that does not fit the log has a problem
    misfits        by the number of newer segments: why a segment does not fit its neighbour
    witnessed_seq  the last record of the log that a quorum cosigned; None: no witness is waited for
    archived       the segments of the log that the archive has; None: no archive is waited for
    pending_from   the first day of which records may be missing in the sink; None: none are
    unarchived_from    the first day of which a segment is not archived; None: none is
    holds          those in force at ``now``
    """

    name: str
    noun: Literal["segments", "files", "indices"]
    now: dt.datetime
    compress_after: dt.timedelta
    delete_after: dt.timedelta
    max_delete_fraction: float
    keep_at_least: int = 1
    is_counted: bool = False
    has_tombstones: bool = False
    holds: tuple[Hold, ...] = ()
    cursors: tuple[tuple[str, SinkCursor], ...] = ()
    misfits: Mapping[int, str] = field(default_factory=dict)
    witnessed_seq: int | None = None
    archived: Mapping[str, ArchivedSpan] | None = None
    pending_from: dt.date | None = None
    unarchived_from: dt.date | None = None


def log_group(
    log: LogId,
    segments: Sequence[Segment],
    *,
    policy: RetentionPolicy,
    cursors: SinkCursors,
    holds: Iterable[Hold],
    now: dt.datetime,
) -> SubjectGroup:
    """Make the group of one log's segments, given in write order."""
    return _group(
        str(log),
        "segments",
        policy.of(str(log)),
        holds,
        now,
        has_tombstones=log.service == RETENTION_SERVICE,
        cursors=tuple(
            (sink, _checked(cursors.cursor(sink, log), log, segments)) for sink in cursors.sinks
        ),
        misfits=_misfits(segments),
        witnessed_seq=None if cursors.witnessed is None else cursors.witnessed.get(str(log), 0),
        archived=None if cursors.archived is None else cursors.archived.get(str(log), {}),
    )


def pattern_group(foreign: ForeignPolicy, holds: Iterable[Hold], now: dt.datetime) -> SubjectGroup:
    """Make the group of the files that one pattern adopts."""
    return _group(foreign.pattern, "files", foreign.policy, holds, now)


def foreign_group(policy: RetentionPolicy, now: dt.datetime) -> SubjectGroup:
    """Make the group of the files that no pattern adopts."""
    return _group("", "files", policy, (), now)


def index_group(
    policy: IndexPolicy,
    holds: Iterable[Hold],
    now: dt.datetime,
    pending_from: dt.date | None,
    unarchived_from: dt.date | None = None,
) -> SubjectGroup:
    """Make the group of one sink's indices."""
    return SubjectGroup(
        policy.sink,
        "indices",
        now,
        policy.delete_after,
        policy.delete_after,
        policy.max_delete_fraction,
        holds=tuple(hold for hold in holds if hold.in_force(now)),
        pending_from=pending_from,
        unarchived_from=unarchived_from,
    )


def _group(
    name: str,
    noun: Literal["segments", "files"],
    policy: RetentionPolicy,
    holds: Iterable[Hold],
    now: dt.datetime,
    **facts: Any,
) -> SubjectGroup:
    return SubjectGroup(
        name,
        noun,
        now,
        policy.compress_after,
        policy.delete_after,
        policy.max_delete_fraction,
        policy.keep_at_least,
        is_counted=policy.verify_before_delete == "index",
        holds=tuple(hold for hold in holds if hold.in_force(now)),
        **facts,
    )


def _checked(known: SinkCursor, log: LogId, segments: Sequence[Segment]) -> SinkCursor:
    """Give a cursor that does not fit the log a problem; it then counts for no segment of it."""
    cursor = known.cursor
    if cursor is None or known.problem:
        return known
    head = segments[-1].bounds if segments else None
    problem = ""
    if cursor.log != str(log):
        problem = f"has a cursor of another log, {cursor.log}"
    elif head is not None and cursor.seq > head.last_seq:
        problem = f"has a cursor at seq {cursor.seq}, beyond the log's {head.last_seq}"
    elif any(_contradicts(cursor, segment.bounds) for segment in segments):
        problem = f"has a cursor at seq {cursor.seq} with a hash that is not this log's"
    return type(known)(cursor, problem)


def _contradicts(cursor: Cursor, bounds: Bounds | None) -> bool:
    if bounds is None:
        return False
    return (cursor.seq == bounds.last_seq and cursor.hash != bounds.last_hash) or (
        cursor.seq == bounds.first_seq - 1 and cursor.hash != bounds.first_prev_hash
    )


def _misfits(segments: Sequence[Segment]) -> dict[int, str]:
    """Find neighbours that overlap or whose hashes do not meet; either of the two may be bad.

    A gap in the numbers is not a misfit: what was between them may have been deleted before.
    """
    misfits: dict[int, str] = {}
    newest = len(segments) - 1
    for index in range(1, len(segments)):
        before, after = segments[index - 1].bounds, segments[index].bounds
        if before is None or after is None or after.first_seq > before.last_seq + 1:
            continue
        if after.first_seq <= before.last_seq or after.first_prev_hash != before.last_hash:
            misfits[newest - index + 1] = "its end does not fit the beginning of the next segment"
            misfits[newest - index] = "its beginning does not fit the end of the segment before"
    return misfits
