"""Decide what happens to one segment, foreign file or daily index.  Pure.

``RULES`` is the whole table: one row for each reason to keep, in the order in which they are asked,
with the check for each kind of subject.  The first check that keeps gives the verdict; ``explain``
lists what all of them said.  What no rule keeps is compressed or deleted for its age.

A segment's name bounds the times of its records, so the first rows decide most segments without
opening them.  The rows below ``damaged (it was not read)`` need its first and last record, and a
hold by actor or correlation id needs a search of its content.  A finding's ``needs`` says which of
the two is missing; ``retention.gather`` provides it and asks again.

Invariants (tests of the same name in tests/retention/test_rules.py):
  shipped      nothing beyond the slowest sink's cursor, or in a gap before it, is compressed or
               deleted
  archived     nothing is deleted that a configured archive does not have
  verified     nothing is deleted that a sink had already without its hash being compared
  held         nothing that a hold in force covers is compressed or deleted
  newest       the newest segment of a log is never touched, keep_at_least are never deleted
  monotone     what is deleted at an instant is deleted at every later one, all else being equal
  frugal       a segment that needs no reading gets the same verdict when it was read
  per_log      each log is judged by the policy that its id selects
  explained    the first finding that keeps, of those that explain a subject, is its verdict

Invariants (tests of the same name in tests/retention/test_rules_of_files.py):
  gated        no foreign file is touched that a source has not shipped to every sink, and none
               without a source unless the policy says so
  counted      no foreign file is deleted whose policy wants its records counted in a sink first
  kept         no foreign file is touched that is damaged, held, the newest or still written to
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from auditlog.format.segment_names import SegmentName, is_segment_name
from retention.policy import format_duration
from retention.subjects import AdoptedFile, ForeignFile, Index, Segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from auditlog.archived import ArchivedSpan
    from auditlog.cursors import Cursor
    from auditlog.format.segment_names import LogId
    from auditlog.reading.reader import Bounds
    from retention.holds import Hold
    from retention.policy import ForeignPolicy, IndexPolicy, RetentionPolicy
    from retention.subjects import SinkCursor, SinkCursors, Subject

__all__ = [
    "RETENTION_SERVICE",
    "RULES",
    "RetentionRule",
    "RuleResult",
    "SubjectGroup",
    "Verb",
    "Verdict",
    "explain",
    "first_keeping",
    "foreign_group",
    "holds_to_search",
    "index_group",
    "is_removable",
    "judge",
    "log_group",
    "pattern_group",
]

RETENTION_SERVICE: Final = "retention"
"""The service whose logs hold the tombstones."""

Verb = Literal["keep", "compress", "delete"]

_DAY: Final = dt.timedelta(days=1)
_INSTANT: Final = dt.timedelta(microseconds=1)
_RECENTLY_WRITTEN: Final = dt.timedelta(hours=1)
_ANY_TIME: Final = dt.datetime.min.replace(tzinfo=dt.UTC)


class Verdict(NamedTuple):
    """An action, the reason for it, and the facts behind the reason."""

    action: Verb
    reason: str
    detail: str


class RuleResult(NamedTuple):
    """The result of one rule for one subject.

    ``keeps`` says whether it forbids to touch the subject; ``needs`` that it keeps only until the
    subject was read, or searched for the records of holds.
    """

    rule: str
    keeps: bool
    detail: str
    needs: Literal["", "reading", "search"] = ""


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


# Judging ------------------------------------------------------------------------------------------


def judge(subject: Subject, newer: int, group: SubjectGroup) -> Verdict:
    """Decide about one subject; ``newer`` is the number of newer ones in its group."""
    found = first_keeping(subject, newer, group)
    if found is not None:
        return Verdict("keep", found.rule, found.detail)
    return _due(subject, newer, group)


def explain(subject: Subject, newer: int, group: SubjectGroup) -> tuple[RuleResult, ...]:
    """List what every rule says about one subject, and last what its age leads to.

    Where several rows have the same reason, the first that keeps is listed, else the last.
    """
    found: dict[str, RuleResult] = {}
    for finding in _findings(subject, newer, group):
        if finding.rule in found and found[finding.rule].keeps:
            continue
        found.pop(finding.rule, None)
        found[finding.rule] = finding
    if any(finding.keeps for finding in found.values()):
        return tuple(found.values())
    due = _due(subject, newer, group)
    detail = due.detail if due.action == "keep" else f"{due.action}: {due.detail}"
    return (*found.values(), RuleResult(due.reason, due.action == "keep", detail))


def is_removable(subject: Subject, newer: int, group: SubjectGroup) -> bool:
    """Whether nothing but its age protects a subject from being deleted."""
    return (
        first_keeping(subject, newer, group, ageless=True) is None
        and _due(subject, newer, group, ageless=True).action == "delete"
    )


def first_keeping(
    subject: Subject, newer: int, group: SubjectGroup, *, ageless: bool = False
) -> RuleResult | None:
    """Return the first finding that keeps; ``ageless`` treats the subject as old enough."""
    # Not by _findings: this runs twice for each of 100,000 segments.
    for reason, check in _CHECKS[type(subject)]:
        found = check(subject, newer, group)
        if found is not None and found[0] and not (ageless and reason == "too_recent"):
            return RuleResult(reason, *found)
    return None


def _findings(subject: Subject, newer: int, group: SubjectGroup) -> Iterator[RuleResult]:
    for reason, check in _CHECKS[type(subject)]:
        found = check(subject, newer, group)
        if found is not None:
            yield RuleResult(reason, *found)
            if len(found) > 2 and found[2] == "reading":
                return  # the rows below need its content


def _due(subject: Subject, newer: int, group: SubjectGroup, *, ageless: bool = False) -> Verdict:
    """Decide by age about a subject that no rule keeps."""
    detail, age = _age(subject, group)
    protected = _protected(subject, newer, group)
    if (ageless or age >= group.delete_after) and protected is None:
        return Verdict("delete", "expired" if type(subject) is Index else "age", detail)
    if "" in subject.forms:
        kept = "" if protected is None or age < group.delete_after else f"; {protected.detail}"
        return Verdict("compress", "age", detail + kept)
    # It is compressed and not too recent, so deletion is due, and a rule protects it.
    return protected or Verdict("keep", "too_recent", detail)


def _protected(subject: Subject, newer: int, group: SubjectGroup) -> Verdict | None:
    """Return why a subject may be compressed and not deleted."""
    if newer < group.keep_at_least:
        of = "its log" if group.noun == "segments" else group.name
        return Verdict("keep", "newest", f"it is among the {group.keep_at_least} newest of {of}")
    if group.has_tombstones:
        return Verdict("keep", "proof", "it holds the tombstones of deleted segments")
    if type(subject) is AdoptedFile and group.is_counted:
        return Verdict("keep", "not_in_index", _UNCOUNTED)
    if type(subject) is Segment:
        for reason, check in _PROVEN.items():
            if lacking := check(subject, group):
                return Verdict("keep", reason, lacking)
    return None


def _not_verified(subject: Segment, group: SubjectGroup) -> str:
    """Return which sink may hold another host's records under the ids of these, "" for none."""
    bounds = subject.bounds
    for sink, known in group.cursors:
        for first, last in () if known.cursor is None else known.cursor.unverified:
            if bounds is None or (first <= bounds.last_seq and last >= bounds.first_seq):
                which = f"record {first}" if first == last else f"records {first} to {last}"
                return f"sink {sink} had {which} already, and their hashes were not compared"
    return ""


