"""Predict the days on which a policy will compress and delete segments.  Pure.

It looks at names and ages only: what is held or not shipped then stays longer, and what is written
in the meantime is not foreseen.

Invariants (tests of the same name in tests/retention/test_timeline.py):
  foreseen   planned at the end of a day that it names, the plan does at least what it says
  once       no segment is compressed or deleted twice
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from retention.subjects import AdoptedFile, Segment

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retention.plan import Action, Plan

__all__ = ["Due", "timeline"]


@dataclass(frozen=True, slots=True)
class Due:
    """The segments that become due on one UTC day, and the bytes that their deletions free."""

    day: dt.date
    compress: int = 0
    delete: int = 0
    freed_bytes: int = 0


def timeline(plan: Plan) -> tuple[Due, ...]:
    """List the days on which something becomes due after this plan was carried out, in order."""
    counts: dict[dt.date, list[int]] = defaultdict(lambda: [0, 0, 0])
    for action in plan.actions:
        for day, verb in _dues(action):
            count = counts[day]
            count[0] += verb == "compress"
            count[1] += verb == "delete"
            count[2] += action.size_bytes if verb == "delete" else 0
    return tuple(Due(day, *counts[day]) for day in sorted(counts))


def _dues(action: Action) -> Iterator[tuple[dt.date, str]]:
    subject, newer, group = action.case
    if not isinstance(subject, Segment | AdoptedFile):
        return
    if not (action.reason == "too_recent" or action.action == "compress"):
        return
    since = subject.last_record_at
    if since is None:  # it was not read; the end of its day is the latest possible time
        assert isinstance(subject, Segment)  # noqa: S101  (a damaged file is kept as damaged)
        since = subject.ends_at
    if "" in subject.forms and action.action != "compress":
        yield (since + group.compress_after).date(), "compress"
    if newer >= group.keep_at_least and not group.has_tombstones:
        yield (since + group.delete_after).date(), "delete"
