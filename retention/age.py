"""Count the age of a subject, and say it in words.  Pure.

The age of a segment counts from its last record, of a foreign file from its last line or its last
change, whichever is later, and of an index from the end of its day.
"""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING, Final

from retention.policy import format_duration
from retention.subjects import AdoptedFile, Index, Segment

if TYPE_CHECKING:
    from retention.groups import SubjectGroup
    from retention.subjects import Subject

__all__ = ["UNGATED", "age_of", "age_text", "ago"]

_DAY: Final = dt.timedelta(days=1)
_INSTANT: Final = dt.timedelta(microseconds=1)
UNGATED: Final = "no source ships it, and none is required"


def age_of(subject: Subject, group: SubjectGroup) -> tuple[str, dt.timedelta]:
    """Return the age of a subject, also in words."""
    plain = "" in subject.forms
    if type(subject) is Segment:
        age = group.now - (subject.last_record_at or subject.begins_at)
        return age_text("last record", age, group, plain), age
    if type(subject) is Index:
        age = group.now - subject.ends_at - _INSTANT
        return age_text("its day ended", age, group, plain), age
    if type(subject) is AdoptedFile:
        by_line = subject.seen_at if subject.content is None else subject.content.last_at
        age = group.now - subject.counted_from
        measured = "last line" if by_line == subject.counted_from else "modified"
        text = age_text(measured, age, group, plain)
        ungated = subject.content is not None and not subject.progress
        return (f"{text}; {UNGATED}" if ungated else text), age
    raise TypeError(f"a {type(subject).__name__} has no age")


def age_text(measured: str, age: dt.timedelta, group: SubjectGroup, plain: bool) -> str:
    """Say how old a subject is, and at which age it is compressed or deleted."""
    if plain and age < group.delete_after:
        return f"{measured} {ago(age)}, compressed after {format_duration(group.compress_after)}"
    return f"{measured} {ago(age)}, deleted after {format_duration(group.delete_after)}"


def ago(age: dt.timedelta) -> str:
    """Say an age in days, or in seconds below a day."""
    return f"{age.days} d ago" if age >= _DAY else f"{max(0, int(age.total_seconds()))} s ago"
