"""Decide what happens to every file of a directory, or every index of a sink.  Pure.

``retention.verdict`` judges each of them, ``make_room`` adds deletions for max_total_bytes, and
``retention.breaker`` judges the whole.  A dry run, a real run and ``--json`` show the same plan.

Invariants (tests of the same name in tests/retention/test_plan.py):
  partition    everything listed is in exactly one of keep, compress, delete
  same         the same facts give the same plan

Invariants (tests of the same name in tests/retention/test_breaker.py):
  simulated    a given instant is never taken for a clock that jumped

Invariants (tests of the same name in tests/retention/test_plan_for_room.py):
  oldest       what is deleted for its size is older than everything removable that stays
  sparing      no more is deleted for its size than needed
  protected    nothing is deleted for its size that a rule other than age keeps

Invariants (tests of the same name in tests/retention/test_plan_of_indices.py):
  outside      no index is deleted whose name is not exactly the prefix and a day
  recent       neither today's index, nor a later day's, nor the newest is deleted
  held         an index whose day a hold in force touches is kept
  not_shipped  an index of a day from which records are still to be shipped is kept
  announced    the first run over indices, and the first of a shorter age or another target,
               deletes nothing
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from auditlog.format.index_names import IndexNames
from auditlog.format.record import format_timestamp
from retention import breaker
from retention.errors import RetentionError
from retention.groups import foreign_group, index_group, log_group, pattern_group
from retention.policy import format_duration
from retention.subjects import AdoptedFile, Index, Segment
from retention.verdict import is_removable, judge

if TYPE_CHECKING:
    import datetime as dt
    import os
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from retention.breaker import LastIndexRun, LastRun, Refusal
    from retention.groups import SubjectGroup
    from retention.holds import Hold
    from retention.policy import IndexPolicy, RetentionPolicy
    from retention.subjects import DirectoryFacts, SinkCursors, Subject
    from retention.verdict import Verb

__all__ = [
    "Action",
    "Case",
    "DirectoryPlan",
    "IndexPlan",
    "Plan",
    "Refused",
    "cases_of",
    "index_cases",
    "plan",
    "plan_indices",
]


class Case(NamedTuple):
    """A subject, the number of newer ones in its group, and the group."""

    subject: Subject
    newer: int
    group: SubjectGroup


@dataclass(frozen=True, slots=True)
class Action:
    """The planned action for one subject, with its reason."""

    case: Case
    action: Verb
    reason: str
    detail: str

    @property
    def subject(self) -> Subject:
        return self.case.subject

    @property
    def name(self) -> str:
        return self.case.subject.name

    @property
    def size_bytes(self) -> int:
        return self.case.subject.size_bytes

    def to_json(self, *, done: bool = False) -> dict[str, Any]:
        names, measures = self.case.subject.to_json()
        decided = {"action": self.action, "reason": self.reason, "detail": self.detail}
        return {**names, **decided, **measures, "done": done}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One action for each subject.

    ``refusals`` are the circuit breaker's; with one, nothing is done unless a person confirms.
    ``simulated`` plans have an instant that was given by a person and not by a clock.
    """

    at: dt.datetime
    actions: tuple[Action, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    simulated: bool

    @property
    def about(self) -> str:
        """A prefix for messages about the whole plan."""
        return ""

    def only(self, verb: Verb) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.action == verb)

    def kept(self) -> dict[str, int]:
        """Count what is kept, by reason."""
        return dict(Counter(action.reason for action in self.only("keep")))

    def counts(self) -> dict[str, int]:
        """Count the actions of each kind."""
        verbs = Counter(action.action for action in self.actions)
        return {verb: verbs[verb] for verb in ("keep", "compress", "delete")}

    def to_json(self, *, dry_run: bool) -> dict[str, Any]:
        """Return the object that auditctl prints, with nothing done."""
        raise NotImplementedError

    def _common(self, *, dry_run: bool) -> dict[str, Any]:
        return {
            "at": format_timestamp(self.at),
            "dry_run": dry_run,
            "refusals": [refusal.to_json() for refusal in self.refusals],
            "actions": [action.to_json() for action in self.actions],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryPlan(Plan):
    """The plan of one directory, log by log in write order, then its other files.

    ``over_bytes`` is what is left above max_total_bytes, because rules keep the rest.
    """

    directory: Path
    policy: RetentionPolicy
    sinks: tuple[str, ...] = ()
    over_bytes: int

    def to_json(self, *, dry_run: bool) -> dict[str, Any]:
        """Return the object of ``prune --json`` with nothing done.

        ``freed_bytes`` counts deletions only: what compression saves is not known yet.
        """
        freed = sum(action.size_bytes for action in self.only("delete"))
        return {
            "schema": "auditctl.prune/1",
            **self._common(dry_run=dry_run),
            "policy": self.policy.to_json(),
            "totals": {**self.counts(), "freed_bytes": freed},
            "over_bytes": self.over_bytes,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexPlan(Plan):
    """The plan of one sink's indices, by name.

    ``announces`` says why this run only tells what the next one will do, unless a person confirms.
    """

    policy: IndexPolicy
    announces: str = ""

    @property
    def about(self) -> str:
        return f"indices of sink {self.policy.sink}: "

    def to_json(self, *, dry_run: bool) -> dict[str, Any]:
        """Return the object of ``prune --indices --json`` with nothing done."""
        deleted = [action.subject for action in self.only("delete")]
        return {
            "schema": "auditctl.prune_indices/1",
            **self._common(dry_run=dry_run),
            "announced": False,
            "sink": self.policy.sink,
            "policy": self.policy.to_json(),
            "announces": self.announces or None,
            "totals": {
                "keep": len(self.only("keep")),
                "delete": len(deleted),
                "documents": sum(index.documents for index in deleted if isinstance(index, Index)),
            },
        }


class Refused(RetentionError):
    """The circuit breaker stopped a run before it changed anything; ``plan`` says why."""

    def __init__(self, plan: Plan, *, path: str | os.PathLike[str] | None = None) -> None:
        super().__init__(
            plan.about + "; ".join(refusal.detail for refusal in plan.refusals),
            path=path,
            hint="Nothing was changed. Look at the plan (--dry-run); if it is right, --confirm it.",
        )
        self.plan = plan


# A directory --------------------------------------------------------------------------------------


def plan(
    facts: DirectoryFacts,
    policy: RetentionPolicy,
    cursors: SinkCursors,
    holds: Sequence[Hold],
    now: dt.datetime,
    *,
    last_run: LastRun | None = None,
    simulated: bool = False,
) -> DirectoryPlan:
    """Decide about each file of a directory.

    ``simulated`` says that ``now`` was given by a person, so that it is not a clock that jumped.
    """
    actions = [Action(case, *judge(*case)) for case in cases_of(facts, policy, cursors, holds, now)]
    over_bytes = 0
    if policy.max_total_bytes is not None:
        over_bytes = make_room(actions, policy.max_total_bytes)
    decided = DirectoryPlan(
        at=now,
        actions=tuple(actions),
        simulated=simulated,
        directory=facts.directory,
        policy=policy,
        sinks=cursors.sinks,
        over_bytes=over_bytes,
    )
    return replace(decided, refusals=tuple(_refusals(decided, cursors, last_run)))


def cases_of(
    facts: DirectoryFacts,
    policy: RetentionPolicy,
    cursors: SinkCursors,
    holds: Sequence[Hold],
    now: dt.datetime,
) -> Iterator[Case]:
    """List what there is to judge in a directory, in the order of its plan."""
    for log, segments in facts.segments.items():
        group = log_group(log, segments, policy=policy, cursors=cursors, holds=holds, now=now)
        newest = len(segments) - 1
        for index, segment in enumerate(segments):
            yield Case(segment, newest - index, group)
    patterns = {
        foreign.pattern: pattern_group(foreign, holds, now)
        for foreign in dict.fromkeys(file.foreign for file in facts.adopted)
    }
    # Newest last; damaged files do not count as newer, as their age is unknown.
    newer = Counter(file.foreign.pattern for file in facts.adopted if not file.damage)
    for file in facts.adopted:
        pattern = file.foreign.pattern
        newer[pattern] -= not file.damage
        yield Case(file, newer[pattern], patterns[pattern])
    others = foreign_group(policy, now)
    for other in facts.foreign:
        yield Case(other, 0, others)


def make_room(actions: list[Action], limit_bytes: int) -> int:
    """Delete the oldest until the rest fits; return by how many bytes it still does not.

    Only what no rule but age keeps is deleted, and only segments and adopted files are counted.
    What the same run compresses counts as nothing, since its new size is not known; so nothing
    younger is deleted before it, and the next run sees what is left to do.
    """
    counted = [
        index
        for index, action in enumerate(actions)
        if isinstance(action.subject, Segment | AdoptedFile)
    ]
    kept = (actions[index] for index in counted if actions[index].action == "keep")
    over = sum(action.size_bytes for action in kept) - limit_bytes
    if over <= 0:
        return 0
    for index in sorted(counted, key=lambda index: _age_order(actions[index])):
        action = actions[index]
        if action.action == "delete" or not is_removable(*action.case):
            continue
        if over <= 0 or action.action == "compress":
            break
        detail = f"{over} bytes above max_total_bytes, and it is the oldest that may be deleted"
        actions[index] = Action(action.case, "delete", "size", detail)
        over -= action.size_bytes
    return max(0, over)


def _age_order(action: Action) -> tuple[str, str, int]:
    assert isinstance(action.subject, Segment | AdoptedFile)  # noqa: S101  (see make_room)
    return action.subject.age_order


def _refusals(
    decided: DirectoryPlan, cursors: SinkCursors, last_run: LastRun | None
) -> Iterator[Refusal]:
    policy, groups = decided.policy, _counts(decided.actions)
    yield from breaker.too_many(groups)
    if not decided.simulated:
        ages = [foreign.policy.delete_after for foreign in policy.foreign]
        ages += [group.delete_after for group, _, _ in groups]
        shortest = min([policy.delete_after, *ages])
        newest = _newest(decided.actions)
        yield from breaker.jumped(decided.at, last_run, newest=newest, delete_after=shortest)
    deleting = [(group.noun, group.name) for group, _, deletes in groups if deletes]
    if not deleting:
        return
    if last_run is not None:
        logs = [name for noun, name in deleting if noun == "segments"]
        yield from breaker.harsher(logs, policy, last_run.policy)
        foreign = [each for each in policy.foreign if ("files", each.pattern) in deleting]
        yield from breaker.harsher_foreign(foreign, last_run.policy)
    yield from breaker.sinks_removed(cursors, last_run)


def _counts(actions: Sequence[Action]) -> list[tuple[SubjectGroup, int, int]]:
    """Count the subjects of each group, and those to be deleted."""
    groups: dict[int, tuple[SubjectGroup, list[int]]] = {}
    for action in actions:
        group = action.case.group
        _, counts = groups.setdefault(id(group), (group, [0, 0]))
        counts[0] += 1
        counts[1] += action.action == "delete"
    return [(group, total, deletes) for group, (total, deletes) in groups.values()]


def _newest(actions: Sequence[Action]) -> dt.datetime | None:
    return max(
        (
            action.case.subject.bounds.last_at
            for action in actions
            if isinstance(action.case.subject, Segment) and action.case.subject.bounds is not None
        ),
        default=None,
    )


# Indices ------------------------------------------------------------------------------------------


def plan_indices(
    indices: Sequence[Index],
    policy: IndexPolicy,
    holds: Sequence[Hold],
    now: dt.datetime,
    *,
    pending_from: dt.date | None,
    last_run: LastIndexRun | None,
    simulated: bool = False,
    unarchived_from: dt.date | None = None,
) -> IndexPlan:
    """Decide about each index of a sink.

    ``pending_from`` is the first day of which this host may still have records to ship,
    ``unarchived_from`` the first of which it has a segment that the archive lacks.
    """
    actions = tuple(
        Action(case, *judge(*case))
        for case in index_cases(indices, policy, holds, now, (pending_from, unarchived_from))
    )
    refusals: list[Refusal] = []
    deletes = sum(action.action == "delete" for action in actions)
    if deletes:
        ours = [action for action in actions if action.reason != "outside"]
        refusals += breaker.too_many([(ours[0].case.group, len(ours), deletes)])
        refusals += breaker.harsher_indices(policy, last_run)
        if not simulated:
            refusals += breaker.jumped(now, last_run, newest=None, delete_after=policy.delete_after)
    return IndexPlan(
        at=now,
        actions=actions,
        refusals=tuple(refusals),
        simulated=simulated,
        policy=policy,
        announces=_announces(policy, last_run),
    )


def index_cases(
    indices: Sequence[Index],
    policy: IndexPolicy,
    holds: Sequence[Hold],
    now: dt.datetime,
    waiting_from: tuple[dt.date | None, dt.date | None],
) -> Iterator[Case]:
    """List the indices to judge, by name.

    ``waiting_from`` are ``pending_from`` and ``unarchived_from`` of plan_indices.
    """
    group = index_group(policy, holds, now, *waiting_from)
    names = IndexNames(policy.prefix)
    dated = [_dated(index, names.days(index.name)) for index in indices]
    days = sorted(index.day for index in dated if index.day is not None)
    for index in sorted(dated, key=lambda index: index.name):
        newer = 0 if index.day is None else len(days) - bisect_right(days, index.day)
        yield Case(index, newer, group)


def _dated(index: Index, days: tuple[dt.date, dt.date] | None) -> Index:
    return index if days is None else replace(index, day=days[0], last_day=days[1])


def _announces(policy: IndexPolicy, last_run: LastIndexRun | None) -> str:
    if last_run is None:
        return "it is the first run since index_delete_after was set"
    if last_run.target != policy.target:
        return f"the last run was about {last_run.target}"
    if policy.delete_after < last_run.delete_after:
        before, after = format_duration(last_run.delete_after), format_duration(policy.delete_after)
        return f"index_delete_after went from {before} to {after}"
    return ""