def _not_witnessed(subject: Segment, group: SubjectGroup) -> str:
    """Return what a quorum of witnesses has not cosigned of it, "" when it has all of it."""
    through = group.witnessed_seq
    if through is None or (subject.bounds is not None and subject.bounds.last_seq <= through):
        return ""
    return f"a quorum of witnesses has cosigned the log through seq {through}, and not all of it"


def _not_archived(subject: Segment, group: SubjectGroup) -> str:
    """Return what the archive lacks of it, "" when it has all of it.

    The last hash stands for all bytes before it, also for those that an erasure replaced since.
    """
    if group.archived is None:
        return ""
    known, bounds = group.archived.get(subject.name), subject.bounds
    if known is None:
        return "the archive does not have it yet"
    if bounds is not None and known != (bounds.first_seq, bounds.last_seq, bounds.last_hash):
        return f"the archive has another segment of this name, which ends at seq {known.last_seq}"
    return ""


_PROVEN: Final = {
    "not_verified": _not_verified,
    "not_witnessed": _not_witnessed,
    "not_archived": _not_archived,
}
"""Reasons to wait with deletion, not with compression: it has to be known elsewhere first."""

_UNCOUNTED: Final = (
    "the lines of a foreign file cannot be counted in a sink; "
    'verify_before_delete = "none" for its pattern trusts the source that ships it'
)
_UNGATED: Final = "no source ships it, and none is required"


