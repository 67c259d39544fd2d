"""Decide what happens to each file of a directory, and say why.  Pure: no clock, disk, network.

Segments are judged by rules, files that the policy adopts by foreign, any other file is kept as
foreign, and the breaker looks at the whole.  A dry run, a real run and ``--json`` show the same
plan.

Invariants (tests of the same name in tests/retention/test_plan.py):
  partition    every listed file is in exactly one of keep, compress, delete
  same         the same facts give the same plan
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from auditlog.format.record import format_timestamp
from retention import breaker, foreign, room, rules

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from auditlog.format.segment_names import LogId
    from auditlog.reading.inventory import SegmentFile
    from auditlog.reading.reader import Bounds
    from retention.breaker import Refusal
    from retention.facts import AdoptedFile, Facts, LastRun, SegmentFacts, ShipGate
    from retention.holds import Hold
    from retention.policy import Policy
    from retention.rules import Verb, Verdict

__all__ = ["Action", "Plan", "plan"]


@dataclass(frozen=True, slots=True)
class Action:
    """What is to happen to one file, and why.

    ``log`` is empty for a foreign file, and ``adopted`` tells of one that the policy names.
    ``bounds`` is None where the segment needed no reading; ``last_record_at`` is what its age is
    counted from.
    """

    log: str
    segment: str
    action: Verb
    reason: str
    detail: str
    size_bytes: int
    file: SegmentFile | None = None
    bounds: Bounds | None = None
    last_record_at: dt.datetime | None = None
    adopted: AdoptedFile | None = None

    @property
    def records(self) -> int | None:
        """How many there are, or lines; None where it was not counted."""
        if self.adopted is not None:
            return None if self.adopted.content is None else self.adopted.content.lines
        return None if self.bounds is None else self.bounds.records

    def to_json(self, *, done: bool = False) -> dict[str, Any]:
        last = self.last_record_at
        printed = {
            "log": self.log or None,
            "segment": self.segment,
            "action": self.action,
            "reason": self.reason,
            "detail": self.detail,
            "bytes": self.size_bytes,
            "records": self.records,
            "last_record_at": None if last is None else format_timestamp(last),
            "done": done,
        }
        if self.adopted is not None:
            printed["pattern"] = self.adopted.foreign.pattern
        return printed


@dataclass(frozen=True, slots=True)
class Plan:
    """One action for each file of a directory, log by log in write order.

    ``refusals`` is the circuit breaker's verdict: where there is one, nothing may be applied
    unless a person confirms.  ``over_bytes`` is by how much what is left exceeds max_total_bytes,
    since the rest may not go.
    """

    directory: Path
    at: dt.datetime
    policy: Policy
    sinks: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    simulated: bool = False
    over_bytes: int = 0

    def only(self, verb: Verb) -> tuple[Action, ...]:
        return tuple(action for action in self.actions if action.action == verb)

    def kept(self) -> dict[str, int]:
        """How many files are kept, by reason."""
        return dict(Counter(action.reason for action in self.actions if action.action == "keep"))

    def to_json(self, *, dry_run: bool = True) -> dict[str, Any]:
        """The object of ``prune --json`` as long as nothing is done.

        ``freed_bytes`` counts deletions alone: what compression will save is not known yet.
        """
        verbs = Counter(action.action for action in self.actions)
        return {
            "schema": "auditctl.prune/1",
            "at": format_timestamp(self.at),
            "dry_run": dry_run,
            "policy": self.policy.to_json(),
            "actions": [action.to_json() for action in self.actions],
            "refusals": [refusal.to_json() for refusal in self.refusals],
            "totals": {
                "keep": verbs["keep"],
                "compress": verbs["compress"],
                "delete": verbs["delete"],
                "freed_bytes": sum(action.size_bytes for action in self.only("delete")),
            },
            "over_bytes": self.over_bytes,
        }

    def explain(self) -> list[str]:
        """The plan for people, one line for each file."""
        width = max((len(action.segment) for action in self.actions), default=0)
        lines = [
            f"{action.action:8} {action.segment:{width}}  {action.reason}: {action.detail}"
            for action in self.actions
        ]
        if not self.sinks:
            lines.append("no sink is configured: nothing waits for being shipped")
        return lines + [f"refused  {refusal.kind}: {refusal.detail}" for refusal in self.refusals]


def plan(
    facts: Facts,
    policy: Policy,
    cursors: ShipGate,
    holds: Sequence[Hold],
    now: dt.datetime,
    *,
    last_run: LastRun | None = None,
    simulated: bool = False,
) -> Plan:
    """Decide for each file of the directory.

    ``simulated`` says that ``now`` was given by a person and is no clock, so that it cannot have
    jumped.
    """
    actions: list[Action] = []
    removable: dict[int, Verdict] = {}
    for log, segments in facts.segments.items():
        judged = list(
            rules.judge(log, segments, policy=policy, cursors=cursors, holds=holds, now=now)
        )
        if policy.max_total_bytes is not None:
            ageless = rules.judge(
                log,
                segments,
                policy=policy,
                cursors=cursors,
                holds=holds,
                now=now,
                ageless=True,
            )
            removable |= {
                len(actions) + index: verdict
                for index, verdict in enumerate(ageless)
                if verdict.action == "delete"
            }
        actions += [
            _action(log, segment, verdict)
            for segment, verdict in zip(segments, judged, strict=True)
        ]
    for adopted, newer in zip(facts.adopted, foreign.newer_counts(facts.adopted), strict=True):
        if policy.max_total_bytes is not None:
            verdict = foreign.judge(adopted, newer, holds, now, ageless=True)
            if verdict.action == "delete":
                removable[len(actions)] = verdict
        actions.append(_adopted(adopted, foreign.judge(adopted, newer, holds, now)))
    over_bytes = 0
    if policy.max_total_bytes is not None:
        actions, over_bytes = room.make(actions, removable, policy.max_total_bytes)
    actions += [
        Action("", file.path.name, "keep", "foreign", file.detail, file.size_bytes)
        for file in facts.foreign
    ]
    return Plan(
        facts.directory,
        now,
        policy,
        cursors.sinks,
        tuple(actions),
        breaker.judge(
            facts,
            Counter(
                action.log if action.adopted is None else action.adopted.foreign.pattern
                for action in actions
                if action.action == "delete"
            ),
            policy,
            cursors,
            now,
            last_run=last_run,
            simulated=simulated,
        ),
        simulated,
        over_bytes,
    )


def _action(log: LogId, segment: SegmentFacts, verdict: Verdict) -> Action:
    file, bounds = segment.file, segment.bounds
    return Action(
        str(log),
        file.name.logical,
        verdict.action,
        verdict.reason,
        verdict.detail,
        file.size_bytes,
        file,
        bounds,
        None if bounds is None else rules.counted_from(file, bounds),
    )


def _adopted(file: AdoptedFile, verdict: Verdict) -> Action:
    return Action(
        "",
        file.path.name,
        verdict.action,
        verdict.reason,
        verdict.detail,
        file.size_bytes,
        last_record_at=None if file.damage else file.counted_from,
        adopted=file,
    )
