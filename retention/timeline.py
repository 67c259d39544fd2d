"""What a policy will do from a plan's instant on, day by day.  Pure.

It looks at names and ages alone: what is held or not shipped then stays longer, and what is written
meanwhile is not foreseen.

Invariants (tests of the same name in tests/retention/test_timeline.py):
  foreseen   planned at the end of a day that it names, the plan does at least what it says
  once       no segment is compressed or deleted twice
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditlog.format.segment_names import LogId
from retention.rules import PROOF_SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from retention.facts import AdoptedFile
    from retention.plan import Action, Plan

__all__ = ["Due", "timeline"]


@dataclass(frozen=True, slots=True)
class Due:
    """What becomes due on one UTC day: segments, and the bytes that deletions free."""

    day: dt.date
    compress: int = 0
    delete: int = 0
    freed_bytes: int = 0

    def to_json(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "compress": self.compress,
            "delete": self.delete,
            "freed_bytes": self.freed_bytes,
        }


def timeline(plan: Plan) -> tuple[Due, ...]:
    """The days on which something becomes due after this plan was carried out, in order."""
    counts: dict[dt.date, list[int]] = defaultdict(lambda: [0, 0, 0])
    ranks = _ranks(plan)
    for action in plan.actions:
        for day, verb in _dues(plan, action, ranks):
            count = counts[day]
            count[0] += verb == "compress"
            count[1] += verb == "delete"
            count[2] += action.size_bytes if verb == "delete" else 0
    return tuple(Due(day, *counts[day]) for day in sorted(counts))


def _ranks(plan: Plan) -> dict[str, int]:
    """How many segments of its log are newer than each."""
    ranks: dict[str, int] = {}
    newer: dict[str, int] = defaultdict(int)
    for action in reversed(plan.actions):
        ranks[action.segment] = newer[action.log]
        newer[action.log] += 1
    return ranks


def _dues(plan: Plan, action: Action, ranks: dict[str, int]) -> Iterator[tuple[dt.date, str]]:
    if action.adopted is not None:
        yield from _adopted_dues(action, action.adopted)
        return
    file = action.file
    if file is None or not (action.reason == "too_recent" or action.action == "compress"):
        return
    policy = plan.policy.of(action.log)
    since = action.last_record_at
    if since is None:  # it was not read: at the latest
        since = dt.datetime.combine(file.name.day, dt.time.max, dt.UTC)
    if "" in file.forms and action.action != "compress":
        yield (since + policy.compress_after).date(), "compress"
    if ranks[action.segment] >= policy.keep_at_least and not _is_proof(action.log):
        yield (since + policy.delete_after).date(), "delete"


def _adopted_dues(action: Action, file: AdoptedFile) -> Iterator[tuple[dt.date, str]]:
    if not (action.reason == "too_recent" or action.action == "compress"):
        return
    policy = file.foreign.policy
    if "" in file.forms and action.action != "compress":
        yield (file.counted_from + policy.compress_after).date(), "compress"
    yield (file.counted_from + policy.delete_after).date(), "delete"


def _is_proof(log: str) -> bool:
    return LogId.parse(log).service == PROOF_SERVICE