# Checks: whether it keeps, the facts behind that, and what is needed to decide otherwise ---------

_Found = tuple[bool, str] | tuple[bool, str, Literal["reading", "search"]]


def _not_adopted(subject: ForeignFile, _newer: int, _group: SubjectGroup) -> _Found:
    return True, subject.detail


def _not_daily(subject: Index, _newer: int, _group: SubjectGroup) -> _Found:
    return (
        subject.day is None,
        "its name must be the prefix and a day, week or month, and nothing else",
    )


def _damaged(subject: Segment | AdoptedFile, newer: int, group: SubjectGroup) -> _Found:
    damage = subject.damage or group.misfits.get(newer, "")
    return bool(damage), damage or "no damage was found"


def _newest(_subject: AdoptedFile | Index, newer: int, group: SubjectGroup) -> _Found:
    return not newer, f"{newer or 'none'} of the {group.noun} of {group.name} are newer"


def _newest_compressed(subject: Segment, newer: int, _group: SubjectGroup) -> _Found | None:
    if newer or "" in subject.file.forms:
        return None  # see _may_be_written
    return True, "it is its log's newest segment"


def _may_be_written(_subject: Segment, newer: int, _group: SubjectGroup) -> _Found:
    if newer:
        return False, f"{newer} of its log's segments are newer"
    return True, "it is its log's newest segment, and its writer may append to it"


def _is_written(subject: AdoptedFile, _newer: int, group: SubjectGroup) -> _Found:
    if subject.open_for_writing:
        return True, "a process has it open for writing"
    since = group.now - subject.modified_at
    return since < _RECENTLY_WRITTEN, f"it was written to {_ago(since)}"


def _too_recent_by_day(subject: Segment, _newer: int, group: SubjectGroup) -> _Found | None:
    """Keep it if its last record cannot be old enough, by the day in its name."""
    plain = "" in subject.file.forms
    age = group.now - subject.begins_at
    if age >= (group.compress_after if plain else group.delete_after):
        return None
    return True, _age_text("last record", age, group, plain)


def _too_recent(subject: Segment | AdoptedFile | Index, _newer: int, group: SubjectGroup) -> _Found:
    detail, age = _age(subject, group)
    limit = group.compress_after if "" in subject.forms else group.delete_after
    return age < limit, detail


def _unread(subject: Segment | AdoptedFile, _newer: int, _group: SubjectGroup) -> _Found | None:
    content = subject.bounds if type(subject) is Segment else subject.content  # type: ignore[union-attr]  # an AdoptedFile
    return None if content is not None else (True, "it was not read", "reading")


def _held_by_day(subject: Segment, _newer: int, group: SubjectGroup) -> _Found | None:
    if not group.holds:
        return None
    for hold in group.holds:
        if not hold.reads_records and hold.covers(group.name, *subject.span):
            return True, f"hold {hold.id} of {hold.owner}"
    return None


