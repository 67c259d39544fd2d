"""Define the reasons to keep a segment, foreign file or daily index.  Pure.

``RULES`` is the whole table: one row for each reason to keep, in the order in which they are asked,
with the check for each kind of subject.  ``UNPROVEN`` are the reasons to compress a segment and not
to delete it yet.  retention.verdict asks them.

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
  newest       the newest segment of a log is never deleted, nor are keep_at_least; it is compressed
               only where an archive waits for it and no writer has its log open

Invariants (tests of the same name in tests/retention/test_rules_of_files.py):
  gated        no foreign file is touched that a source has not shipped to every sink, and none
               without a source unless the policy says so
  kept         no foreign file is touched that is damaged, held, the newest or still written to
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

from auditlog.format.segment_names import SegmentName, is_segment_name
from retention.age import UNGATED, age_of, age_text, ago
from retention.subjects import AdoptedFile, ForeignFile, Index, Segment

if TYPE_CHECKING:
    from collections.abc import Callable

    from auditlog.cursors import Cursor
    from auditlog.reading.reader import Bounds
    from retention.groups import SubjectGroup
    from retention.holds import Hold

__all__ = ["CHECKS", "RULES", "UNPROVEN", "RetentionRule", "holds_to_search"]

_RECENTLY_WRITTEN: Final = dt.timedelta(hours=1)
_ANY_TIME: Final = dt.datetime.min.replace(tzinfo=dt.UTC)

_Found = tuple[bool, str] | tuple[bool, str, Literal["reading", "search"]]
"""Whether it keeps, the facts behind that, and what is needed to decide otherwise."""


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


def _may_be_written(subject: Segment, newer: int, group: SubjectGroup) -> _Found:
    """Keep the newest one, unless an archive waits for it; no writer appends to it compressed."""
    if newer:
        return False, f"{newer} of its log's segments are newer"
    if group.archived is not None and subject.at_rest:
        return False, "it is its log's newest segment, and no writer has that open"
    return True, "it is its log's newest segment, and its writer may append to it"


def _is_written(subject: AdoptedFile, _newer: int, group: SubjectGroup) -> _Found:
    if subject.open_for_writing:
        return True, "a process has it open for writing"
    since = group.now - subject.modified_at
    return since < _RECENTLY_WRITTEN, f"it was written to {ago(since)}"


def _too_recent_by_day(subject: Segment, _newer: int, group: SubjectGroup) -> _Found | None:
    """Keep it if its last record cannot be old enough, by the day in its name."""
    plain = "" in subject.file.forms
    age = group.now - subject.begins_at
    if age >= (group.compress_after if plain else group.delete_after):
        return None
    return True, age_text("last record", age, group, plain)


def _too_recent(subject: Segment | AdoptedFile | Index, _newer: int, group: SubjectGroup) -> _Found:
    detail, age = age_of(subject, group)
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


def _held_segment(subject: Segment, _newer: int, group: SubjectGroup) -> _Found:
    """Search it for the records of holds; any other hold that covers it was found by its days."""
    for hold in holds_to_search(subject, group):
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


def _is_before(segment: str, name: SegmentName) -> bool:
    """Whether a cursor's segment was written before ``name``; an unreadable name counts as such."""
    if not is_segment_name(segment):
        return True
    other = SegmentName.parse(segment)
    return (other.day, other.part) < (name.day, name.part)


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
        return False, UNGATED
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

CHECKS: Final[dict[type[Any], tuple[tuple[str, Callable[..., _Found | None]], ...]]] = {
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
"""The checks for each kind of subject, in the order of the table."""


# Reasons to compress, but not to delete yet ------------------------------------------------------


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


UNPROVEN: Final = {
    "not_verified": _not_verified,
    "not_witnessed": _not_witnessed,
    "not_archived": _not_archived,
}
"""Reasons to wait with deletion, not with compression: it has to be known elsewhere first."""