def _held_segment(subject: Segment, newer: int, group: SubjectGroup) -> _Found:
    found = _held_by_day(subject, newer, group)  # its records may lie outside of its day
    if found is not None:
        return found
    searched = holds_to_search(subject, group)
    for hold in searched:
        if subject.matches is None:
            return True, f"hold {hold.id} of {hold.owner}: it was not searched", "search"
        if hold.id in subject.matches:
            return True, f"hold {hold.id} of {hold.owner} has a record in it"
    return False, f"none of the {len(group.holds)} holds in force covers it"


def holds_to_search(subject: Segment, group: SubjectGroup) -> tuple[Hold, ...]:
    """Return the holds that keep a segment only if it has a record of theirs."""
    return tuple(
        hold
        for hold in group.holds
        if hold.reads_records and hold.covers(group.name, *subject.span)
    )


def _held_file(subject: AdoptedFile, _newer: int, group: SubjectGroup) -> _Found:
    content = subject.content
    first_at = None if content is None or content.untimed else content.first_at
    for hold in group.holds:
        if not hold.covers(subject.plain.name, first_at or _ANY_TIME, subject.counted_from):
            continue
        if not hold.reads_records:
            return True, f"hold {hold.id} of {hold.owner}"
        if content is None or hold.id in content.matches:
            return True, f"hold {hold.id} of {hold.owner} may have a line in it"
    return False, f"none of the {len(group.holds)} holds in force covers it"


def _held_index(subject: Index, _newer: int, group: SubjectGroup) -> _Found:
    """Keep it for any hold that touches its day, since an index's records are not read."""
    for hold in group.holds:
        if hold.covers_time(subject.begins_at, subject.ends_at):
            return True, f"hold {hold.id} of {hold.owner}"
    return False, f"none of the {len(group.holds)} holds in force touches its day"


def _not_shipped_by_name(subject: Segment, _newer: int, group: SubjectGroup) -> _Found | None:
    """Compare it by name with the segment of each cursor."""
    for sink, known in group.cursors:
        if known.cursor is None or known.problem:
            return True, f"sink {sink} {known.problem or 'has acknowledged nothing of the log'}"
        if _is_before(known.cursor.segment, subject.file.name):
            return True, f"sink {sink} has acknowledged up to seq {known.cursor.seq}"
    return None


def _not_shipped_segment(subject: Segment, _newer: int, group: SubjectGroup) -> _Found:
    bounds = subject.bounds
    if bounds is None:
        return True, "it was not read", "reading"
    for sink, known in group.cursors:
        if (lacking := _lacking(known.cursor, bounds)) is not None:
            return True, f"sink {sink} {lacking}"
    if not group.cursors:
        return False, "no sink is configured: nothing waits for being shipped"
    sinks = ", ".join(sink for sink, _ in group.cursors)
    return False, f"{sinks} acknowledged seq {bounds.last_seq} and everything before it"


def _lacking(cursor: Cursor | None, bounds: Bounds) -> str | None:
    seq = 0 if cursor is None else cursor.seq
    if seq < bounds.last_seq:
        return f"has acknowledged up to seq {seq}, the segment ends at {bounds.last_seq}"
    for first, last in () if cursor is None else cursor.gaps:
        if first <= bounds.last_seq and last >= bounds.first_seq:
            return f"was not given records {first} to {last}, which were missing at the time"
    return None


def _not_shipped_file(subject: AdoptedFile, _newer: int, _group: SubjectGroup) -> _Found:
    for one in subject.progress:
        if one.lacks:
            return True, f"source {one.source} to sink {one.sink}: {one.lacks}"
    if subject.progress:
        shipped = ", ".join(f"{one.source} to {one.sink}" for one in subject.progress)
        return False, f"{shipped}: shipped to its end"
    if subject.foreign.shipped == "not_required":
        return False, _UNGATED
    return True, 'no source ships it to a sink; shipped = "not_required" would allow to delete it'


def _not_shipped_index(subject: Index, _newer: int, group: SubjectGroup) -> _Found:
    pending = group.pending_from
    last = subject.last_day or subject.day
    if pending is None or last is None or pending > last:
        return False, "the logs of this host have shipped everything of its day"
    return True, f"records from {pending} on are still to be shipped"


def _not_archived_index(subject: Index, _newer: int, group: SubjectGroup) -> _Found | None:
    since = group.unarchived_from
    last = subject.last_day or subject.day
    if since is None or last is None or since > last:
        return None
    return True, f"the archive does not have all segments of {since}, nor perhaps of later days"


@dataclass(frozen=True, slots=True)
class RetentionRule:
    """One row of the table: a reason to keep, and the check for each kind of subject."""

    reason: str
    segment: Callable[[Segment, int, SubjectGroup], _Found | None] | None = None
    adopted: Callable[[AdoptedFile, int, SubjectGroup], _Found | None] | None = None
    index: Callable[[Index, int, SubjectGroup], _Found | None] | None = None
    foreign: Callable[[ForeignFile, int, SubjectGroup], _Found | None] | None = None


RULES: Final = (
    RetentionRule("foreign", foreign=_not_adopted),
    RetentionRule("outside", index=_not_daily),
    RetentionRule("damaged", segment=_damaged, adopted=_damaged),
    RetentionRule("newest", segment=_newest_compressed, adopted=_newest, index=_newest),
    RetentionRule("active", segment=_may_be_written, adopted=_is_written),
    RetentionRule("too_recent", segment=_too_recent_by_day, adopted=_too_recent, index=_too_recent),
    RetentionRule("damaged", adopted=_unread),
    RetentionRule("held", segment=_held_by_day, adopted=_held_file, index=_held_index),
    RetentionRule("not_shipped", _not_shipped_by_name, _not_shipped_file, _not_shipped_index),
    RetentionRule("not_archived", index=_not_archived_index),
    RetentionRule("damaged", segment=_unread),
    RetentionRule("too_recent", segment=_too_recent),
    RetentionRule("not_shipped", segment=_not_shipped_segment),
    RetentionRule("held", segment=_held_segment),
)

_CHECKS: Final[dict[type[Any], tuple[tuple[str, Callable[..., _Found | None]], ...]]] = {
    kind: tuple(
        (rule.reason, check)
        for rule in RULES
        if (check := getattr(rule, column)) is not None
    )
    for kind, column in (
        (Segment, "segment"),
        (AdoptedFile, "adopted"),
        (Index, "index"),
        (ForeignFile, "foreign"),
    )
}  # fmt: skip


# Shared by the checks -----------------------------------------------------------------------------


def _age(subject: Subject, group: SubjectGroup) -> tuple[str, dt.timedelta]:
    """Return the age of a subject, also in words."""
    plain = "" in subject.forms
    if type(subject) is Segment:
        age = group.now - (subject.last_record_at or subject.begins_at)
        return _age_text("last record", age, group, plain), age
    if type(subject) is Index:
        age = group.now - subject.ends_at - _INSTANT
        return _age_text("its day ended", age, group, plain), age
    if type(subject) is AdoptedFile:
        by_line = subject.seen_at if subject.content is None else subject.content.last_at
        age = group.now - subject.counted_from
        measured = "last line" if by_line == subject.counted_from else "modified"
        text = _age_text(measured, age, group, plain)
        ungated = subject.content is not None and not subject.progress
        return (f"{text}; {_UNGATED}" if ungated else text), age
    raise TypeError(f"a {type(subject).__name__} has no age")


def _age_text(measured: str, age: dt.timedelta, group: SubjectGroup, plain: bool) -> str:
    if plain and age < group.delete_after:
        return f"{measured} {_ago(age)}, compressed after {format_duration(group.compress_after)}"
    return f"{measured} {_ago(age)}, deleted after {format_duration(group.delete_after)}"


def _ago(age: dt.timedelta) -> str:
    return f"{age.days} d ago" if age >= _DAY else f"{max(0, int(age.total_seconds()))} s ago"


def _is_before(segment: str, name: SegmentName) -> bool:
    """Whether a cursor's segment was written before ``name``; an unreadable name counts as such."""
    if not is_segment_name(segment):
        return True
    other = SegmentName.parse(segment)
    return (other.day, other.part) < (name.day, name.part)


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
